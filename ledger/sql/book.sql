-- The writers underneath. Every taking of credits, by whatever name, is written by ledger_book; nothing here
-- decides. The caller has locked the wallet and knows the grants.

CREATE TYPE ledger_header AS (
    kind text, key uuid, fingerprint uuid, at timestamptz, occurred_at timestamptz, actor_id bigint, caller text,
    reverses_id uuid, hold_id uuid, feature text, price_ids bigint[], quantities numeric[],
    reference_id text, description text, project text, metadata jsonb
);

-- What every door answers, a row for each request. outcome: done, replayed, conflict (the key was used for another
-- request), or the name of a refusal. grant_ids, credit_types and amounts are its entries, the amounts of a taking
-- above zero. They and the last columns, the wallet as anyone is shown it, come with single requests only.
CREATE TYPE ledger_posting AS (
    ord int, outcome text, wallet_id bigint, transaction_id uuid, number bigint, amount bigint, debt bigint,
    balance_after bigint, recorded_at timestamptz, available bigint, hold_id uuid,
    grant_ids uuid[], credit_types text[], amounts bigint[],
    status text, award bigint, partner bigint, purchase bigint, held bigint, owed bigint, changed_at timestamptz
);

-- A header for what the system does on its own account; the key is fresh, so it repeats nothing.
CREATE FUNCTION ledger_system_header(p_kind text, p_at timestamptz, p_description text) RETURNS ledger_header
LANGUAGE sql VOLATILE AS $$
    SELECT ROW(p_kind, gen_random_uuid(), gen_random_uuid(), p_at, NULL, NULL, 'system', NULL, NULL, '', NULL, NULL,
               '', p_description, '', NULL)::ledger_header
$$;

-- The figures of a wallet as anyone is shown them at an instant: an expired or frozen grant counts for no more
-- than what open holds pin of it.
CREATE FUNCTION ledger_visible(p_wallet bigint, p_at timestamptz, OUT award bigint, OUT partner bigint, OUT purchase bigint)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(n) FILTER (WHERE credit_type = 'award'), 0)::bigint,
           coalesce(sum(n) FILTER (WHERE credit_type = 'partner'), 0)::bigint,
           coalesce(sum(n) FILTER (WHERE credit_type = 'purchase'), 0)::bigint
    FROM (SELECT credit_type, CASE WHEN is_frozen OR expires_at <= p_at THEN held ELSE remaining END AS n
          FROM ledger_grant WHERE wallet_id = p_wallet AND is_open) AS g
$$;

-- Fill in the last columns of an answer.
CREATE FUNCTION ledger_show(INOUT p_answer ledger_posting, p_wallet bigint, p_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE w record;
BEGIN
    SELECT id, status, award, partner, purchase, held, debt, recount_at, changed_at INTO w FROM ledger_wallet WHERE id = p_wallet;
    p_answer.wallet_id := w.id; p_answer.status := w.status; p_answer.held := w.held; p_answer.owed := w.debt;
    p_answer.changed_at := w.changed_at;
    IF w.recount_at <= p_at THEN
        SELECT v.award, v.partner, v.purchase INTO w.award, w.partner, w.purchase FROM ledger_visible(p_wallet, p_at) AS v;
    END IF;
    p_answer.award := w.award; p_answer.partner := w.partner; p_answer.purchase := w.purchase;
END $$;

-- Say from which instant on the cached figures of wallets no longer are what is spendable. "At once", while a grant
-- is frozen, is an instant long ago.
CREATE FUNCTION ledger_recount(p_wallets bigint[], p_at timestamptz) RETURNS void LANGUAGE sql AS $$
    UPDATE ledger_wallet w SET recount_at = (
        SELECT CASE WHEN bool_or(g.is_frozen) THEN 'epoch'::timestamptz ELSE min(g.expires_at) END
        FROM ledger_grant g WHERE g.wallet_id = w.id AND g.is_open AND (g.is_frozen OR g.expires_at > p_at OR g.remaining > g.held))
    WHERE w.id = ANY (p_wallets)
$$;

-- Whether a header comes with text that a seal must cover.
CREATE FUNCTION ledger_has_text(h ledger_header) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN h.description <> '' OR h.reference_id <> '' OR h.project <> '' OR h.metadata IS NOT NULL;
END $$;

-- Write one taking: out of these grants (p_takes above zero), with these changes of open debts, and p_opens of new
-- debt on account of p_opens_for. p_id, p_salt and p_digest: made before the lock, where that matters.
CREATE FUNCTION ledger_book(p_wallet bigint, h ledger_header, p_grants uuid[], p_types text[], p_takes bigint[],
                            p_opens bigint DEFAULT 0, p_opens_for uuid DEFAULT NULL,
                            p_debts uuid[] DEFAULT NULL, p_changes bigint[] DEFAULT NULL,
                            p_id uuid DEFAULT ledger_uuid7(), p_salt uuid DEFAULT NULL, p_digest bytea DEFAULT NULL)
RETURNS ledger_posting LANGUAGE plpgsql AS $$
DECLARE
    w record; t record; v_debt uuid; v_salt uuid := p_salt; v_digest bytea := p_digest; v_owed bigint := p_opens; v_count int := coalesce(cardinality(p_grants), 0);
    v_award bigint := 0; v_partner bigint := 0; v_purchase bigint := 0;
BEGIN
    FOR i IN 1 .. v_count LOOP
        CASE p_types[i] WHEN 'award' THEN v_award := v_award + p_takes[i];
                        WHEN 'partner' THEN v_partner := v_partner + p_takes[i];
                        ELSE v_purchase := v_purchase + p_takes[i]; END CASE;
    END LOOP;
    IF p_debts IS NOT NULL THEN v_owed := v_owed + (SELECT sum(change) FROM unnest(p_changes) AS x(change)); END IF;

    IF v_count = 1 THEN
        UPDATE ledger_grant SET remaining = remaining - p_takes[1],
               consumed = consumed + CASE WHEN h.kind IN ('usage', 'expiry', 'debt_repayment') THEN p_takes[1] ELSE 0 END
        WHERE id = p_grants[1];
    ELSIF v_count > 1 THEN
        UPDATE ledger_grant SET remaining = remaining - x.take,
               consumed = consumed + CASE WHEN h.kind IN ('usage', 'expiry', 'debt_repayment') THEN x.take ELSE 0 END
        FROM unnest(p_grants, p_takes) AS x(id, take) WHERE ledger_grant.id = x.id;
    END IF;
    UPDATE ledger_wallet SET award = award - v_award, partner = partner - v_partner, purchase = purchase - v_purchase,
           debt = debt + v_owed, version = version + 1, changed_at = greatest(changed_at, h.at)
    WHERE id = p_wallet
    RETURNING version, status, award, partner, purchase, held, debt, recount_at, changed_at INTO w;

    IF v_salt IS NULL AND ledger_has_text(h) THEN
        v_salt := gen_random_uuid();
        v_digest := ledger_text_digest(v_salt, h.reference_id, h.description, h.project, h.metadata);
    END IF;
    INSERT INTO ledger_credittransaction (
        id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint,
        actor_id, caller, reverses_id, hold_id, feature, price_ids, quantities, occurred_at, recorded_at,
        reference_id, description, project, metadata, text_salt, text_digest)
    VALUES (
        p_id, p_wallet, w.version, h.kind, -v_award - v_partner - v_purchase, -v_award, -v_partner, -v_purchase,
        v_owed, w.award + w.partner + w.purchase, h.key, h.fingerprint, h.actor_id, h.caller, h.reverses_id, h.hold_id,
        h.feature, h.price_ids, h.quantities, coalesce(h.occurred_at, h.at), w.changed_at, h.reference_id, h.description,
        h.project, h.metadata, v_salt, v_digest)
    RETURNING id, amount, balance_after INTO t;

    IF v_count = 1 THEN
        INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
        VALUES (t.id, 1, p_grants[1], p_wallet, p_types[1], -p_takes[1]);
    ELSIF v_count > 1 THEN
        INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
        SELECT t.id, ord, id, p_wallet, type, -take
        FROM unnest(p_grants, p_types, p_takes) WITH ORDINALITY AS x(id, type, take, ord);
    END IF;
    IF p_opens > 0 THEN
        INSERT INTO ledger_debt (id, wallet_id, grant_id, opened_by_id, opened_at, amount, outstanding)
        VALUES (ledger_uuid7(), p_wallet, p_opens_for, t.id, w.changed_at, p_opens, p_opens)
        ON CONFLICT (grant_id) DO UPDATE SET amount = ledger_debt.amount + p_opens, outstanding = ledger_debt.outstanding + p_opens
        RETURNING id INTO v_debt;
        INSERT INTO ledger_debtentry (transaction_id, debt_id, wallet_id, amount) VALUES (t.id, v_debt, p_wallet, p_opens);
    END IF;
    IF p_debts IS NOT NULL THEN
        UPDATE ledger_debt SET outstanding = outstanding + x.change FROM unnest(p_debts, p_changes) AS x(id, change)
        WHERE ledger_debt.id = x.id;
        INSERT INTO ledger_debtentry (transaction_id, debt_id, wallet_id, amount)
        SELECT t.id, id, p_wallet, change FROM unnest(p_debts, p_changes) AS x(id, change);
    END IF;
    IF w.recount_at <= h.at THEN
        SELECT v.award, v.partner, v.purchase INTO w.award, w.partner, w.purchase FROM ledger_visible(p_wallet, h.at) AS v;
    END IF;
    RETURN ROW(NULL, 'done', p_wallet, t.id, w.version, t.amount, v_owed, t.balance_after, w.changed_at, NULL, NULL,
               p_grants, p_types, p_takes, w.status, w.award, w.partner, w.purchase, w.held, w.debt, w.changed_at)::ledger_posting;
END $$;

-- Whether a key was used before, for whatever. The advisory lock makes a racing call with the same key, on whatever
-- wallet, wait for this one's commit and then see it. Calls for many do without (p_alone false), lest they fill the lock
-- table: a race then ends in a unique violation, and whoever called calls again.
CREATE FUNCTION ledger_is_used(p_key uuid, p_alone boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- An IF evaluates it where a PERFORM would start a query for it.
    IF p_alone AND pg_advisory_xact_lock(uuid_hash_extended(p_key, 0)) IS NULL THEN RETURN NULL; END IF;
    RETURN EXISTS (SELECT 1 FROM ledger_credittransaction WHERE key = p_key)
        OR EXISTS (SELECT 1 FROM ledger_hold WHERE key = p_key)
        OR EXISTS (SELECT 1 FROM ledger_hold WHERE end_key = p_key);
END $$;

-- Recognise a key that was used before: the answer it got, or a conflict. NULL when it is new.
CREATE FUNCTION ledger_used(h ledger_header, p_alone boolean DEFAULT true) RETURNS ledger_posting LANGUAGE plpgsql AS $$
DECLARE answer ledger_posting; t record;
BEGIN
    IF NOT ledger_is_used(h.key, p_alone) THEN RETURN NULL; END IF;
    SELECT id, wallet_id, number, fingerprint, amount, debt, balance_after, recorded_at, hold_id INTO t
    FROM ledger_credittransaction WHERE key = h.key;
    IF FOUND THEN
        answer.outcome := CASE WHEN t.fingerprint = h.fingerprint THEN 'replayed' ELSE 'conflict' END;
        answer.transaction_id := t.id; answer.wallet_id := t.wallet_id; answer.number := t.number; answer.amount := t.amount;
        answer.debt := t.debt; answer.balance_after := t.balance_after; answer.recorded_at := t.recorded_at;
        answer.hold_id := t.hold_id;
        RETURN answer;
    END IF;
    SELECT id, wallet_id, CASE WHEN key = h.key THEN fingerprint ELSE end_fingerprint END AS fingerprint INTO t
    FROM ledger_hold WHERE key = h.key OR end_key = h.key;
    IF FOUND THEN
        answer.outcome := CASE WHEN t.fingerprint = h.fingerprint THEN 'replayed' ELSE 'conflict' END;
        answer.wallet_id := t.wallet_id; answer.hold_id := t.id;
        RETURN answer;
    END IF;
    RETURN NULL;
END $$;

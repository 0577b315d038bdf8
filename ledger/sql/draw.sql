-- draw: take credits. Spend, deduct, expire and void differ only in their arguments.
--   p_types   acceptable credit types; NULL: all
--   p_grant   this grant only, expired, frozen or not; NULL: burn-down over the spendable grants
--   p_short   when there is too little: 'refuse'; 'take' what is there; the rest becomes 'debt'; or 'wait': what is
--             held now leaves when its hold ends
--   p_any     draw whatever the wallet's status, and though credits are switched off
-- Refusals: unknown, paused, switched_off, closed, insufficient (with what is available), nothing (there is nothing to
-- take). Whether credits are switched off, the newest settings say; where there are none, they are on.

-- One request. p_payers are the wallets that might pay, in order of preference: the first that covers the whole
-- amount pays, chosen under their locks, after the key was looked up. A retry so never lands on another wallet.
CREATE FUNCTION ledger_draw_one(p_payers bigint[], p_amount bigint, p_types text[], p_grant uuid, p_short text,
                                p_any boolean, h ledger_header, p_alone boolean DEFAULT true)
RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine' SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    answer ledger_posting; g record; v_wallet bigint; v_status text; v_take bigint; v_left bigint; v_short bigint := p_amount; v_off boolean;
    v_id uuid; v_salt uuid; v_digest bytea;
    v_ids uuid[]; v_takes bigint[]; v_types text[];
BEGIN
    IF (p_amount > 0) IS NOT TRUE THEN
        RAISE EXCEPTION 'a draw is of one credit at the least, not %', p_amount USING ERRCODE = 'check_violation';
    END IF;
    IF ledger_is_used(h.key, p_alone) THEN
        answer := ledger_used(h, p_alone);
        RETURN CASE WHEN answer.outcome = 'replayed' THEN ledger_show(answer, answer.wallet_id, h.at) ELSE answer END;
    END IF;
    -- Before the lock, so that it is held for less: what the transaction is called, and the digest of its text.
    v_id := ledger_uuid7();
    IF ledger_has_text(h) THEN
        v_salt := gen_random_uuid();
        v_digest := ledger_text_digest(v_salt, h.reference_id, h.description, h.project, h.metadata);
    END IF;
    IF cardinality(p_payers) > 1 THEN
        PERFORM 1 FROM ledger_wallet WHERE id = ANY (p_payers) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    FOREACH v_wallet IN ARRAY p_payers LOOP
        SELECT status, NOT p_any AND (SELECT NOT credits_enabled FROM ledger_creditsettings ORDER BY id DESC LIMIT 1)
        INTO v_status, v_off FROM ledger_wallet WHERE id = v_wallet FOR NO KEY UPDATE;
        IF v_off AND v_status <> 'paused' THEN
            answer.outcome := 'switched_off'; answer.wallet_id := v_wallet; RETURN answer;
        END IF;
        IF v_status = 'active' OR p_any AND v_status IS NOT NULL THEN
            -- Mostly the first grant has enough: a query for one row, where the loop below opens a cursor.
            SELECT id, credit_type::text, remaining - held AS free INTO g FROM ledger_grant
            WHERE wallet_id = v_wallet AND is_open AND remaining > held AND (p_types IS NULL OR credit_type = ANY (p_types))
              AND (id = p_grant OR p_grant IS NULL AND NOT is_frozen AND (expires_at IS NULL OR expires_at > h.at))
            ORDER BY priority, expires_at, credit_type, effective_at, id LIMIT 1;
            IF g.free >= p_amount THEN
                RETURN ledger_book(v_wallet, h, ARRAY[g.id], ARRAY[g.credit_type], ARRAY[p_amount],
                                   p_id => v_id, p_salt => v_salt, p_digest => v_digest);
            END IF;
            v_left := p_amount; v_ids := NULL; v_takes := NULL; v_types := NULL;
            FOR g IN SELECT id, credit_type::text, remaining - held AS free FROM ledger_grant
                     WHERE wallet_id = v_wallet AND is_open AND remaining > held
                       AND (p_types IS NULL OR credit_type = ANY (p_types))
                       AND (id = p_grant OR p_grant IS NULL AND NOT is_frozen AND (expires_at IS NULL OR expires_at > h.at))
                     ORDER BY priority, expires_at, credit_type, effective_at, id
            LOOP
                IF g.free >= v_left THEN
                    v_ids := v_ids || g.id; v_takes := v_takes || v_left; v_types := v_types || g.credit_type;
                    RETURN ledger_book(v_wallet, h, v_ids, v_types, v_takes);
                END IF;
                v_ids := v_ids || g.id; v_takes := v_takes || g.free; v_types := v_types || g.credit_type;
                v_left := v_left - g.free;
            END LOOP;
            v_short := least(v_short, v_left);
        ELSIF v_wallet = p_payers[1] THEN
            -- The owner's own status speaks for itself; a pool that cannot pay is as good as empty.
            answer.outcome := coalesce(v_status, 'unknown'); answer.wallet_id := v_wallet; RETURN answer;
        END IF;
    END LOOP;

    -- What was found last is another wallet's: the first payer is looked at again, by itself.
    IF p_short <> 'refuse' AND cardinality(p_payers) > 1 THEN
        RETURN ledger_draw_one(p_payers[1:1], p_amount, p_types, p_grant, p_short, p_any, h, p_alone);
    END IF;
    answer.wallet_id := p_payers[1]; answer.available := p_amount - v_short;
    CASE p_short
        WHEN 'debt' THEN
            RETURN ledger_book(p_payers[1], h, v_ids, v_types, v_takes, v_left);
        WHEN 'take' THEN
            IF v_ids IS NOT NULL THEN RETURN ledger_book(p_payers[1], h, v_ids, v_types, v_takes); END IF;
            answer.outcome := 'nothing';
        WHEN 'wait' THEN
            IF v_left <= (SELECT coalesce(sum(held - pending), 0) FROM ledger_grant WHERE wallet_id = p_payers[1] AND is_open
                          AND (p_types IS NULL OR credit_type = ANY (p_types)) AND (p_grant IS NULL OR id = p_grant)) THEN
                FOR g IN SELECT id, held - pending AS free FROM ledger_grant
                         WHERE wallet_id = p_payers[1] AND is_open AND held > pending AND (p_types IS NULL OR credit_type = ANY (p_types))
                           AND (p_grant IS NULL OR id = p_grant)
                         ORDER BY priority, expires_at, credit_type, effective_at, id
                LOOP
                    v_take := least(g.free, v_left);
                    UPDATE ledger_grant SET pending = pending + v_take WHERE id = g.id;
                    v_left := v_left - v_take;
                    EXIT WHEN v_left = 0;
                END LOOP;
                RETURN ledger_book(p_payers[1], h, v_ids, v_types, v_takes);
            END IF;
            answer.outcome := 'insufficient';
        ELSE
            answer.outcome := 'insufficient';
    END CASE;
    RETURN answer;
END $$;

-- Different wallets and keys in one statement. Same answers as ledger_draw_one asked for each in turn (tested).
CREATE FUNCTION ledger_draw_many(p_wallets bigint[], p_amounts bigint[], p_keys uuid[], p_fingerprints uuid[],
                                 p_types text[], p_purchased_only boolean[], p_grants uuid[], p_short text, p_any boolean,
                                 p_actors bigint[], p_features text[], p_prices text[], p_quantities text[],
                                 p_references text[], p_occurred timestamptz[], h ledger_header)
RETURNS SETOF ledger_posting LANGUAGE plpgsql ROWS 10
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    -- Locks are a statement of their own: what follows must read what was committed while we waited.
    PERFORM 1 FROM ledger_wallet WHERE id = ANY (p_wallets) ORDER BY id FOR NO KEY UPDATE;
    RETURN QUERY
    WITH request AS MATERIALIZED (      -- what is asked, of whom, and whether it was asked before
        SELECT r.*, w.status, w.version, w.award + w.partner + w.purchase AS balance,
               greatest(w.changed_at, h.at) AS recorded_at,
               t.id AS done_id, t.wallet_id AS done_wallet, t.fingerprint AS done_fingerprint, t.number AS done_number, t.amount AS done_amount,
               t.debt AS done_debt, t.balance_after AS done_balance, t.recorded_at AS done_at,
               EXISTS (SELECT 1 FROM ledger_hold x WHERE x.key = r.key) OR EXISTS (SELECT 1 FROM ledger_hold x WHERE x.end_key = r.key) AS is_hold,
               CASE WHEN t.id IS NULL THEN ledger_uuid7() END AS new_id
        FROM unnest(p_wallets, p_amounts, p_keys, p_fingerprints, p_purchased_only, p_grants, p_actors, p_features, p_prices,
                    p_quantities, p_references, p_occurred)
             WITH ORDINALITY AS r(wallet_id, amount, key, fingerprint, purchased_only, grant_id, actor_id, feature, prices,
                                  quantities, reference, occurred_at, ord)
        -- LATERAL … OFFSET 0: only ever an index probe for each request, even if planned while the table was empty
        LEFT JOIN LATERAL (SELECT * FROM ledger_wallet x WHERE x.id = r.wallet_id OFFSET 0) w ON true
        LEFT JOIN LATERAL (SELECT * FROM ledger_credittransaction x WHERE x.key = r.key OFFSET 0) t ON true
    ), lot AS (                          -- its grants in burn-down order, with running totals
        SELECT r.*, g.id AS lot_id, g.credit_type, g.remaining - g.held AS free,
               coalesce(sum(g.remaining - g.held) OVER burn_down, 0)::bigint AS running,
               coalesce(sum(g.remaining - g.held) OVER (PARTITION BY r.ord), 0)::bigint AS available
        FROM request r
        LEFT JOIN LATERAL (
            SELECT * FROM ledger_grant x WHERE r.done_id IS NULL AND x.wallet_id = r.wallet_id AND x.is_open
            AND (p_types IS NULL OR x.credit_type = ANY (p_types))
            AND (r.purchased_only IS NOT TRUE OR x.credit_type = 'purchase')
            AND (x.id = r.grant_id OR r.grant_id IS NULL AND NOT x.is_frozen AND (x.expires_at IS NULL OR x.expires_at > h.at))
            OFFSET 0) g ON true
        WINDOW burn_down AS (PARTITION BY r.ord ORDER BY g.priority, g.expires_at, g.credit_type, g.effective_at, g.id ROWS UNBOUNDED PRECEDING)
    ), line AS MATERIALIZED (            -- what each grant gives
        SELECT *, least(free, amount - (running - free)) AS take,
               CASE WHEN done_id IS NOT NULL THEN CASE WHEN done_fingerprint = fingerprint THEN 'replayed' ELSE 'conflict' END
                    WHEN is_hold THEN 'conflict'
                    WHEN status IS NULL THEN 'unknown'
                    WHEN NOT p_any AND status <> 'paused'
                         AND (SELECT NOT credits_enabled FROM ledger_creditsettings ORDER BY id DESC LIMIT 1) THEN 'switched_off'
                    WHEN status <> 'active' AND NOT p_any THEN status
                    WHEN available < amount AND p_short = 'refuse' THEN 'insufficient'
                    WHEN available = 0 AND p_short = 'take' THEN 'nothing'
                    ELSE 'done' END AS outcome
        FROM lot
        WHERE lot_id IS NULL OR running - free < amount
    ), header AS MATERIALIZED (
        SELECT ord, wallet_id, key, fingerprint, actor_id, feature, prices, quantities, reference, occurred_at, recorded_at, outcome,
               new_id, version, balance, available, amount, done_id, done_wallet, done_number, done_amount, done_debt, done_balance, done_at,
               coalesce(sum(take) FILTER (WHERE credit_type = 'award'), 0)::bigint AS award,
               coalesce(sum(take) FILTER (WHERE credit_type = 'partner'), 0)::bigint AS partner,
               coalesce(sum(take) FILTER (WHERE credit_type = 'purchase'), 0)::bigint AS purchase,
               coalesce(sum(take), 0)::bigint AS taken,
               CASE WHEN h.description <> '' OR coalesce(reference, h.reference_id) <> '' OR h.project <> '' OR h.metadata IS NOT NULL
                    THEN gen_random_uuid() END AS salt
        FROM line
        GROUP BY ord, wallet_id, key, fingerprint, actor_id, feature, prices, quantities, reference, occurred_at, recorded_at, outcome,
                 new_id, version, balance, available, amount, done_id, done_wallet, done_number, done_amount, done_debt, done_balance, done_at
    ), write_wallet AS (
        UPDATE ledger_wallet w SET award = w.award - x.award, partner = w.partner - x.partner, purchase = w.purchase - x.purchase,
               version = w.version + 1, changed_at = x.recorded_at
        FROM header x WHERE w.id = x.wallet_id AND x.outcome = 'done'
    ), write_grant AS (
        UPDATE ledger_grant g SET remaining = g.remaining - l.take,
               consumed = g.consumed + CASE WHEN h.kind IN ('usage', 'expiry', 'debt_repayment') THEN l.take ELSE 0 END
        FROM line l WHERE g.id = l.lot_id AND l.outcome = 'done' AND l.take > 0
    ), write_transaction AS (
        INSERT INTO ledger_credittransaction (
            id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint,
            actor_id, caller, reverses_id, hold_id, feature, price_ids, quantities, occurred_at, recorded_at,
            reference_id, description, project, metadata, text_salt, text_digest)
        SELECT new_id, wallet_id, version + 1, h.kind, -taken, -award, -partner, -purchase, 0, balance - taken, key, fingerprint,
               coalesce(actor_id, h.actor_id), h.caller, h.reverses_id, NULL, coalesce(feature, h.feature),
               prices::bigint[], quantities::numeric[], coalesce(occurred_at, h.at), recorded_at,
               coalesce(reference, h.reference_id), h.description, h.project, h.metadata, salt,
               CASE WHEN salt IS NOT NULL
                    THEN ledger_text_digest(salt, coalesce(reference, h.reference_id), h.description, h.project, h.metadata) END
        FROM header WHERE outcome = 'done'
    ), write_entry AS (
        INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
        SELECT new_id, row_number() OVER (PARTITION BY ord ORDER BY running), lot_id, wallet_id, credit_type, -take
        FROM line WHERE outcome = 'done' AND take > 0
    )
    SELECT ord::int, outcome, coalesce(done_wallet, wallet_id), CASE WHEN outcome = 'done' THEN new_id ELSE done_id END,
           CASE WHEN outcome = 'done' THEN version + 1 ELSE done_number END,
           CASE WHEN outcome = 'done' THEN -taken ELSE done_amount END,
           CASE WHEN outcome = 'done' THEN 0 ELSE done_debt END,
           CASE WHEN outcome = 'done' THEN balance - taken ELSE done_balance END,
           CASE WHEN outcome = 'done' THEN recorded_at ELSE done_at END, available, NULL::uuid,
           NULL::uuid[], NULL::text[], NULL::bigint[], NULL::text, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
           NULL::timestamptz
    FROM header;
END $$;

-- The door for several. Different wallets and keys: one statement. A wallet or a key named twice: one after the
-- other, which is faster there (no start of a ten-part statement for each request). h.key and h.fingerprint are of no
-- account; what a request does not say itself (actor, feature, reference, occurred_at) is said by h.
CREATE FUNCTION ledger_draw(p_wallets bigint[], p_amounts bigint[], p_keys uuid[], p_fingerprints uuid[],
                            p_types text[], p_purchased_only boolean[], p_grants uuid[], p_short text, p_any boolean,
                            p_actors bigint[], p_features text[], p_prices text[], p_quantities text[],
                            p_references text[], p_occurred timestamptz[], h ledger_header)
RETURNS SETOF ledger_posting LANGUAGE plpgsql ROWS 10
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE answer ledger_posting; o ledger_header; n int := cardinality(p_wallets);
BEGIN
    IF (1 <= ALL (p_amounts)) IS NOT TRUE THEN
        RAISE EXCEPTION 'a draw is of one credit at the least' USING ERRCODE = 'check_violation';
    END IF;
    IF n > 1 AND p_short IN ('refuse', 'take')
       AND (SELECT count(DISTINCT w) = n AND count(DISTINCT k) = n FROM unnest(p_wallets, p_keys) AS x(w, k)) THEN
        RETURN QUERY SELECT * FROM ledger_draw_many(
            p_wallets, p_amounts, p_keys, p_fingerprints, p_types, p_purchased_only, p_grants, p_short, p_any,
            p_actors, p_features, p_prices, p_quantities, p_references, p_occurred, h);
        RETURN;
    END IF;
    PERFORM 1 FROM ledger_wallet WHERE id = ANY (p_wallets) ORDER BY id FOR NO KEY UPDATE;
    FOR i IN 1 .. n LOOP
        o := h;
        o.key := p_keys[i]; o.fingerprint := p_fingerprints[i]; o.occurred_at := coalesce(p_occurred[i], h.occurred_at);
        o.actor_id := coalesce(p_actors[i], h.actor_id); o.feature := coalesce(p_features[i], h.feature);
        o.price_ids := p_prices[i]::bigint[]; o.quantities := p_quantities[i]::numeric[];
        o.reference_id := coalesce(p_references[i], h.reference_id);
        answer := ledger_draw_one(ARRAY[p_wallets[i]], p_amounts[i],
                                  CASE WHEN p_purchased_only[i] THEN ARRAY(SELECT 'purchase' WHERE p_types IS NULL OR 'purchase' = ANY (p_types))
                                       ELSE p_types END,
                                  p_grants[i], p_short, p_any, o, false);
        answer.ord := i;
        RETURN NEXT answer;
    END LOOP;
END $$;

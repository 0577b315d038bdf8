-- Putting credits back. What goes where is DESIGN 4's table of reversal targets, by the state of the grant they came
-- from. Lines are written as they are decided; the header, which is never edited, follows with their sums. The foreign
-- keys between them are checked at commit.

-- DESIGN 4's money rule: of what was paid and not returned, the share of the credits consumed, rounded down; the last
-- credit takes the remainder. ledger.money_rule says the same in Python.
CREATE FUNCTION ledger_recognised(p_paid bigint, p_returned bigint, p_consumed bigint, p_amount bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_amount = 0 THEN 0
           ELSE least(p_paid - p_returned, floor(p_paid::numeric * p_consumed / p_amount)::bigint) END
$$;

-- The header of what ledger_put_back wrote under p_transaction, and the wallet's new figures.
CREATE FUNCTION ledger_book_back(p_transaction uuid, p_wallet bigint, h ledger_header) RETURNS ledger_posting LANGUAGE plpgsql AS $$
DECLARE answer ledger_posting; e record; w record; v_owed bigint; v_salt uuid;
BEGIN
    SELECT coalesce(sum(amount) FILTER (WHERE credit_type = 'award'), 0)::bigint AS award,
           coalesce(sum(amount) FILTER (WHERE credit_type = 'partner'), 0)::bigint AS partner,
           coalesce(sum(amount) FILTER (WHERE credit_type = 'purchase'), 0)::bigint AS purchase,
           array_agg(grant_id ORDER BY position) AS ids, array_agg(credit_type::text ORDER BY position) AS types,
           array_agg(amount ORDER BY position) AS amounts
    INTO e FROM ledger_entry WHERE transaction_id = p_transaction;
    SELECT coalesce(sum(amount), 0) INTO v_owed FROM ledger_debtentry WHERE transaction_id = p_transaction;
    UPDATE ledger_wallet SET award = award + e.award, partner = partner + e.partner, purchase = purchase + e.purchase,
           debt = debt + v_owed, version = version + 1, changed_at = greatest(changed_at, h.at)
    WHERE id = p_wallet RETURNING version, award + partner + purchase AS balance, changed_at INTO w;
    PERFORM ledger_recount(ARRAY[p_wallet], h.at);
    IF h.description <> '' OR h.reference_id <> '' OR h.project <> '' OR h.metadata IS NOT NULL THEN
        v_salt := gen_random_uuid();
    END IF;
    INSERT INTO ledger_credittransaction (
        id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint,
        actor_id, caller, reverses_id, hold_id, feature, price_ids, quantities, occurred_at, recorded_at,
        reference_id, description, project, metadata, text_salt, text_digest)
    VALUES (p_transaction, p_wallet, w.version, h.kind, e.award + e.partner + e.purchase, e.award, e.partner, e.purchase, v_owed,
        w.balance, h.key, h.fingerprint, h.actor_id, h.caller, h.reverses_id, NULL, h.feature, NULL, NULL,
        coalesce(h.occurred_at, h.at), w.changed_at, h.reference_id, h.description, h.project, h.metadata, v_salt,
        CASE WHEN v_salt IS NOT NULL THEN ledger_text_digest(v_salt, h.reference_id, h.description, h.project, h.metadata) END)
    RETURNING id, number, amount, debt, balance_after, recorded_at
    INTO answer.transaction_id, answer.number, answer.amount, answer.debt, answer.balance_after, answer.recorded_at;
    answer.outcome := 'done'; answer.wallet_id := p_wallet;
    answer.grant_ids := e.ids; answer.credit_types := e.types; answer.amounts := e.amounts;
    RETURN answer;
END $$;

-- One more line of the transaction being written.
CREATE FUNCTION ledger_add_entry(p_transaction uuid, p_grant uuid, p_wallet bigint, p_type text, p_amount bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
    SELECT p_transaction, coalesce(max(position), 0) + 1, p_grant, p_wallet, p_type, p_amount
    FROM ledger_entry WHERE transaction_id = p_transaction
$$;

-- Shrink one debt within the transaction being written.
CREATE FUNCTION ledger_shrink_debt(p_transaction uuid, p_debt uuid, p_wallet bigint, p_amount bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE ledger_debt SET outstanding = outstanding - p_amount WHERE id = p_debt;
    INSERT INTO ledger_debtentry (transaction_id, debt_id, wallet_id, amount) VALUES (p_transaction, p_debt, p_wallet, -p_amount);
$$;

-- Reverse repayments of a debt, the latest first, into the grants that made them; answers how much. A grant that made
-- one may have had a debt of its own repaid by others, and so on: p_within, the debts on the way here, ends a circle.
CREATE FUNCTION ledger_undo_repayments(p_transaction uuid, p_debt uuid, p_amount bigint, p_at timestamptz, p_grace interval,
                                       p_within uuid[] DEFAULT '{}')
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE r record; v_left bigint := p_amount; v_given bigint;
BEGIN
    IF p_debt = ANY (p_within) THEN RETURN 0; END IF;
    FOR r IN SELECT e.transaction_id, e.position, e.grant_id, e.wallet_id, -e.amount - coalesce((
                    SELECT sum(x.amount) FROM ledger_restoration x
                    WHERE x.original_id = e.transaction_id AND x.position = e.position), 0)::bigint AS open
             FROM ledger_debtentry d JOIN ledger_credittransaction t ON t.id = d.transaction_id AND t.kind = 'debt_repayment'
             JOIN ledger_entry e ON e.transaction_id = t.id
             WHERE d.debt_id = p_debt ORDER BY t.number DESC
    LOOP
        EXIT WHEN v_left = 0;
        CONTINUE WHEN r.open = 0;
        v_given := ledger_put_back(p_transaction, r.grant_id, least(r.open, v_left), least(r.open, v_left), p_at, p_grace,
                                   p_within || p_debt);
        CONTINUE WHEN v_given = 0;
        INSERT INTO ledger_restoration (transaction_id, original_id, position, wallet_id, amount)
        VALUES (p_transaction, r.transaction_id, r.position, r.wallet_id, v_given);
        v_left := v_left - v_given;
    END LOOP;
    RETURN p_amount - v_left;
END $$;

-- Give p_amount credits that were taken from a grant back on its account, p_consumed of them having counted as
-- consumed. Answers how much was given back, in whatever form:
--   voided                     nothing
--   clawed back, even in part  the debt that it opened shrinks; then repayments of it are reversed into the grants that
--                              made them; then the grant is refilled up to amount − target − consumed
--   expired                    into it, and carried over at once, its money with it, into a new grant with days of grace
--   live or used up            into it
CREATE FUNCTION ledger_put_back(p_transaction uuid, p_grant uuid, p_amount bigint, p_consumed bigint, p_at timestamptz, p_grace interval,
                                p_within uuid[] DEFAULT '{}')
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE g record; d record; v_left bigint := p_amount; v_take bigint; v_refill bigint; v_given bigint; v_money bigint; v_new uuid;
BEGIN
    SELECT * INTO g FROM ledger_grant WHERE id = p_grant;
    IF g.voided_at IS NOT NULL THEN RETURN 0; END IF;
    SELECT id, outstanding INTO d FROM ledger_debt WHERE grant_id = p_grant;
    IF d.outstanding > 0 THEN
        v_take := least(d.outstanding, v_left);
        PERFORM ledger_shrink_debt(p_transaction, d.id, g.wallet_id, v_take);
        v_left := v_left - v_take;
    END IF;
    IF d.id IS NOT NULL AND v_left > 0 THEN
        v_left := v_left - ledger_undo_repayments(p_transaction, d.id, v_left, p_at, p_grace, p_within);
        -- A repayment may have come from this very grant, so look again.
        SELECT * INTO g FROM ledger_grant WHERE id = p_grant;
    END IF;
    -- What waits for a hold to end counts as taken already.
    v_refill := least(v_left, greatest(
        g.amount - g.carried - g.clawback_target - (g.consumed - p_consumed) - (g.remaining - (g.clawback_target - g.clawed)), 0));
    v_given := p_amount - v_left + v_refill;
    UPDATE ledger_grant SET consumed = consumed - least(p_consumed, v_given), remaining = remaining + v_refill WHERE id = p_grant;
    IF v_refill = 0 THEN RETURN v_given; END IF;
    PERFORM ledger_add_entry(p_transaction, p_grant, g.wallet_id, g.credit_type, v_refill);

    IF g.expires_at <= p_at THEN
        -- Their money: their share of what was paid, or all that is not recognised when nothing else is left.
        SELECT CASE WHEN n.consumed + v_refill = n.amount THEN n.deferred
                    ELSE least(n.deferred, n.paid * v_refill / n.amount) END INTO v_money
        FROM (SELECT consumed, amount - carried AS amount, paid_minor - carried_minor AS paid,
                     paid_minor - carried_minor - returned_minor
                     - ledger_recognised(paid_minor - carried_minor, returned_minor, consumed, amount - carried) AS deferred
              FROM ledger_grant WHERE id = p_grant) AS n;
        UPDATE ledger_grant SET remaining = remaining - v_refill, carried = carried + v_refill, carried_minor = carried_minor + v_money
        WHERE id = p_grant;
        PERFORM ledger_add_entry(p_transaction, p_grant, g.wallet_id, g.credit_type, -v_refill);
        v_new := ledger_uuid7();
        INSERT INTO ledger_grant (id, wallet_id, credit_type, source, priority, amount, remaining, held, consumed, carried, carried_minor,
                                  clawback_target, clawed, pending, paid_minor, returned_minor, currency, effective_at, expires_at,
                                  is_frozen, carried_from_id)
        VALUES (v_new, g.wallet_id, g.credit_type, 'carry_over', g.priority, v_refill, v_refill, 0, 0, 0, 0, 0, 0, 0, v_money, 0,
                CASE WHEN v_money > 0 THEN g.currency ELSE '' END, p_at, p_at + p_grace, g.is_frozen, p_grant);
        PERFORM ledger_add_entry(p_transaction, v_new, g.wallet_id, g.credit_type, v_refill);
    END IF;
    RETURN v_given;
END $$;

-- restore: give back what a usage, an adjustment or an expiry took, last taken first, the debt it opened before all. p_amount
-- NULL: everything not given back yet. The answer's available is what could still be given back; its amount is what
-- reached the grants, which is less where a debt shrank (debt) or a grant was voided.
-- Refusals: unknown, not_reversible, already_reversed, exceeds, nothing (all of it is voided or written off).
CREATE FUNCTION ledger_restore(p_original uuid, p_amount bigint, p_grace interval, h ledger_header)
RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    answer ledger_posting; o record; l record; d record;
    v_tx uuid; v_open bigint; v_left bigint; v_take bigint; v_given bigint; v_all bigint := 0;
BEGIN
    answer := ledger_used(h);
    IF answer.outcome = 'replayed' THEN RETURN ledger_show(answer, answer.wallet_id, h.at); END IF;
    IF answer.outcome IS NOT NULL THEN RETURN answer; END IF;
    SELECT id, wallet_id, kind, amount, debt INTO o FROM ledger_credittransaction WHERE id = p_original;
    IF NOT FOUND THEN answer.outcome := 'unknown'; RETURN answer; END IF;
    answer.wallet_id := o.wallet_id;
    IF o.kind NOT IN ('usage', 'adjustment', 'expiry') OR o.amount > 0 THEN
        answer.outcome := 'not_reversible'; RETURN answer;
    END IF;
    PERFORM 1 FROM ledger_wallet WHERE id = o.wallet_id FOR NO KEY UPDATE;
    SELECT coalesce(sum(open), 0) INTO v_open FROM ledger_open_lines(p_original);
    answer.available := v_open;
    IF v_open = 0 THEN answer.outcome := 'already_reversed'; RETURN answer; END IF;
    v_left := coalesce(p_amount, v_open);
    IF v_left NOT BETWEEN 1 AND v_open THEN answer.outcome := 'exceeds'; RETURN answer; END IF;

    v_tx := ledger_uuid7();
    FOR l IN SELECT * FROM ledger_open_lines(p_original) AS x WHERE x.open > 0
             ORDER BY x.position = 0 DESC, x.position DESC LOOP
        EXIT WHEN v_left = 0;
        v_take := least(l.open, v_left);
        v_left := v_left - v_take;
        IF l.position = 0 THEN
            v_given := 0;
            SELECT x.id, x.outstanding INTO d FROM ledger_debtentry e JOIN ledger_debt x ON x.id = e.debt_id
            WHERE e.transaction_id = p_original;
            IF d.outstanding > 0 THEN
                v_given := least(d.outstanding, v_take);
                PERFORM ledger_shrink_debt(v_tx, d.id, o.wallet_id, v_given);
            END IF;
            v_given := v_given + ledger_undo_repayments(v_tx, d.id, v_take - v_given, h.at, p_grace);
        ELSE
            v_given := ledger_put_back(v_tx, l.grant_id, v_take, CASE WHEN o.kind = 'adjustment' THEN 0 ELSE v_take END, h.at, p_grace);
        END IF;
        CONTINUE WHEN v_given = 0;
        INSERT INTO ledger_restoration (transaction_id, original_id, position, wallet_id, amount)
        VALUES (v_tx, p_original, l.position, o.wallet_id, v_given);
        v_all := v_all + v_given;
    END LOOP;
    IF v_all = 0 THEN answer.outcome := 'nothing'; RETURN answer; END IF;
    h.reverses_id := p_original;
    answer := ledger_book_back(v_tx, o.wallet_id, h);
    PERFORM ledger_follow_up(o.wallet_id, answer.grant_ids, h.at);
    answer.available := v_all;
    RETURN ledger_show(answer, o.wallet_id, h.at);
END $$;

-- What of each line of a taking is not given back yet; position 0 is the debt it opened.
CREATE FUNCTION ledger_open_lines(p_original uuid) RETURNS TABLE ("position" smallint, grant_id uuid, open bigint) LANGUAGE sql STABLE AS $$
    SELECT l.position, l.grant_id, l.amount - coalesce((SELECT sum(r.amount) FROM ledger_restoration r
               WHERE r.original_id = p_original AND r.position = l.position), 0)::bigint
    FROM (SELECT e.position, e.grant_id, -e.amount AS amount FROM ledger_entry e WHERE e.transaction_id = p_original AND e.amount < 0
          UNION ALL
          SELECT 0::smallint, NULL, d.amount FROM ledger_debtentry d WHERE d.transaction_id = p_original AND d.amount > 0) AS l
$$;

-- Take a grant back that should not have been given: what is left of it, which must be all unless p_partly. Refusals:
-- unknown, not_reversible (not posted by staff, or paid for), already_reversed, partly_spent (available: what is left).
CREATE FUNCTION ledger_take_back(p_original uuid, p_partly boolean, h ledger_header)
RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE answer ledger_posting; o record; g record;
BEGIN
    answer := ledger_used(h);
    IF answer.outcome = 'replayed' THEN RETURN ledger_show(answer, answer.wallet_id, h.at); END IF;
    IF answer.outcome IS NOT NULL THEN RETURN answer; END IF;
    SELECT id, wallet_id, kind, amount INTO o FROM ledger_credittransaction WHERE id = p_original;
    IF NOT FOUND THEN answer.outcome := 'unknown'; RETURN answer; END IF;
    answer.wallet_id := o.wallet_id;
    IF o.kind NOT IN ('award', 'partner', 'purchase', 'adjustment') OR o.amount <= 0 THEN
        answer.outcome := 'not_reversible'; RETURN answer;
    END IF;
    PERFORM 1 FROM ledger_wallet WHERE id = o.wallet_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT 1 FROM ledger_credittransaction WHERE reverses_id = p_original) THEN
        answer.outcome := 'already_reversed'; RETURN answer;
    END IF;
    SELECT x.* INTO g FROM ledger_entry e JOIN ledger_grant x ON x.id = e.grant_id WHERE e.transaction_id = p_original;
    IF g.paid_minor > 0 THEN answer.outcome := 'not_reversible'; RETURN answer; END IF;
    answer.available := g.remaining - g.held;
    IF answer.available < g.amount AND NOT p_partly THEN answer.outcome := 'partly_spent'; RETURN answer; END IF;
    IF answer.available = 0 THEN answer.outcome := 'nothing'; RETURN answer; END IF;
    h.reverses_id := p_original;
    RETURN ledger_book(o.wallet_id, h, ARRAY[g.id], ARRAY[g.credit_type::text], ARRAY[answer.available]);
END $$;

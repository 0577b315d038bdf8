-- Taking purchased credits back after refunds and chargebacks, and giving them back when one is won.
--
-- A grant's clawback_target says how many of its credits are to be taken back in all; clawed, how many of those are
-- settled. A step settles the difference: from what is unspent and not held; what is held waits for its hold; what
-- expired unspent is let go; the rest is debt, repaid at once from the wallet's other unheld paid credits.

CREATE FUNCTION ledger_claw_step(p_grant uuid, h ledger_header) RETURNS ledger_posting LANGUAGE plpgsql AS $$
DECLARE
    g record; o record; answer ledger_posting;
    v_need bigint; v_take bigint; v_wait bigint; v_expired bigint; v_parts bigint; v_debt bigint := 0;
BEGIN
    SELECT * INTO g FROM ledger_grant WHERE id = p_grant;
    v_need := g.clawback_target - g.clawed;
    v_take := least(g.remaining - g.held, v_need);
    v_wait := least(g.held, v_need - v_take);
    IF g.credit_type = 'purchase' AND v_need > v_take + v_wait THEN      -- a bonus's shortfall is no debt
        -- Owed in all is what was neither taken nor expired unspent, net of what was put back; less what is owed already.
        SELECT coalesce(sum(-e.amount - coalesce((SELECT sum(r.amount) FROM ledger_restoration r
                   WHERE r.original_id = e.transaction_id AND r.position = e.position), 0)), 0) INTO v_expired
        FROM ledger_entry e JOIN ledger_credittransaction t ON t.id = e.transaction_id AND t.kind = 'expiry'
        WHERE e.grant_id = g.id;
        SELECT coalesce(sum(part), 0) INTO v_parts FROM ledger_clawed_parts(g.id);
        v_debt := greatest(least(v_need, g.clawback_target - v_expired - v_parts) - v_take - v_wait, 0);
    END IF;
    UPDATE ledger_grant SET clawed = clawback_target - v_wait WHERE id = g.id;
    IF v_take = 0 AND v_debt = 0 THEN RETURN answer; END IF;

    answer := ledger_book(g.wallet_id, h, CASE WHEN v_take > 0 THEN ARRAY[g.id] END,
                          CASE WHEN v_take > 0 THEN ARRAY[g.credit_type::text] END, CASE WHEN v_take > 0 THEN ARRAY[v_take] END,
                          v_debt, g.id);
    IF v_debt > 0 THEN
        FOR o IN SELECT id FROM ledger_grant
                 WHERE wallet_id = g.wallet_id AND is_open AND id <> g.id AND paid_minor > 0 AND NOT is_frozen AND remaining > held
                   AND clawback_target = clawed AND (expires_at IS NULL OR expires_at > h.at)
                 ORDER BY priority, expires_at, credit_type, effective_at, id
        LOOP
            EXIT WHEN NOT EXISTS (SELECT 1 FROM ledger_debt WHERE wallet_id = g.wallet_id AND is_open);
            PERFORM ledger_repay(g.wallet_id, o.id, h.at);
        END LOOP;
    END IF;
    RETURN answer;
END $$;

-- What clawbacks of a grant took or opened as debt and no reinstatement has given back yet, line by line, the latest
-- first. Position 0 is the debt.
CREATE FUNCTION ledger_clawed_parts(p_grant uuid) RETURNS TABLE (transaction_id uuid, "position" smallint, part bigint, number bigint)
LANGUAGE sql STABLE AS $$
    SELECT l.transaction_id, l.position, l.amount - coalesce((SELECT sum(r.amount) FROM ledger_restoration r
               WHERE r.original_id = l.transaction_id AND r.position = l.position), 0)::bigint, l.number
    FROM (SELECT e.transaction_id, e.position, -e.amount AS amount, t.number
          FROM ledger_entry e JOIN ledger_credittransaction t ON t.id = e.transaction_id AND t.kind = 'clawback'
          WHERE e.grant_id = p_grant
          UNION ALL
          SELECT e.transaction_id, 0::smallint, e.amount, t.number
          FROM ledger_debt d JOIN ledger_debtentry e ON e.debt_id = d.id
          JOIN ledger_credittransaction t ON t.id = e.transaction_id AND t.kind = 'clawback' WHERE d.grant_id = p_grant) AS l
    ORDER BY l.number DESC, l.position
$$;

-- Say what a grant is to be clawed back to in all, and what of its money was returned in all. Above what it was:
-- claw back. Below: reinstate. The figures are cumulative over all refunds and chargebacks, so the same said again
-- changes nothing (outcome 'nothing').
CREATE FUNCTION ledger_claw_back(p_grant uuid, p_target bigint, p_returned_minor bigint, p_grace interval, h ledger_header)
RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE answer ledger_posting; g record; r record; v_give bigint; v_left bigint; v_part bigint; v_tx uuid;
BEGIN
    answer := ledger_used(h);
    IF answer.outcome = 'replayed' THEN RETURN ledger_show(answer, answer.wallet_id, h.at); END IF;
    IF answer.outcome IS NOT NULL THEN RETURN answer; END IF;
    SELECT wallet_id INTO g FROM ledger_grant WHERE id = p_grant;
    IF NOT FOUND THEN answer.outcome := 'unknown'; RETURN answer; END IF;
    PERFORM 1 FROM ledger_wallet WHERE id = g.wallet_id FOR NO KEY UPDATE;
    SELECT * INTO g FROM ledger_grant WHERE id = p_grant;
    -- What was carried over is the other grant's to give back.
    IF p_target NOT BETWEEN 0 AND g.amount - g.carried THEN
        answer.outcome := 'exceeds'; answer.wallet_id := g.wallet_id; answer.available := g.amount - g.carried; RETURN answer;
    END IF;
    IF p_target = g.clawback_target AND p_returned_minor = g.returned_minor THEN
        answer.outcome := 'nothing'; RETURN ledger_show(answer, g.wallet_id, h.at);
    END IF;
    -- What was only waiting for a hold is no longer wanted; what was let go was nobody's loss.
    SELECT least(greatest(g.clawed - p_target, 0), coalesce(sum(part), 0)) INTO v_give FROM ledger_clawed_parts(p_grant);
    UPDATE ledger_grant SET clawback_target = p_target, returned_minor = p_returned_minor,
           clawed = least(clawed, p_target) WHERE id = p_grant;
    IF p_target > g.clawback_target THEN
        answer := ledger_claw_step(p_grant, h);
    ELSIF v_give > 0 THEN
        v_tx := ledger_uuid7();
        v_left := ledger_put_back(v_tx, p_grant, v_give, 0, h.at, p_grace);
        IF v_left > 0 THEN
            FOR r IN SELECT * FROM ledger_clawed_parts(p_grant) AS c WHERE c.part > 0 ORDER BY c.number DESC, c.position LOOP
                v_part := least(r.part, v_left);
                INSERT INTO ledger_restoration (transaction_id, original_id, position, wallet_id, amount)
                VALUES (v_tx, r.transaction_id, r.position, g.wallet_id, v_part);
                v_left := v_left - v_part;
                EXIT WHEN v_left = 0;
            END LOOP;
            answer := ledger_book_back(v_tx, g.wallet_id, h);
            PERFORM ledger_follow_up(g.wallet_id, answer.grant_ids, h.at);
        END IF;
    END IF;
    -- Even if no credit moved yet, the figures did: the key is remembered.
    IF answer.transaction_id IS NULL THEN answer := ledger_book(g.wallet_id, h, NULL, NULL, NULL); END IF;
    IF p_returned_minor <> g.returned_minor THEN
        INSERT INTO ledger_moneyreturn (transaction_id, grant_id, wallet_id, amount_minor)
        VALUES (answer.transaction_id, p_grant, g.wallet_id, p_returned_minor - g.returned_minor);
    END IF;
    RETURN ledger_show(answer, g.wallet_id, h.at);
END $$;

-- Strike debt off, the oldest first: nobody will pay it. Refusals: unknown, exceeds (more than is owed).
CREATE FUNCTION ledger_write_off(p_wallet bigint, p_amount bigint, h ledger_header) RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE answer ledger_posting; d record; v_left bigint := p_amount; v_ids uuid[]; v_changes bigint[]; v_owed bigint;
BEGIN
    answer := ledger_used(h);
    IF answer.outcome = 'replayed' THEN RETURN ledger_show(answer, answer.wallet_id, h.at); END IF;
    IF answer.outcome IS NOT NULL THEN RETURN answer; END IF;
    SELECT debt INTO v_owed FROM ledger_wallet WHERE id = p_wallet FOR NO KEY UPDATE;
    IF NOT FOUND THEN answer.outcome := 'unknown'; RETURN answer; END IF;
    IF (p_amount BETWEEN 1 AND v_owed) IS NOT TRUE THEN
        answer.outcome := 'exceeds'; answer.wallet_id := p_wallet; answer.available := v_owed; RETURN answer;
    END IF;
    FOR d IN SELECT id, outstanding FROM ledger_debt WHERE wallet_id = p_wallet AND is_open ORDER BY opened_at, id LOOP
        v_ids := v_ids || d.id; v_changes := v_changes || -least(d.outstanding, v_left);
        v_left := v_left - least(d.outstanding, v_left);
        EXIT WHEN v_left = 0;
    END LOOP;
    RETURN ledger_book(p_wallet, h, NULL, NULL, NULL, 0, NULL, v_ids, v_changes);
END $$;

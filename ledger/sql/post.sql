-- post: put a grant into each wallet. A purchase that was paid for repays the wallet's debts first, the oldest
-- before the others, each as a transaction of its own out of the new grant: the grant stays whole for refunds, and
-- what it repays is recognised like any spent credit.
-- Refusals: unknown, closed, too_large (p_largest, when given, bounds what the type's balance may become).

CREATE FUNCTION ledger_repay(p_wallet bigint, p_grant uuid, p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE d record; v_free bigint; v_take bigint;
BEGIN
    SELECT remaining - held INTO v_free FROM ledger_grant WHERE id = p_grant;
    FOR d IN SELECT id, outstanding FROM ledger_debt WHERE wallet_id = p_wallet AND is_open ORDER BY opened_at, id LOOP
        EXIT WHEN v_free <= 0;
        v_take := least(d.outstanding, v_free);
        PERFORM ledger_book(p_wallet, ledger_system_header('debt_repayment', p_at, ''), ARRAY[p_grant], ARRAY['purchase'],
                            ARRAY[v_take], 0, NULL, ARRAY[d.id], ARRAY[-v_take]);
        v_free := v_free - v_take;
    END LOOP;
END $$;

CREATE FUNCTION ledger_post(p_wallets bigint[], p_amounts bigint[], p_keys uuid[], p_fingerprints uuid[],
                            p_paid bigint[], p_type text, p_source text, p_priority smallint, p_currency text,
                            p_expires_at timestamptz, p_largest bigint, h ledger_header)
RETURNS SETOF ledger_posting LANGUAGE plpgsql ROWS 10
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE v_turns int[]; v_rounds int := 1; n int := cardinality(p_wallets); r record; answer ledger_posting;
BEGIN
    IF n = 1 THEN
        PERFORM pg_advisory_xact_lock(uuid_hash_extended(p_keys[1], 0));
        v_turns := ARRAY[1];
    ELSIF (SELECT count(DISTINCT w) = n AND count(DISTINCT k) = n FROM unnest(p_wallets, p_keys) AS x(w, k)) THEN
        v_turns := array_fill(1, ARRAY[n]);
    ELSE                                 -- a wallet or a key named twice: one after the other
        v_turns := ARRAY(SELECT generate_series(1, n)); v_rounds := n;
    END IF;
    PERFORM 1 FROM ledger_wallet WHERE id = ANY (p_wallets) ORDER BY id FOR NO KEY UPDATE;

    FOR v_round IN 1 .. v_rounds LOOP
        FOR answer IN
        WITH request AS MATERIALIZED (
            SELECT r.*, w.version, w.award + w.partner + w.purchase AS balance, greatest(w.changed_at, h.at) AS recorded_at,
                   t.id AS done_id, t.number AS done_number, t.amount AS done_amount, t.debt AS done_debt,
                   t.balance_after AS done_balance, t.recorded_at AS done_at, t.wallet_id AS done_wallet,
                   CASE WHEN t.id IS NULL THEN ledger_uuid7() END AS new_id,
                   CASE WHEN t.id IS NULL THEN ledger_uuid7() END AS grant_id,
                   CASE WHEN h.description <> '' OR h.reference_id <> '' OR h.project <> '' OR h.metadata IS NOT NULL
                        THEN gen_random_uuid() END AS salt,
                   CASE WHEN t.fingerprint = r.fingerprint THEN 'replayed' WHEN t.id IS NOT NULL THEN 'conflict'
                        WHEN EXISTS (SELECT 1 FROM ledger_hold x WHERE x.key = r.key)
                             OR EXISTS (SELECT 1 FROM ledger_hold x WHERE x.end_key = r.key) THEN 'conflict'
                        WHEN w.id IS NULL THEN 'unknown' WHEN w.status = 'closed' THEN 'closed'
                        WHEN r.amount + CASE p_type WHEN 'award' THEN w.award WHEN 'partner' THEN w.partner ELSE w.purchase END
                             > p_largest THEN 'too_large'
                        ELSE 'done' END AS outcome
            FROM unnest(p_wallets, p_amounts, p_keys, p_fingerprints, p_paid, v_turns)
                 WITH ORDINALITY AS r(wallet_id, amount, key, fingerprint, paid, turn, ord)
            -- LATERAL … OFFSET 0: only ever an index probe for each request, even if planned while the table was empty
            LEFT JOIN LATERAL (SELECT * FROM ledger_wallet x WHERE x.id = r.wallet_id OFFSET 0) w ON true
            LEFT JOIN LATERAL (SELECT * FROM ledger_credittransaction x WHERE x.key = r.key OFFSET 0) t ON true
            WHERE r.turn = v_round
        ), write_wallet AS (
            UPDATE ledger_wallet w SET award = w.award + CASE WHEN p_type = 'award' THEN r.amount ELSE 0 END,
                   partner = w.partner + CASE WHEN p_type = 'partner' THEN r.amount ELSE 0 END,
                   purchase = w.purchase + CASE WHEN p_type = 'purchase' THEN r.amount ELSE 0 END,
                   version = w.version + 1, changed_at = r.recorded_at, recount_at = least(w.recount_at, p_expires_at)
            FROM request r WHERE w.id = r.wallet_id AND r.outcome = 'done'
        ), write_grant AS (
            INSERT INTO ledger_grant (id, wallet_id, credit_type, source, priority, amount, remaining, held, consumed, carried,
                                      carried_minor, clawback_target, clawed, pending, paid_minor, returned_minor, currency,
                                      effective_at, expires_at, is_frozen)
            SELECT grant_id, wallet_id, p_type, p_source, p_priority, amount, amount, 0, 0, 0, 0, 0, 0, 0, coalesce(paid, 0), 0,
                   CASE WHEN paid > 0 THEN p_currency ELSE '' END, recorded_at, p_expires_at, false
            FROM request WHERE outcome = 'done'
        ), write_transaction AS (
            INSERT INTO ledger_credittransaction (
                id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint,
                actor_id, caller, reverses_id, hold_id, feature, price_ids, quantities, occurred_at, recorded_at,
                reference_id, description, project, metadata, text_salt, text_digest)
            SELECT new_id, wallet_id, version + 1, h.kind, amount, CASE WHEN p_type = 'award' THEN amount ELSE 0 END,
                   CASE WHEN p_type = 'partner' THEN amount ELSE 0 END, CASE WHEN p_type = 'purchase' THEN amount ELSE 0 END,
                   0, balance + amount, key, fingerprint, h.actor_id, h.caller, NULL, NULL, '', NULL, NULL,
                   coalesce(h.occurred_at, h.at), recorded_at, h.reference_id, h.description, h.project, h.metadata, salt,
                   CASE WHEN salt IS NOT NULL
                        THEN ledger_text_digest(salt, h.reference_id, h.description, h.project, h.metadata) END
            FROM request WHERE outcome = 'done'
        ), write_entry AS (
            INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
            SELECT new_id, 1, grant_id, wallet_id, p_type, amount FROM request WHERE outcome = 'done'
        )
        SELECT ord::int, outcome, coalesce(done_wallet, wallet_id), CASE WHEN outcome = 'done' THEN new_id ELSE done_id END,
               CASE WHEN outcome = 'done' THEN version + 1 ELSE done_number END,
               CASE WHEN outcome = 'done' THEN amount ELSE done_amount END, CASE WHEN outcome = 'done' THEN 0 ELSE done_debt END,
               CASE WHEN outcome = 'done' THEN balance + amount ELSE done_balance END,
               CASE WHEN outcome = 'done' THEN recorded_at ELSE done_at END, NULL::bigint, NULL::uuid,
               CASE WHEN outcome = 'done' THEN ARRAY[grant_id] END, CASE WHEN outcome = 'done' THEN ARRAY[p_type] END,
               CASE WHEN outcome = 'done' THEN ARRAY[amount] END, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
               NULL::bigint, NULL::timestamptz
        FROM request
        LOOP
            IF answer.outcome = 'done' AND p_paid[answer.ord] > 0
               AND (SELECT debt > 0 FROM ledger_wallet WHERE id = answer.wallet_id) THEN
                PERFORM ledger_repay(answer.wallet_id, answer.grant_ids[1], h.at);
            END IF;
            IF n = 1 AND answer.outcome IN ('done', 'replayed') THEN answer := ledger_show(answer, answer.wallet_id, h.at); END IF;
            RETURN NEXT answer;
        END LOOP;
    END LOOP;
END $$;

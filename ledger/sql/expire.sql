-- Book the expiry of grants whose time is over, but for what holds pin. Answers grants and credits.
CREATE FUNCTION ledger_expire(p_at timestamptz, p_limit int, OUT expired_grants bigint, OUT credits bigint) LANGUAGE plpgsql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_wallets bigint[]; v_grants uuid[]; v_amounts bigint[];
BEGIN
    SELECT array_agg(wallet_id), array_agg(id), array_agg(remaining - held) INTO v_wallets, v_grants, v_amounts
    FROM (SELECT wallet_id, id, remaining, held FROM ledger_grant
          WHERE is_open AND expires_at <= p_at AND remaining > held AND NOT is_frozen ORDER BY expires_at, id LIMIT p_limit) AS due;
    IF v_wallets IS NULL THEN expired_grants := 0; credits := 0; RETURN; END IF;
    -- Locked and looked at again by the draw, which takes what is there then.
    SELECT count(*) FILTER (WHERE d.outcome = 'done'), coalesce(-sum(d.amount) FILTER (WHERE d.outcome = 'done'), 0)
    INTO expired_grants, credits
    FROM ledger_draw(v_wallets, v_amounts, ARRAY(SELECT gen_random_uuid() FROM generate_series(1, cardinality(v_wallets))),
                     ARRAY(SELECT gen_random_uuid() FROM generate_series(1, cardinality(v_wallets))), NULL, NULL, v_grants,
                     'take', true, NULL, NULL, NULL, NULL, NULL, NULL, ledger_system_header('expiry', p_at, '')) AS d;
    PERFORM ledger_recount(v_wallets, p_at);
END $$;

-- Void what is left of a wallet's grants of some types: the rest of what is held follows when the holds end.
-- Refusals: unknown, nothing.
CREATE FUNCTION ledger_void(p_wallet bigint, p_types text[], h ledger_header) RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE answer ledger_posting; v_ids uuid[]; v_takes bigint[]; v_types text[];
BEGIN
    answer := ledger_used(h);
    IF answer.outcome = 'replayed' THEN RETURN ledger_show(answer, answer.wallet_id, h.at); END IF;
    IF answer.outcome IS NOT NULL THEN RETURN answer; END IF;
    answer.wallet_id := p_wallet;
    PERFORM 1 FROM ledger_wallet WHERE id = p_wallet FOR NO KEY UPDATE;
    IF NOT FOUND THEN answer.outcome := 'unknown'; RETURN answer; END IF;
    SELECT array_agg(id ORDER BY effective_at, id), array_agg(remaining - held ORDER BY effective_at, id),
           array_agg(credit_type::text ORDER BY effective_at, id) INTO v_ids, v_takes, v_types
    FROM ledger_grant WHERE wallet_id = p_wallet AND is_open AND credit_type = ANY (p_types) AND remaining > held;
    -- Used up ones, too: what is put back later is not restored.
    UPDATE ledger_grant SET voided_at = h.at WHERE wallet_id = p_wallet AND credit_type = ANY (p_types) AND voided_at IS NULL;
    IF NOT FOUND AND v_ids IS NULL THEN answer.outcome := 'nothing'; RETURN ledger_show(answer, p_wallet, h.at); END IF;
    RETURN ledger_book(p_wallet, h, v_ids, v_types, v_takes);
END $$;

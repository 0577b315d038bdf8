-- Holds pin particular grants, as a draw would take them. A hold ends once.

-- Refusals: unknown, paused, switched_off, closed, insufficient (with what is available).
CREATE FUNCTION ledger_place_hold(p_payers bigint[], p_amount bigint, p_types text[], p_expires_at timestamptz, h ledger_header)
RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    answer ledger_posting; g record; v_wallet bigint; v_status text; v_take bigint; v_left bigint; v_short bigint := p_amount; v_off boolean;
    v_ids uuid[]; v_takes bigint[];
BEGIN
    answer := ledger_used(h);
    IF answer.outcome = 'replayed' THEN RETURN ledger_show(answer, answer.wallet_id, h.at); END IF;
    IF answer.outcome IS NOT NULL THEN RETURN answer; END IF;
    PERFORM 1 FROM ledger_wallet WHERE id = ANY (p_payers) ORDER BY id FOR NO KEY UPDATE;
    FOREACH v_wallet IN ARRAY p_payers LOOP
        SELECT status, (SELECT NOT credits_enabled FROM ledger_creditsettings ORDER BY id DESC LIMIT 1)
        INTO v_status, v_off FROM ledger_wallet WHERE id = v_wallet;
        IF v_status IS NULL THEN answer.outcome := 'unknown'; RETURN answer; END IF;
        IF v_off AND v_status <> 'paused' THEN
            answer.outcome := 'switched_off'; answer.wallet_id := v_wallet; RETURN answer;
        END IF;
        IF v_status <> 'active' THEN
            IF v_wallet = p_payers[1] THEN answer.outcome := v_status; answer.wallet_id := v_wallet; RETURN answer; END IF;
            CONTINUE;
        END IF;
        v_left := p_amount; v_ids := NULL; v_takes := NULL;
        FOR g IN SELECT id, remaining - held AS free FROM ledger_grant
                 WHERE wallet_id = v_wallet AND is_open AND (p_types IS NULL OR credit_type = ANY (p_types))
                   AND NOT is_frozen AND (expires_at IS NULL OR expires_at > h.at)
                 ORDER BY priority, expires_at, credit_type, effective_at, id
        LOOP
            CONTINUE WHEN g.free = 0;
            v_take := least(g.free, v_left);
            v_ids := v_ids || g.id; v_takes := v_takes || v_take; v_left := v_left - v_take;
            EXIT WHEN v_left = 0;
        END LOOP;
        EXIT WHEN v_left = 0;
        v_short := least(v_short, v_left);
    END LOOP;
    IF v_left > 0 THEN
        answer.outcome := 'insufficient'; answer.wallet_id := p_payers[1]; answer.available := p_amount - v_short;
        RETURN answer;
    END IF;
    INSERT INTO ledger_hold (id, wallet_id, status, amount, captured, released, key, fingerprint, actor_id, caller, placed_at,
                             expires_at, feature, price_ids, quantities, reference_id, description, project, metadata)
    VALUES (ledger_uuid7(), v_wallet, 'open', p_amount, 0, 0, h.key, h.fingerprint, h.actor_id, h.caller, h.at,
            p_expires_at, h.feature, h.price_ids, h.quantities, h.reference_id, h.description, h.project, h.metadata)
    RETURNING id INTO answer.hold_id;
    INSERT INTO ledger_holdallocation (hold_id, position, grant_id, wallet_id, amount, pinned)
    SELECT answer.hold_id, x.ord, x.id, v_wallet, x.take, x.take FROM unnest(v_ids, v_takes) WITH ORDINALITY AS x(id, take, ord);
    UPDATE ledger_grant SET held = held + x.take FROM unnest(v_ids, v_takes) AS x(id, take) WHERE ledger_grant.id = x.id;
    UPDATE ledger_wallet SET held = held + p_amount, changed_at = greatest(changed_at, h.at) WHERE id = v_wallet;
    answer.outcome := 'done'; answer.amount := p_amount;
    RETURN ledger_show(answer, v_wallet, h.at);
END $$;

-- What a hold that ended leaves to be done with the grants it pinned: what expired meanwhile, was voided, deducted or is
-- to be clawed back leaves at once, so that released credits are never spendable in between.
CREATE FUNCTION ledger_follow_up(p_wallet bigint, p_grants uuid[], p_at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE v_grant uuid; g record; v_free bigint; v_take bigint;
BEGIN
    FOR v_grant IN SELECT id FROM ledger_grant WHERE id = ANY (p_grants)
                   AND (voided_at IS NOT NULL OR clawback_target > clawed OR pending > 0 OR expires_at <= p_at)
                   ORDER BY effective_at, id
    LOOP
        IF EXISTS (SELECT 1 FROM ledger_grant WHERE id = v_grant AND clawback_target > clawed) THEN
            PERFORM ledger_claw_step(v_grant, ledger_system_header('clawback', p_at, ''));
        END IF;
        -- Read anew: a clawback may have taken from this grant, or repaid a debt from it.
        SELECT id, credit_type::text, remaining - held AS free, held, pending, voided_at, expires_at <= p_at AND NOT is_frozen AS is_over
        INTO g FROM ledger_grant WHERE id = v_grant;
        v_free := g.free;
        IF g.pending > 0 THEN
            v_take := least(v_free, g.pending);
            IF v_take > 0 THEN
                PERFORM ledger_book(p_wallet, ledger_system_header('adjustment', p_at, ''), ARRAY[g.id], ARRAY[g.credit_type], ARRAY[v_take]);
            END IF;
            UPDATE ledger_grant SET pending = least(g.pending - v_take, g.held) WHERE id = g.id;
            v_free := v_free - v_take;
        END IF;
        IF v_free > 0 AND (g.voided_at IS NOT NULL OR g.is_over) THEN
            PERFORM ledger_book(p_wallet, ledger_system_header(CASE WHEN g.voided_at IS NOT NULL THEN 'void' ELSE 'expiry' END, p_at, ''),
                                ARRAY[g.id], ARRAY[g.credit_type], ARRAY[v_free]);
        END IF;
    END LOOP;
END $$;

-- End a hold: capture p_capture of it (NULL: all of it; 0: none) and release the rest. p_caller: who may do so, NULL for
-- staff and the system. p_status: how it ended when nothing was captured.
-- Refusals: unknown, not_your_hold, not_open (it ended, or its time is over), exceeds (available: what it holds).
CREATE FUNCTION ledger_settle_hold(p_hold uuid, p_capture bigint, p_caller text, p_status text, h ledger_header)
RETURNS ledger_posting LANGUAGE plpgsql
SET ledger.writer = 'engine' SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE answer ledger_posting; o record; a record; v_capture bigint; v_left bigint; v_take bigint;
        v_grants uuid[]; v_ids uuid[]; v_takes bigint[]; v_types text[];
BEGIN
    SELECT wallet_id, caller INTO o FROM ledger_hold WHERE id = p_hold;
    IF NOT FOUND THEN answer.outcome := 'unknown'; RETURN answer; END IF;
    IF o.caller <> p_caller THEN answer.outcome := 'not_your_hold'; answer.wallet_id := o.wallet_id; RETURN answer; END IF;
    answer := ledger_used(h, p_status <> 'expired');
    IF answer.outcome = 'replayed' THEN RETURN ledger_show(answer, answer.wallet_id, h.at); END IF;
    IF answer.outcome IS NOT NULL THEN RETURN answer; END IF;
    answer.wallet_id := o.wallet_id; answer.hold_id := p_hold;
    PERFORM 1 FROM ledger_wallet WHERE id = o.wallet_id FOR NO KEY UPDATE;
    SELECT * INTO o FROM ledger_hold WHERE id = p_hold;
    IF o.status <> 'open' OR o.expires_at <= h.at AND p_status <> 'expired' OR o.expires_at > h.at AND p_status = 'expired' THEN
        answer.outcome := 'not_open'; RETURN answer;
    END IF;
    v_capture := coalesce(p_capture, o.amount);
    IF v_capture > o.amount THEN answer.outcome := 'exceeds'; answer.available := o.amount; RETURN answer; END IF;

    v_left := v_capture;
    FOR a IN SELECT x.position, x.grant_id, x.pinned, g.credit_type FROM ledger_holdallocation x JOIN ledger_grant g ON g.id = x.grant_id
             WHERE x.hold_id = p_hold ORDER BY x.position LOOP
        v_grants := v_grants || a.grant_id;
        v_take := least(a.pinned, v_left);
        -- What is captured can no longer be deducted.
        UPDATE ledger_grant SET held = held - a.pinned, pending = least(pending, held - v_take) WHERE id = a.grant_id;
        CONTINUE WHEN v_take = 0;
        v_ids := v_ids || a.grant_id; v_takes := v_takes || v_take; v_types := v_types || a.credit_type::text;
        v_left := v_left - v_take;
    END LOOP;
    UPDATE ledger_holdallocation SET pinned = 0 WHERE hold_id = p_hold;
    UPDATE ledger_wallet SET held = held - o.amount, changed_at = greatest(changed_at, h.at) WHERE id = o.wallet_id;
    UPDATE ledger_hold SET captured = v_capture, released = amount - v_capture, ended_at = h.at, end_key = h.key,
           end_fingerprint = h.fingerprint, status = CASE WHEN v_capture > 0 THEN 'captured' ELSE p_status END WHERE id = p_hold;
    IF v_capture > 0 THEN
        h.hold_id := p_hold; h.feature := o.feature; h.price_ids := o.price_ids; h.quantities := o.quantities;
        h.reference_id := o.reference_id; h.description := o.description; h.project := o.project; h.metadata := o.metadata;
        h.actor_id := coalesce(o.actor_id, h.actor_id);
        answer := ledger_book(o.wallet_id, h, v_ids, v_types, v_takes);
        answer.hold_id := p_hold;
    END IF;
    PERFORM ledger_follow_up(o.wallet_id, v_grants, h.at);
    answer.outcome := 'done';
    RETURN ledger_show(answer, o.wallet_id, h.at);
END $$;

-- Release holds whose time is over, wallet by wallet in id order. Answers how many.
CREATE FUNCTION ledger_release_expired(p_at timestamptz, p_limit int) RETURNS bigint LANGUAGE plpgsql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE x record; answer ledger_posting; v_count bigint := 0;
BEGIN
    FOR x IN SELECT id FROM (SELECT id, wallet_id FROM ledger_hold WHERE status = 'open' AND expires_at <= p_at
                             ORDER BY expires_at LIMIT p_limit) AS due ORDER BY wallet_id, id
    LOOP
        answer := ledger_settle_hold(x.id, 0, NULL, 'expired', ledger_system_header('usage', p_at, ''));
        IF answer.outcome = 'done' THEN v_count := v_count + 1; END IF;
    END LOOP;
    RETURN v_count;
END $$;

-- Open a wallet for each user or team that has none. Answers the number of wallets opened.
CREATE FUNCTION ledger_open_wallets(p_users bigint[], p_teams bigint[]) RETURNS bigint LANGUAGE sql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH opened AS (
        INSERT INTO ledger_wallet (user_id, team_id, status, award, partner, purchase, held, debt, version)
        SELECT user_id, team_id, 'active', 0, 0, 0, 0, 0, 0
        FROM (SELECT unnest(p_users) AS user_id, NULL::bigint AS team_id UNION ALL SELECT NULL, unnest(p_teams)) AS owner
        ORDER BY user_id, team_id
        ON CONFLICT DO NOTHING RETURNING 1)
    SELECT count(*) FROM opened
$$;

-- Move a wallet from one status to another; false when it was not in the status expected.
CREATE FUNCTION ledger_set_status(p_wallet bigint, p_expected text, p_status text) RETURNS boolean LANGUAGE sql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH moved AS (UPDATE ledger_wallet SET status = p_status WHERE id = p_wallet AND status = p_expected RETURNING 1)
    SELECT EXISTS (SELECT 1 FROM moved)
$$;

-- Lock a wallet until the transaction ends, for who decides by what they read; false when there is none.
CREATE OR REPLACE FUNCTION ledger_lock_wallet(p_wallet bigint) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM ledger_wallet WHERE id = p_wallet FOR NO KEY UPDATE;
    RETURN FOUND;
END $$;

-- Freeze or thaw grants, while a chargeback is decided. Frozen credits are not spendable and not shown as available.
CREATE FUNCTION ledger_freeze(p_grants uuid[], p_frozen boolean, p_at timestamptz) RETURNS void LANGUAGE plpgsql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_wallets bigint[] := ARRAY(SELECT DISTINCT wallet_id FROM ledger_grant WHERE id = ANY (p_grants));
BEGIN
    PERFORM 1 FROM ledger_wallet WHERE id = ANY (v_wallets) ORDER BY id FOR NO KEY UPDATE;
    WITH RECURSIVE lot AS (          -- with what was carried over from them
        SELECT id FROM ledger_grant WHERE id = ANY (p_grants)
        UNION SELECT g.id FROM ledger_grant g JOIN lot ON g.carried_from_id = lot.id WHERE g.wallet_id = ANY (v_wallets))
    UPDATE ledger_grant SET is_frozen = p_frozen FROM lot WHERE ledger_grant.id = lot.id;
    PERFORM ledger_recount(v_wallets, p_at);
END $$;

-- Take free text out of the books of a wallet, once and for ever; everything else stays and still verifies.
CREATE FUNCTION ledger_erase_text(p_wallet bigint, p_at timestamptz) RETURNS bigint LANGUAGE plpgsql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_erased bigint;
BEGIN
    PERFORM 1 FROM ledger_wallet WHERE id = p_wallet FOR NO KEY UPDATE;
    UPDATE ledger_hold SET reference_id = '', description = '', project = '', metadata = NULL, erased_at = p_at
    WHERE wallet_id = p_wallet AND erased_at IS NULL;
    UPDATE ledger_credittransaction
    SET reference_id = '', description = '', project = '', metadata = NULL, text_salt = NULL, erased_at = p_at
    WHERE wallet_id = p_wallet AND erased_at IS NULL AND text_salt IS NOT NULL;
    GET DIAGNOSTICS v_erased = ROW_COUNT;
    RETURN v_erased;
END $$;

-- The number of the first transaction of a wallet recorded at or after an instant; one past its last if there is
-- none. recorded_at never goes back within a wallet, so a search by halves of (wallet, number) finds it: no index on
-- time is kept for every spend to write.
CREATE FUNCTION ledger_first_number(p_wallet bigint, p_at timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE v_low bigint := 1; v_high bigint; v_middle bigint; v_at timestamptz;
BEGIN
    SELECT version + 1 INTO v_high FROM ledger_wallet WHERE id = p_wallet;
    WHILE v_low < v_high LOOP
        v_middle := (v_low + v_high) / 2;
        SELECT recorded_at INTO v_at FROM ledger_credittransaction WHERE wallet_id = p_wallet AND number = v_middle;
        IF v_at < p_at THEN v_low := v_middle + 1; ELSE v_high := v_middle; END IF;
    END LOOP;
    RETURN v_low;
END $$;

-- Take what one person wrote out of a wallet that they share, once and for ever; see ledger_erase_text.
CREATE FUNCTION ledger_erase_text_of(p_wallet bigint, p_actor bigint, p_at timestamptz) RETURNS bigint LANGUAGE plpgsql
SET ledger.writer = 'engine'
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_erased bigint;
BEGIN
    PERFORM 1 FROM ledger_wallet WHERE id = p_wallet FOR NO KEY UPDATE;
    UPDATE ledger_hold SET reference_id = '', description = '', project = '', metadata = NULL, erased_at = p_at
    WHERE wallet_id = p_wallet AND actor_id = p_actor AND erased_at IS NULL;
    UPDATE ledger_credittransaction
    SET reference_id = '', description = '', project = '', metadata = NULL, text_salt = NULL, erased_at = p_at
    WHERE wallet_id = p_wallet AND actor_id = p_actor AND erased_at IS NULL AND text_salt IS NOT NULL;
    GET DIAGNOSTICS v_erased = ROW_COUNT;
    RETURN v_erased;
END $$;

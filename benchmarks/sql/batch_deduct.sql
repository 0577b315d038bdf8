-- What a batch that deducts 50 awards writes, as one statement by hand: the same rows with the same contents. It knows
-- that each wallet has one grant, and that there is enough in it.
WITH taken AS (
    UPDATE ledger_grant SET remaining = remaining - 50 WHERE is_open AND remaining - held >= 50
    RETURNING id AS grant_id, wallet_id
), wallet AS (
    UPDATE ledger_wallet SET award = award - 50, version = version + 1, changed_at = now()
    FROM taken WHERE ledger_wallet.id = taken.wallet_id
    RETURNING id, version, award + partner + purchase AS balance, grant_id
), due AS MATERIALIZED (
    SELECT id AS wallet_id, grant_id, version, balance, ledger_key('batch:1', id || ':award') AS key, ledger_uuid7() AS transaction_id,
           gen_random_uuid() AS salt
    FROM wallet
), booked AS (
    INSERT INTO ledger_credittransaction (
        id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint, caller, feature,
        occurred_at, recorded_at, reference_id, description, project, text_salt, text_digest)
    SELECT transaction_id, wallet_id, version, 'adjustment', -50, -50, 0, 0, 0, balance, key, key, 'batch:1', '', now(), now(),
           '00000000-0000-4000-8000-000000000000', 'Measured', '', salt,
           ledger_text_digest(salt, '00000000-0000-4000-8000-000000000000', 'Measured', '', NULL)
    FROM due
)
INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
SELECT transaction_id, 1, grant_id, wallet_id, 'award', -50 FROM due

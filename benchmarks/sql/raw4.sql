-- The same four rows as the engine writes (grant, wallet, transaction, entry) in one statement by hand; it looks up no
-- key, knows one way to pay and no refusal.
\set wallet random(:first, :last)
WITH lot AS (
    SELECT id, credit_type FROM ledger_grant
    WHERE wallet_id = :wallet AND is_open AND remaining - held >= 40
    ORDER BY priority, expires_at, credit_type, effective_at, id LIMIT 1
), wallet AS (
    UPDATE ledger_wallet SET award = award - 40, version = version + 1, changed_at = now()
    WHERE id = :wallet AND award >= 40
    RETURNING id, version, award + partner + purchase AS balance
), taken AS (
    UPDATE ledger_grant SET remaining = remaining - 40, consumed = consumed + 40 FROM lot WHERE ledger_grant.id = lot.id
), booked AS (
    INSERT INTO ledger_credittransaction (
        id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint, actor_id, caller,
        feature, price_ids, quantities, occurred_at, recorded_at, reference_id, description, project, text_salt, text_digest)
    SELECT ledger_uuid7(), id, version, 'usage', -40, -40, 0, 0, 0, balance, gen_random_uuid(), gen_random_uuid(), :actor::bigint, 'user:1',
           'report', ARRAY[:price::bigint], '{1}', now(), now(), '', 'A report', '', salt, ledger_text_digest(salt, '', 'A report', '', NULL)
    FROM wallet, gen_random_uuid() AS salt
    RETURNING id, wallet_id
)
INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
SELECT booked.id, 1, lot.id, booked.wallet_id, lot.credit_type, -40 FROM booked, lot

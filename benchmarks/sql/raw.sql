-- The least that a spend could be: one statement, a conditional update of the wallet and one transaction row with its
-- key, with the same contents as a spend writes.
\set wallet random(:first, :last)
WITH wallet AS (
    UPDATE ledger_wallet SET award = award - 40, version = version + 1, changed_at = now()
    WHERE id = :wallet AND award >= 40
    RETURNING id, version, award + partner + purchase AS balance
)
INSERT INTO ledger_credittransaction (
    id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint, actor_id, caller,
    feature, price_ids, quantities, occurred_at, recorded_at, reference_id, description, project, text_salt, text_digest)
SELECT ledger_uuid7(), id, version, 'usage', -40, -40, 0, 0, 0, balance, gen_random_uuid(), gen_random_uuid(), :actor::bigint, 'user:1',
       'report', ARRAY[:price::bigint], '{1}', now(), now(), '', 'A report', '', salt, ledger_text_digest(salt, '', 'A report', '', NULL)
FROM wallet, gen_random_uuid() AS salt

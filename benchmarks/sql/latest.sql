-- Wallets and grants as the history that was inserted beside them leaves them.
WITH latest AS MATERIALIZED (
    SELECT wallet_id, max(number) AS number FROM ledger_credittransaction GROUP BY wallet_id
), lot AS (
    UPDATE ledger_grant g SET remaining = amount - latest.number + 1, consumed = latest.number - 1
    FROM latest WHERE g.wallet_id = latest.wallet_id
)
UPDATE ledger_wallet w SET version = latest.number, award = {credits} - latest.number + 1, changed_at = now()
FROM latest WHERE w.id = latest.wallet_id

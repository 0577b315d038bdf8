-- What the backfill writes for users without wallets, as one statement by hand: the same rows with the same contents.
WITH due AS MATERIALIZED (
    SELECT u.id, r.allotment::bigint AS amount, ledger_key('system', 'allotment:' || u.identity) AS key,
           ledger_uuid7() AS transaction_id, ledger_uuid7() AS grant_id
    FROM accounts_user u JOIN accounts_role r ON r.id = u.role_id
    WHERE u.is_active AND r.allotment > 0
), wallet AS (
    INSERT INTO ledger_wallet (user_id, team_id, status, award, partner, purchase, held, debt, version, changed_at)
    SELECT id, NULL, 'active', amount, 0, 0, 0, 0, 1, now() FROM due ORDER BY id
    RETURNING id, user_id
), lot AS (
    INSERT INTO ledger_grant (
        id, wallet_id, credit_type, source, priority, amount, remaining, held, consumed, carried, carried_minor, clawback_target,
        clawed, pending, paid_minor, returned_minor, currency, effective_at, is_frozen)
    SELECT grant_id, wallet.id, 'award', 'allotment', 100, amount, amount, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', now(), false
    FROM due JOIN wallet ON wallet.user_id = due.id
), booked AS (
    INSERT INTO ledger_credittransaction (
        id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint, caller, feature,
        occurred_at, recorded_at, reference_id, description, project)
    SELECT transaction_id, wallet.id, 1, 'award', amount, amount, 0, 0, 0, amount, key, key, 'system', '', now(), now(), '', '', ''
    FROM due JOIN wallet ON wallet.user_id = due.id
)
INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
SELECT transaction_id, 1, grant_id, wallet.id, 'award', amount FROM due JOIN wallet ON wallet.user_id = due.id

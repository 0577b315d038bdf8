-- A stretch of history: of each wallet but the last the transactions numbered {first} to {last}, of the last wallet those
-- from {deep_first} to {deep_last}, in the order in which they would have come. Each takes one credit,
-- for a thousand tokens.
WITH taken AS MATERIALIZED (
    SELECT ledger_uuid7() AS id, gen_random_uuid() AS salt, wallet_id, number FROM (
        SELECT wallet_id, number, number + wallet_id::float8 / {wallets} AS place
        FROM generate_series({first}, {last}) AS number, generate_series(1, {wallets} - 1) AS wallet_id
        UNION ALL
        SELECT {wallets}, number, {first} + (number - {deep_first})::float8 * ({last} - {first} + 1) / ({deep_last} - {deep_first} + 1)
        FROM generate_series({deep_first}, {deep_last}) AS number
        ORDER BY place) AS x
), booked AS (
    INSERT INTO ledger_credittransaction (
        id, wallet_id, number, kind, amount, award, partner, purchase, debt, balance_after, key, fingerprint, actor_id, caller,
        feature, price_ids, quantities, occurred_at, recorded_at, reference_id, description, project, text_salt, text_digest)
    SELECT id, wallet_id, number, 'usage', -1, -1, 0, 0, 0, {credits} - number + 1, gen_random_uuid(), gen_random_uuid(), wallet_id,
           'user:' || wallet_id, 'llm.input', '{{{price}}}', '{{1000}}', '{at}', '{at}', '', 'A question', '', salt,
           ledger_text_digest(salt, '', 'A question', '', NULL)
    FROM taken
)
INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
SELECT taken.id, 1, g.id, taken.wallet_id, 'award', -1 FROM taken JOIN ledger_grant g USING (wallet_id)

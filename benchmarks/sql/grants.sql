-- A grant of {credits} credits for each wallet, by the engine.
SELECT count(*) FROM (
    SELECT array_agg(id ORDER BY id) AS wallets, array_agg(gen_random_uuid()) AS keys,
           array_fill({credits}::bigint, ARRAY[count(*)::int]) AS amounts
    FROM ledger_wallet
) AS x, LATERAL ledger_post(
    x.wallets, x.amounts, x.keys, x.keys, NULL, '{type}', 'manual', 100::smallint, '', NULL, NULL,
    ledger_system_header('{type}', now(), '')
) AS posted

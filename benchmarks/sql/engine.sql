-- The engine without Python: the call that ledger.services.posting.draw makes.
\set wallet random(:first, :last)
SELECT * FROM ledger_draw_one(
    ARRAY[:wallet::bigint], 40, NULL, NULL, 'refuse', false,
    ROW('usage', gen_random_uuid(), gen_random_uuid(), now(), NULL, :actor::bigint, 'user:1', NULL, NULL, 'report', ARRAY[:price::bigint], '{1}',
        '', 'A report', '', NULL)::ledger_header)

-- Audit events as adjustments by staff leave them.
INSERT INTO audit_auditevent (
    at, action, actor_id, actor_label, on_behalf_of_label, target_type, target_id, target_label, before, after, reason,
    request_id, address)
SELECT now(), 'ledger.wallet.adjusted', i % 20, 'finance' || i % 20 || '@example.com', '', 'ledger.wallet', i % 5000,
       'user' || i % 5000 || '@example.com', jsonb_build_object('award', i, 'purchase', 0),
       jsonb_build_object('award', i + 100, 'purchase', 0), 'asked for in ticket ' || i, md5(i::text), '192.0.2.7'
FROM generate_series(1, {count}) AS i

-- Members, as an import of old accounts would make them: nobody has a wallet.
INSERT INTO accounts_user (
    email, identity, password, name, role_id, referral_code, token_version, is_superuser, is_active, is_staff, is_partner,
    is_agent, date_joined)
SELECT 'user' || i || '@example.com', gen_random_uuid(), '!', 'User ' || i, role.id, 'R' || i, 0, false, true, false, false,
       false, now()
FROM generate_series(1, {count}) AS i, accounts_role AS role WHERE role.code = 'member'

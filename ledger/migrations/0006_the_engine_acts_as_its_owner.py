from django.db import migrations

# Whoever calls a door of the engine does with it what its owner may; who that is, `manage.py
# setup_database_roles` says. Where the functions were made from the files of today, this changes nothing.
DOORS = """
DO $$
DECLARE door regprocedure;
BEGIN
    FOR door IN SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname IN (
        'ledger_draw_one', 'ledger_draw', 'ledger_post', 'ledger_restore', 'ledger_take_back', 'ledger_place_hold',
        'ledger_settle_hold', 'ledger_claw_back', 'ledger_write_off', 'ledger_void', 'ledger_freeze', 'ledger_expire',
        'ledger_release_expired', 'ledger_open_wallets', 'ledger_set_status', 'ledger_erase_text', 'ledger_erase_text_of')
    LOOP
        EXECUTE format('ALTER FUNCTION %s {}', door);
    END LOOP;
END $$
"""

LOCK_WALLET = """
CREATE OR REPLACE FUNCTION ledger_lock_wallet(p_wallet bigint) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM ledger_wallet WHERE id = p_wallet FOR NO KEY UPDATE;
    RETURN FOUND;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0005_erase_text_of_one_person")]
    operations = [
        migrations.RunSQL(
            DOORS.format("SECURITY DEFINER SET search_path = public, pg_temp"),
            DOORS.format("SECURITY INVOKER RESET search_path"),
        ),
        migrations.RunSQL(LOCK_WALLET, "DROP FUNCTION ledger_lock_wallet(bigint)"),
    ]

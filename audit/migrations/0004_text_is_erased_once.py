from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"

REVERSE = """
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['auditseal', 'sealedrange', 'checkpoint', 'verification', 'unsealedevent'] LOOP
        EXECUTE format('DROP TRIGGER never_changed ON audit_%s', t);
    END LOOP;
END $$;
DROP TRIGGER awaits_seal ON audit_auditevent;
DROP TRIGGER audit_auditevent_never_changes ON audit_auditevent;
DROP TRIGGER audit_auditevent_is_erased_by_function ON audit_auditevent;
DROP TRIGGER audit_auditevent_is_erased_once ON audit_auditevent;
DROP FUNCTION audit_await_seal(), audit_refuse_change(), audit_refuse_change_but_erasure(),
    audit_erase_text(bigint[], text[], text[], text[], timestamptz);
CREATE TRIGGER audit_auditevent_never_changes
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_auditevent_refuse_change();
ALTER TABLE audit_auditevent ENABLE ALWAYS TRIGGER audit_auditevent_never_changes;
"""


class Migration(migrations.Migration):
    """Events wait for their seal, their text may be erased once, and seals never change."""

    dependencies = [("audit", "0003_events_are_sealed")]
    operations = [migrations.RunSQL((SQL / "record.sql").read_text(), REVERSE)]

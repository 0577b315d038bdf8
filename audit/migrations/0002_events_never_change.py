from django.db import migrations

FORWARD = """
CREATE FUNCTION audit_auditevent_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are never changed: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation', TABLE = 'audit_auditevent';
END
$$;
CREATE TRIGGER audit_auditevent_never_changes
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_auditevent_refuse_change();
-- ALWAYS: it fires also where session_replication_role would switch ordinary triggers off.
ALTER TABLE audit_auditevent ENABLE ALWAYS TRIGGER audit_auditevent_never_changes;
"""

REVERSE = """
DROP TRIGGER audit_auditevent_never_changes ON audit_auditevent;
DROP FUNCTION audit_auditevent_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_events")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]

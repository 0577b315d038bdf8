from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"
FILES = ["guards", "book", "post", "draw", "clawback", "restore", "hold", "expire", "wallets"]

REMOVE = """
DO $$
DECLARE x text;
BEGIN
    FOR x IN SELECT format('DROP TRIGGER %I ON %I', tgname, tgrelid::regclass::text) FROM pg_trigger
             WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'ledger_%' LOOP
        EXECUTE x;
    END LOOP;
    FOR x IN SELECT format('DROP FUNCTION %s', oid::regprocedure) FROM pg_proc
             WHERE proname LIKE 'ledger\\_%'
               AND proname NOT IN ('ledger_uuid7', 'ledger_key', 'ledger_text_digest') LOOP
        EXECUTE x;
    END LOOP;
    DROP TYPE ledger_posting, ledger_header;
END $$
"""


class Migration(migrations.Migration):
    """The guards of the books and the functions that alone write them."""

    dependencies = [("ledger", "0002_books")]
    operations = [
        migrations.RunSQL("\n".join((SQL / f"{name}.sql").read_text() for name in FILES), REMOVE)
    ]

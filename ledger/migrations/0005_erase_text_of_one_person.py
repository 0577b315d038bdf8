from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql" / "erase.sql"


class Migration(migrations.Migration):
    """Erasing what one person wrote in a wallet that others use as well."""

    dependencies = [("ledger", "0004_set_balances_is_a_permission_of_its_own")]
    operations = [
        migrations.RunSQL(
            SQL.read_text(), "DROP FUNCTION ledger_erase_text_of(bigint, bigint, timestamptz)"
        )
    ]

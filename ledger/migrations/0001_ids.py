from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    """The functions that name and digest things; column defaults of the books need them."""

    initial = True
    operations = [
        migrations.RunSQL(
            (SQL / "ids.sql").read_text(),
            "DROP FUNCTION ledger_uuid7(), ledger_key(text, text),"
            " ledger_text_digest(uuid, text, text, text, jsonb)",
        )
    ]

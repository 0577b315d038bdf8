from django.db import migrations

BATCH = 10_000

# Staff were vouched for by whoever made them; others confirm their address when they like.
ADD = """
    INSERT INTO account_emailaddress (user_id, email, "primary", verified)
    SELECT id, email, true, is_staff FROM accounts_user
    WHERE id BETWEEN %s AND %s
      AND NOT EXISTS (SELECT FROM account_emailaddress WHERE user_id = accounts_user.id)
"""


def add_addresses(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM accounts_user")
        (last,) = cursor.fetchone()
        for first in range(1, last + 1, BATCH):
            cursor.execute(ADD, [first, first + BATCH - 1])


class Migration(migrations.Migration):
    dependencies = [
        ("account", "0009_emailaddress_unique_primary_email"),
        ("accounts", "0007_api_keys_expire_and_rotate"),
    ]

    operations = [migrations.RunPython(add_addresses, migrations.RunPython.noop)]

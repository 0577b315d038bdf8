from django.db import migrations, models

# A person has one address, that of accounts_user, in lower case as its CHECK says; allauth's row
# of it follows every change.
KEEP_IN_STEP = """
    CREATE UNIQUE INDEX accounts_user_id_and_email ON accounts_user (id, email);
    ALTER TABLE account_emailaddress ADD CONSTRAINT account_emailaddress_is_of_user
        FOREIGN KEY (user_id, email) REFERENCES accounts_user (id, email) ON UPDATE CASCADE;
"""
LET_GO = """
    ALTER TABLE account_emailaddress DROP CONSTRAINT account_emailaddress_is_of_user;
    DROP INDEX accounts_user_id_and_email;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_addresses_of_users")]

    operations = [
        migrations.AlterModelOptions(
            name="user",
            options={
                "permissions": [
                    ("assign_role", "Can change the role of a user"),
                    ("reset_factors", "Can take lost second factors from a user"),
                    (
                        "manage_staff",
                        "Can change staff groups, agent flag, password and activity of a user",
                    ),
                ]
            },
        ),
        migrations.AlterField(
            model_name="user",
            name="token_version",
            field=models.PositiveIntegerField(
                default=0,
                editable=False,
                help_text="Raised to end every token and session so far.",
            ),
        ),
        migrations.RunSQL(KEEP_IN_STEP, LET_GO),
    ]

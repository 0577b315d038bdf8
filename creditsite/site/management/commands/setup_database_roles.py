import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from accounts.permissions import unapplied_migrations
from creditsite.running.environment import VariablesOrFiles
from creditsite.site import database_setup
from creditsite.site.database_roles import Roles

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
PASSWORDS = {
    "migrator": "DATABASE_MIGRATOR_PASSWORD",
    "app": "DATABASE_APP_PASSWORD",
    "auditor": "DATABASE_AUDITOR_PASSWORD",
}
HELP = """
Set the database up with four roles: an owner without sign-in, a migrator, the application, an
auditor. To be run by a superuser first, and after each migrate by the migrator.

Passwords are read from DATABASE_MIGRATOR_PASSWORD, DATABASE_APP_PASSWORD and
DATABASE_AUDITOR_PASSWORD, or from files named in these with _FILE; without one it stays as it is.
"""


class Command(BaseCommand):
    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        for role, name in Roles()._asdict().items():
            parser.add_argument(f"--{role}", default=name, help=f"its name, otherwise {name}")
        parser.add_argument("--dry-run", action="store_true", help="print the SQL and do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        roles = Roles(*(options[role] for role in Roles._fields))
        who = database_setup.connected()
        refuse_names(roles, who)
        with transaction.atomic():
            statements: list[str] = []
            if who.is_superuser:
                statements += database_setup.make_roles(roles, verifiers(roles))
                statements += database_setup.make_owner(roles, who.database)
            statements += database_setup.grant(roles)
            if options["dry_run"]:
                for statement in ["BEGIN", *statements, "COMMIT"]:
                    self.stdout.write(f"{masked(statement)};")
                return
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        self.stdout.write("The roles are set up.")
        if unapplied_migrations("default"):
            self.stdout.write(f"Now migrate as {roles.migrator}, and then run this again.")
        else:
            self.stdout.write("Run this again after each migrate.")


def refuse_names(roles: Roles, who: database_setup.Connected) -> None:
    """
    :raises CommandError: the roles cannot be called so, or do not exist and cannot be made.
    """
    if wrong := [name for name in roles if not NAME.fullmatch(name)]:
        raise CommandError(f"Not the name of a role (a-z, 0-9, _): {', '.join(wrong)}")
    if len({*roles}) < len(roles):
        raise CommandError("Four roles need four names.")
    if who.is_superuser and who.role in roles:
        raise CommandError(f"{who.role} is who runs this, and would lose the right to.")
    if not who.is_superuser and (missing := database_setup.missing_roles(roles)):
        raise CommandError(
            f"Missing: {', '.join(missing)}. Run this with a superuser in DATABASE_URL first."
        )


def verifiers(roles: Roles) -> dict[str, str]:
    """
    Return what PostgreSQL is to keep of each password given, which so never travels itself.

    :raises CommandError: a file that should hold one cannot be read.
    """
    connection.ensure_connection()
    encrypt = connection.connection.pgconn.encrypt_password
    found = {}
    for field, variable in PASSWORDS.items():
        try:
            password = VariablesOrFiles().get(variable)
        except OSError as error:
            raise CommandError(f"{variable}_FILE: {error}") from error
        if password:
            name = getattr(roles, field)
            verifier = encrypt(password.encode(), name.encode(), b"scram-sha-256")
            found[name] = verifier.decode()
    return found


def masked(statement: str) -> str:
    return re.sub(r"PASSWORD '.*'", "PASSWORD '…'", statement)

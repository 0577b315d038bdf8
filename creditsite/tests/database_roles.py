"""The four roles on the database of a test, and Django's connection as one of them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from unittest import mock

from django.core.management import call_command
from django.db import connection, connections, transaction

from creditsite.site.database_roles import Roles
from creditsite.site.management.commands.setup_database_roles import PASSWORDS
from creditsite.testing.databases import database_name

PASSWORD = "only for tests"


def set_up(roles: Roles, *options: str) -> str:
    """Run ``setup_database_roles`` on the current database and return what it said."""
    output = StringIO()
    with mock.patch.dict(os.environ, dict.fromkeys(PASSWORDS.values(), PASSWORD)):
        call_command("setup_database_roles", *options, **roles._asdict(), stdout=output)
    return output.getvalue()


@contextmanager
def own_roles() -> Iterator[Roles]:
    """Name roles after the current database, and leave the server without them afterwards."""
    prefix = re.sub(r"\W", "_", database_name()).lower()
    roles = Roles(*(f"{prefix}_{field}" for field in Roles._fields))
    try:
        yield roles
    finally:
        drop(roles)


def drop(roles: Roles) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE pg_parameter_acl IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [[*roles]])
        for (name,) in cursor.fetchall():
            cursor.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
            cursor.execute(f"DROP OWNED BY {name}")
            cursor.execute(f"DROP ROLE {name}")


@contextmanager
def connected_as(role: str) -> Iterator[None]:
    """Let every thread's default connection be one of ``role``, while the block runs."""
    before, settings = connections["default"], connections.settings["default"]
    original = {"USER": settings["USER"], "PASSWORD": settings["PASSWORD"]}
    settings |= {"USER": role, "PASSWORD": PASSWORD, "ADMINISTRATOR": original}
    connections["default"] = connections.create_connection("default")
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before
        settings |= original | {"ADMINISTRATOR": None}


@contextmanager
def as_application() -> Iterator[None]:
    """Set the current database up, and be its application while the block runs."""
    with own_roles() as roles:
        set_up(roles)
        connections.close_all()
        with connected_as(roles.app):
            yield

"""System checks of what the application's role in the database may do."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning

from creditsite.site.database_roles import application_privileges, our_tables
from creditsite.site.database_setup import objects, query

IS_OWNER = """
    SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
                   AND pg_has_role(relowner, 'MEMBER'))
"""
PRIVILEGES = """
    SELECT c.relname, ARRAY(
        SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE',
                                           'REFERENCES', 'TRIGGER']) AS privilege
        WHERE has_table_privilege(c.oid, privilege))
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""
CALLABLE = "SELECT oid FROM pg_proc WHERE has_function_privilege(oid, 'EXECUTE')"
MAY_CREATE = """
    SELECT has_schema_privilege('public', 'CREATE')
        OR has_database_privilege(current_database(), 'CREATE, TEMPORARY')
"""


def check_roles(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of an application that may do more to the database than it must, or less."""
    if not databases:
        return []
    if query(IS_OWNER) == [(True,)]:
        return [
            Warning(
                "The application connects as the owner of its tables, or as a superuser: nothing"
                " keeps it from rewriting the books.",
                hint="Connect as the role that setup_database_roles made for it.",
                id="creditsite.W002",
            )
        ]
    if misfits := differences():
        return [
            Warning(
                f"The application's role has not what it should have: {', '.join(misfits[:5])}"
                + (f" and {len(misfits) - 5} more." if len(misfits) > 5 else "."),
                hint="Run setup_database_roles after each migrate.",
                id="creditsite.W003",
            )
        ]
    return []


def differences() -> list[str]:
    """Return what whoever is connected may use otherwise than the application should."""
    ours = our_tables()
    found = [
        table
        for table, privileges in query(PRIVILEGES)
        if {*privileges} != (application_privileges(table) if table in ours else set())
    ]
    callable = {oid for (oid,) in query(CALLABLE)}
    found += [
        object.name
        for object in objects()
        if object.kind == "FUNCTION" and object.for_app != (object.oid in callable)
    ]
    if query(MAY_CREATE) == [(True,)]:
        found.append("making things of its own")
    return sorted(found)

"""The statements of ``manage.py setup_database_roles``, made from what the database is like."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from psycopg.sql import Identifier

from creditsite.site.database_roles import (
    APPLICATION_CALLS,
    AUDITOR_COLUMNS,
    OWNER_SETTINGS,
    Roles,
    application_privileges,
    auditor_reads,
    our_tables,
)

# Of a session that brings no limit of its own, as one of psql; a command brings 0.
STATEMENT_TIMEOUT_MS = 30_000

# What is in the schema, but for what follows a table of itself (the sequences of columns) and
# what is an extension's.
OBJECTS = """
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS kind,
           c.oid, c.oid::regclass::text AS name, c.relowner::regrole::text AS owner,
           false AS for_app, false AS for_auditor
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid
                      AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
    UNION ALL
    SELECT 'FUNCTION', p.oid, p.oid::regprocedure::text, p.proowner::regrole::text,
           p.prorettype <> 'trigger'::regtype
               AND (p.prosecdef OR p.provolatile <> 'v' OR p.proname = ANY (%(calls)s)),
           p.prorettype <> 'trigger'::regtype AND NOT p.prosecdef AND p.provolatile <> 'v'
    FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                      AND d.objid = p.oid AND d.deptype = 'e')
    ORDER BY kind, name
"""
LARGE_OBJECTS = """
    SELECT oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^(lo_|loread$|lowrite$)'
    ORDER BY 1
"""
ROLES = """
    SELECT rolname, rolcanlogin, rolinherit, rolsuper, rolcreatedb, rolcreaterole, rolreplication,
           rolbypassrls
    FROM pg_roles WHERE rolname = ANY (%(names)s)
"""
ATTRIBUTES = [
    "LOGIN", "INHERIT", "SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS",
]  # fmt: skip
MEMBERSHIPS = """
    SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text
    FROM pg_auth_members WHERE member::regrole::text = ANY (%(names)s)
"""


class Object(NamedTuple):
    """A table, function or other thing, and which roles may call it if it is a function."""

    kind: str
    oid: int
    name: str
    owner: str
    for_app: bool
    for_auditor: bool


class Connected(NamedTuple):
    """Who runs this, and where."""

    role: str
    is_superuser: bool
    database: str


def query(sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def objects() -> list[Object]:
    return [Object._make(row) for row in query(OBJECTS, {"calls": APPLICATION_CALLS})]


def connected() -> Connected:
    (row,) = query(
        "SELECT rolname, rolsuper, current_database() FROM pg_roles WHERE rolname = session_user"
    )
    return Connected._make(row)


def names(roles: Roles) -> dict[str, list[str]]:
    return {"names": [*roles]}


def missing_roles(roles: Roles) -> list[str]:
    return sorted({*roles} - {name for name, *_ in query(ROLES, names(roles))})


def make_roles(roles: Roles, verifiers: Mapping[str, str]) -> Iterator[str]:
    """
    Yield what makes the roles that are missing, and brings the others to what they should be.

    :param verifiers: what is kept of the passwords that are to be set, by role.
    """
    # What is granted on settings is shared by all databases, and two set-ups at once would collide.
    yield "LOCK TABLE pg_parameter_acl IN SHARE ROW EXCLUSIVE MODE"
    wanted = {name: {"LOGIN", "INHERIT"} for name in roles}
    wanted[roles.owner] = {"INHERIT"}
    wanted[roles.migrator] = {"LOGIN"}  # It is the owner when it says so, not by itself.
    attributes = {
        name: {word for word, has in zip(ATTRIBUTES, flags, strict=True) if has}
        for name, *flags in query(ROLES, names(roles))
    }
    for name in roles:
        if name not in attributes:
            yield f"CREATE ROLE {name}"
        has = attributes.get(name, {"INHERIT"})
        more, less = sorted(wanted[name] - has), sorted(has - wanted[name])
        if changes := [*more, *(f"NO{word}" for word in less)]:
            yield f"ALTER ROLE {name} {' '.join(changes)}"
        if name in verifiers:
            yield f"ALTER ROLE {name} PASSWORD '{verifiers[name]}'"
    for group, member, grantor in query(MEMBERSHIPS, names(roles)):
        if (group, member) != (roles.owner, roles.migrator):
            yield f"REVOKE {group} FROM {member} GRANTED BY {grantor}"
    yield f"GRANT {roles.owner} TO {roles.migrator}"


def make_owner(roles: Roles, database: str) -> Iterator[str]:
    """Yield what gives the owner the database and all in it, and sessions their defaults."""
    database = Identifier(database).as_string()
    yield f"ALTER DATABASE {database} OWNER TO {roles.owner}"
    yield f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"
    yield f"GRANT CONNECT ON DATABASE {database} TO {', '.join(roles[1:])}"
    yield f"ALTER SCHEMA public OWNER TO {roles.owner}"
    for object in objects():
        if object.owner != roles.owner:
            yield f"ALTER {object.kind} {object.name} OWNER TO {roles.owner}"
    yield f"GRANT SET ON PARAMETER {', '.join(OWNER_SETTINGS)} TO {roles.owner}"
    for (name,) in query(LARGE_OBJECTS):  # They have no owner of ours; nothing here needs them.
        yield f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC"

    yield f"ALTER ROLE {roles.migrator} IN DATABASE {database} SET role = {roles.owner}"
    for role in (roles.app, roles.auditor):
        for limit, milliseconds in settings.DATABASE_TIMEOUTS_MS.items():
            value = milliseconds or STATEMENT_TIMEOUT_MS
            yield f"ALTER ROLE {role} IN DATABASE {database} SET {limit} = {value}"
    read_only = "default_transaction_read_only = on"
    yield f"ALTER ROLE {roles.auditor} IN DATABASE {database} SET {read_only}"


def grant(roles: Roles) -> Iterator[str]:
    """Yield what takes all from application and auditor, and gives them what is theirs."""
    readers = f"{roles.app}, {roles.auditor}"
    yield f"SET LOCAL ROLE {roles.owner}"
    yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {roles.owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
    yield f"REVOKE ALL ON SCHEMA public FROM PUBLIC, {readers}"
    yield f"GRANT USAGE ON SCHEMA public TO {readers}"
    found = objects()
    for kind in ("TABLE", "SEQUENCE", "FUNCTION"):
        if listed := [object.name for object in found if object.kind == kind]:
            yield f"REVOKE ALL ON {kind} {', '.join(listed)} FROM PUBLIC, {readers}"

    ours = our_tables()
    tables = [object.name for object in found if object.kind == "TABLE" and object.name in ours]
    for privileges, listed in grouped(tables).items():
        yield f"GRANT {', '.join(sorted(privileges))} ON TABLE {', '.join(listed)} TO {roles.app}"
    if listed := [table for table in tables if auditor_reads(table, ours[table])]:
        yield f"GRANT SELECT ON TABLE {', '.join(listed)} TO {roles.auditor}"
    for table in AUDITOR_COLUMNS.keys() & set(tables):
        columns = ", ".join(AUDITOR_COLUMNS[table])
        yield f"GRANT SELECT ({columns}) ON TABLE {table} TO {roles.auditor}"
    if listed := [object.name for object in found if object.for_app]:
        yield f"GRANT EXECUTE ON FUNCTION {', '.join(listed)} TO {roles.app}"
    if listed := [object.name for object in found if object.for_auditor]:
        yield f"GRANT EXECUTE ON FUNCTION {', '.join(listed)} TO {roles.auditor}"
    yield "RESET ROLE"


def grouped(tables: Iterable[str]) -> dict[frozenset[str], list[str]]:
    groups: dict[frozenset[str], list[str]] = defaultdict(list)
    for table in tables:
        groups[application_privileges(table)].append(table)
    return groups

"""What PostgreSQL refuses to the application's role and to the auditor's, whatever they say."""

# ruff: noqa: S608 - it is the point that these statements are put together.

import re
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.db import ProgrammingError, connection, connections, transaction
from psycopg.errors import InsufficientPrivilege
from pytest_django.plugin import DjangoDbBlocker

from creditsite.running.environment import ROOT
from creditsite.site.database_roles import (
    APPLICATION_CALLS,
    APPLICATION_WRITES,
    OWNER_SETTINGS,
    Roles,
    application_privileges,
    our_tables,
)
from creditsite.testing.databases import cloned_database
from creditsite.tests.database_roles import PASSWORD, own_roles, set_up
from ledger.tests.books import award, new_wallet, spend

HEADER = "NULL::ledger_header"
AS_ENGINE = "SET ledger.writer = 'engine'; "
REFUSED = {
    # Writing the books with the mark of the engine, which anybody can set.
    "update marked": AS_ENGINE + "UPDATE ledger_wallet SET award = award + 1",
    "insert marked": AS_ENGINE + "INSERT INTO ledger_entry (amount) VALUES (1)",
    "merge": AS_ENGINE + "MERGE INTO ledger_wallet w USING (SELECT 1 AS id) x ON w.id = x.id"
    " WHEN MATCHED THEN UPDATE SET award = 9",
    "upsert": AS_ENGINE + "INSERT INTO ledger_wallet (id) VALUES (1) ON CONFLICT (id) DO UPDATE"
    " SET award = 9",
    "delete in a query": "WITH gone AS (DELETE FROM ledger_entry RETURNING 1) SELECT * FROM gone",
    "copy from": "COPY ledger_entry FROM STDIN",
    "lock rows": "SELECT 1 FROM ledger_wallet FOR UPDATE",
    "lock table": "LOCK TABLE ledger_wallet IN ACCESS EXCLUSIVE MODE",
    "in a block": "DO $$ BEGIN UPDATE ledger_grant SET remaining = 0; END $$",
    # Switching guards off.
    "disable a trigger": "ALTER TABLE ledger_entry DISABLE TRIGGER never_changed",
    "disable all": "ALTER TABLE audit_auditevent DISABLE TRIGGER ALL",
    "drop a trigger": "DROP TRIGGER engine_only ON ledger_wallet",
    "replica": "SET session_replication_role = replica",
    "replica by function": "SELECT set_config('session_replication_role', 'replica', false)",
    "replica from now on": "ALTER ROLE {app} SET session_replication_role = replica",
    "edit triggers": "UPDATE pg_trigger SET tgenabled = 'D'",
    "drop a rule": "ALTER TABLE ledger_wallet DROP CONSTRAINT ledger_wallet_pkey",
    "unlogged": "ALTER TABLE ledger_entry SET UNLOGGED",
    "row security": "ALTER TABLE ledger_wallet ENABLE ROW LEVEL SECURITY",
    "rewrite rule": "CREATE RULE r AS ON INSERT TO audit_auditevent DO INSTEAD NOTHING",
    "own trigger": "CREATE TRIGGER t BEFORE INSERT ON audit_auditevent FOR EACH ROW"
    " EXECUTE FUNCTION ledger_refuse()",
    "drop a table": "DROP TABLE ledger_entry CASCADE",
    # Replacing or calling what the doors are made of.
    "replace a function": "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger"
    " LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    "drop a function": "DROP FUNCTION ledger_refuse() CASCADE",
    "alter a function": "ALTER FUNCTION ledger_lock_wallet(bigint) SET search_path = pg_temp",
    "edit functions": "UPDATE pg_proc SET prosrc = ''",
    "book": f"SELECT ledger_book(1, {HEADER}, NULL, NULL, NULL)",
    "draw many": "SELECT ledger_draw_many(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
    f" NULL, NULL, NULL, NULL, NULL, NULL, {HEADER})",
    "put back": "SELECT ledger_put_back(NULL, NULL, 1, 1, now(), NULL)",
    "shrink debt": "SELECT ledger_shrink_debt(NULL, NULL, 1, 1)",
    "recount": "SELECT ledger_recount(ARRAY[1], now())",
    # Becoming somebody else.
    "set role": "SET ROLE {owner}",
    "set authorization": "SET SESSION AUTHORIZATION {owner}",
    "grant oneself": "GRANT {owner} TO {app}",
    "be a superuser": "ALTER ROLE {app} SUPERUSER",
    "another's password": "ALTER ROLE {migrator} PASSWORD 'x'",
    "make a role": "CREATE ROLE intruder",
    "default privileges": "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO {app}",
    "take a table": "ALTER TABLE ledger_wallet OWNER TO {app}",
    "passwords of the server": "SELECT rolpassword FROM pg_authid",
    # Making things of one's own, in whose place a door could be led.
    "schema": "CREATE SCHEMA s",
    "table": "CREATE TABLE t (id int)",
    "temporary table": "CREATE TEMPORARY TABLE ledger_wallet (id bigint)",
    "view": "CREATE VIEW v AS SELECT 1",
    "type": "CREATE TYPE t AS ENUM ('a')",
    "function": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "link to a server": "CREATE FOREIGN DATA WRAPPER dblink",
    "event trigger": "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION ledger_refuse()",
    "publication": "CREATE PUBLICATION p FOR ALL TABLES",
    "large object": "SELECT lo_create(0)",
    "large object from bytes": "SELECT lo_from_bytea(0, 'x')",
    "sequence": "SELECT setval(pg_get_serial_sequence('audit_auditevent', 'id'), 1)",
    # The server and its files.
    "settings of the database": "ALTER DATABASE {database} SET synchronous_commit = off",
    "read a file": "SELECT pg_read_file('/etc/passwd')",
    "import a file": "SELECT lo_import('/etc/passwd')",
    "copy to a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "drop the database": "ALTER DATABASE {database} RENAME TO gone",
    # The record of migrations.
    "unmigrate": "DELETE FROM django_migrations",
}


class Sessions:
    """A connection of each role to one database, and who the roles are."""

    def __init__(self, roles: Roles, database: str) -> None:
        server = connections.settings["default"]
        self.words = {**roles._asdict(), "database": database}
        self.app, self.auditor = (
            psycopg.connect(
                host=server["HOST"],
                port=server["PORT"],
                dbname=database,
                user=role,
                password=PASSWORD,
            )
            for role in (roles.app, roles.auditor)
        )

    def refuse(self, session: psycopg.Connection, statement: str) -> None:
        with session.transaction(force_rollback=True), pytest.raises(InsufficientPrivilege):
            session.execute(statement.format(**self.words))


def execute(sql: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def sessions(pristine_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Sessions]:
    """The roles on one clone for all tests here, which leave nothing behind in it."""
    with (
        django_db_blocker.unblock(),
        cloned_database(pristine_database) as name,
        own_roles() as roles,
    ):
        set_up(roles)
        wallet = new_wallet()
        award(wallet, 100)
        spend(wallet, 40)
        found = Sessions(roles, name)
        yield found
        found.app.close()
        found.auditor.close()


class TestTheApplication:
    @pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED)
    def test_is_refused(self, sessions: Sessions, statement: str) -> None:
        sessions.refuse(sessions.app, statement)

    @pytest.mark.parametrize("table", APPLICATION_WRITES)
    def test_is_refused_every_change_of(self, sessions: Sessions, table: str) -> None:
        statements = {
            "INSERT": f"INSERT INTO {table} DEFAULT VALUES",
            "UPDATE": f"UPDATE {table} SET {self.column(table)} = NULL",
            "DELETE": f"DELETE FROM {table}",
            "TRUNCATE": f"TRUNCATE {table} CASCADE",
        }
        refused = statements.keys() - application_privileges(table)
        assert refused
        for name in refused:
            sessions.refuse(sessions.app, statements[name])

    def column(self, table: str) -> str:
        with connection.cursor() as cursor:
            return connection.introspection.get_table_description(cursor, table)[-1].name

    def test_is_bound_by_time_limits_that_it_does_not_bring(self, sessions: Sessions) -> None:
        with sessions.app.transaction(force_rollback=True):
            limits = [
                sessions.app.execute(f"SHOW {name}").fetchone()
                for name in settings.DATABASE_TIMEOUTS_MS
            ]
        assert limits == [("30s",), ("10s",), ("1min",)]

    def test_does_not_configure_the_server(self, sessions: Sessions) -> None:
        sessions.app.autocommit = True
        try:
            with pytest.raises(InsufficientPrivilege):
                sessions.app.execute("ALTER SYSTEM SET fsync = off")
        finally:
            sessions.app.autocommit = False

    def test_gives_nothing_away(self, sessions: Sessions) -> None:
        with sessions.app.transaction(force_rollback=True):
            sessions.app.execute("GRANT ALL ON ledger_wallet TO PUBLIC")  # a warning, no more
            with pytest.raises(InsufficientPrivilege):
                sessions.app.execute("DELETE FROM ledger_wallet")

    def test_has_nothing_of_what_is_made_later(self, sessions: Sessions) -> None:
        execute(f"SET LOCAL ROLE {sessions.words['owner']}")
        execute("CREATE TABLE later (id int)")
        execute("CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        execute(f"SET LOCAL ROLE {sessions.words['app']}")
        for statement in ("SELECT * FROM later", "INSERT INTO later VALUES (1)", "SELECT later()"):
            with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
                execute(statement)

    def test_cannot_lead_a_door_to_a_table_of_its_own(self, sessions: Sessions) -> None:
        """Even where somebody lets it make temporary tables, and it puts them first."""
        words = sessions.words
        execute(f"GRANT TEMPORARY ON DATABASE {words['database']} TO {words['app']}")
        execute(f"SET LOCAL ROLE {words['app']}")
        execute("CREATE TEMPORARY TABLE ledger_wallet AS TABLE public.ledger_wallet")
        execute("SET LOCAL search_path = pg_temp, public")
        moved = "SELECT public.ledger_set_status(id, 'active', 'paused') FROM pg_temp.ledger_wallet"
        assert execute(moved) == [(True,)]
        assert execute("SELECT status FROM public.ledger_wallet") == [("paused",)]
        assert execute("SELECT status FROM pg_temp.ledger_wallet") == [("active",)]
        execute("SET LOCAL search_path = public")


class TestTheAuditor:
    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT password FROM accounts_user",
            "SELECT * FROM accounts_user",
            "SELECT * FROM accounts_apikey",
            "SELECT * FROM accounts_email",
            "SELECT * FROM django_session",
            "SELECT * FROM mfa_authenticator",
            "SELECT * FROM token_blacklist_outstandingtoken",
            "SELECT ledger_set_status(1, 'active', 'paused')",
            "SELECT ledger_uuid7()",
        ],
    )
    def test_is_refused(self, sessions: Sessions, statement: str) -> None:
        sessions.refuse(sessions.auditor, statement)

    def test_writes_nothing_even_in_a_transaction_that_may_write(self, sessions: Sessions) -> None:
        for table in our_tables():
            sessions.refuse(
                sessions.auditor, f"SET TRANSACTION READ WRITE; INSERT INTO {table} DEFAULT VALUES"
            )

    @pytest.mark.parametrize(
        "query",
        [
            "SELECT amount FROM ledger_entry",
            "SELECT action, reason FROM audit_auditevent",
            "SELECT id, email, is_staff FROM accounts_user",
            "SELECT * FROM ledger_wallet, ledger_visible(id, now())",
        ],
    )
    def test_reads(self, sessions: Sessions, query: str) -> None:
        with sessions.auditor.transaction(force_rollback=True):
            sessions.auditor.execute(query)


class TestTheDoors:
    def test_look_for_tables_where_they_are_and_nowhere_else(self, sessions: Sessions) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT proname, proconfig FROM pg_proc"
                " WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            )
            paths = {name: {"search_path=public, pg_temp"} & {*config} for name, config in cursor}
        assert paths
        assert {name for name, path in paths.items() if not path} == set()

    def test_are_what_the_services_call(self, sessions: Sessions) -> None:
        """And no other function that writes may be called."""
        called = {
            name
            for app in ("audit", "ledger")
            for path in [*(ROOT / app).glob("*.py"), *(ROOT / app / "services").glob("*.py")]
            for name in re.findall(rf"\b({app}_[a-z_]+)\(", path.read_text())
        }
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
                " AND provolatile = 'v' AND has_function_privilege(%s, oid, 'EXECUTE')",
                [sessions.words["app"]],
            )
            open = {name for (name,) in cursor}
        assert "ledger_draw_one" in open
        assert open - {*APPLICATION_CALLS} - called == set()

    def test_carry_settings_that_the_owner_may_write(self, sessions: Sessions) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT split_part(s, '=', 1) FROM pg_proc, unnest(proconfig) AS s"
                " WHERE pronamespace = 'public'::regnamespace AND s ~ '^[a-z_]+[.]'"
            )
            assert {name for (name,) in cursor} == {*OWNER_SETTINGS}


class TestTheGuards:
    def test_fire_always(self, sessions: Sessions) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tgrelid::regclass || ' ' || tgname, tgenabled FROM pg_trigger"
                " JOIN pg_class c ON c.oid = tgrelid"
                " WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace"
            )
            found = dict(cursor.fetchall())
        assert found
        assert {name for name, enabled in found.items() if enabled != "A"} == set()

    def test_of_a_table_are_matched_by_what_the_application_may_not(
        self, sessions: Sessions
    ) -> None:
        """Whoever guards a table of theirs says in ``APPLICATION_WRITES`` what that leaves."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger"
                " JOIN pg_class c ON c.oid = tgrelid"
                " WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace"
                "   AND tgtype & 32 > 0"  # It refuses TRUNCATE.
            )
            guarded = {table for (table,) in cursor.fetchall()}
        assert guarded
        assert guarded - APPLICATION_WRITES.keys() == set()

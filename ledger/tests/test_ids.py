"""Ids and digests made in the database, and that what is installed is what the files say."""

import re
from pathlib import Path

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keys

SQL = Path(__file__).resolve().parent.parent / "sql"
pytestmark = pytest.mark.django_db


def ask(sql: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


class TestUuid7:
    def test_is_of_version_7_and_of_the_rfcs_variant(self) -> None:
        ids = [row[0] for row in ask("SELECT ledger_uuid7() FROM generate_series(1, 200)")]
        assert {(id.version, id.variant) for id in ids} == {(7, "specified in RFC 4122")}
        assert len(set(ids)) == 200

    def test_of_one_connection_is_in_order(self) -> None:
        ids = [row[0] for row in ask("SELECT ledger_uuid7() FROM generate_series(1, 2000)")]
        moments = [id.int >> 64 for id in ids]
        assert moments == sorted(moments)

    def test_carries_the_milliseconds_of_now(self) -> None:
        ((id, before, after),) = ask(
            """SELECT x.id, extract(epoch FROM statement_timestamp()) * 1000,
                      extract(epoch FROM clock_timestamp()) * 1000
               FROM (SELECT ledger_uuid7() AS id OFFSET 0) AS x"""
        )
        assert int(before) <= id.int >> 80 <= after


class TestKey:
    @given(caller=st.sampled_from(["user:1", "key:7", "system"]), key=st.text(max_size=200))
    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    def test_is_what_python_computes(self, caller: str, key: str) -> None:
        key = key.replace("\x00", "").encode("utf-8", "ignore").decode()
        assert ask("SELECT ledger_key(%s, %s)", caller, key) == [(keys.digest(caller, key),)]


class TestTheInstalledFunctions:
    """Each file is run once more beside the migrated functions, and compared with them."""

    def test_are_those_of_the_files(self) -> None:
        texts = [path.read_text() for path in sorted(SQL.glob("*.sql"))]
        written = {name for text in texts for name in NAMES.findall(text)}
        installed = functions("public")
        assert {name.split("(")[0] for name in installed} == written
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("CREATE SCHEMA afresh")
                cursor.execute("SET LOCAL check_function_bodies = off")
                cursor.execute("SET LOCAL search_path = afresh, public")
                for text in texts:
                    for statement in STATEMENTS.findall(text):
                        cursor.execute(statement)
            assert functions("afresh") == installed
            transaction.set_rollback(True)


NAMES = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION (\w+)", re.MULTILINE)
STATEMENTS = re.compile(
    r"^CREATE (?:OR REPLACE )?FUNCTION .*?\$\$.*?\$\$;", re.MULTILINE | re.DOTALL
)


def functions(schema: str) -> dict[str, tuple]:
    rows = ask(
        """SELECT proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
                  prosrc, proconfig, provolatile, proisstrict, prosecdef,
                  pg_get_function_result(p.oid)
           FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
           WHERE nspname = %s AND proname LIKE 'ledger\\_%%'""",
        schema,
    )
    return {row[0]: row[1:] for row in rows}

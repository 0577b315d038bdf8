"""Fixtures of every test; creditsite/testing/plugin.py finds keys and database before."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from psycopg.pq import TransactionStatus
from pytest_django.plugin import DjangoDbBlocker

from creditsite.testing.databases import cloned_database, template_of_test_database
from creditsite.tests.database_roles import as_application

DATABASE_FIXTURES = {"db", "transactional_db", "ledger_db"}
CLONES = {"ledger_db", "pristine_database"}


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, request: pytest.FixtureRequest
) -> Iterator[str | None]:
    """
    Make the test database, and a pristine copy of it if any test will want its own clone.

    With ``TEST_AS_APPLICATION=1`` all tests connect as the application's role does in production.
    """
    wanted = any(CLONES & {*getattr(item, "fixturenames", ())} for item in request.session.items)
    with ExitStack() as stack:
        if wanted or os.environ.get("TEST_AS_APPLICATION"):
            stack.enter_context(django_db_blocker.unblock())
        if os.environ.get("TEST_AS_APPLICATION"):
            stack.enter_context(as_application())
        yield stack.enter_context(template_of_test_database()) if wanted else None


@pytest.fixture(scope="session")
def pristine_database(django_db_setup: str) -> str:
    """Name the database that clones are made of, for who has one for more than one test."""
    return django_db_setup


@pytest.fixture
def ledger_db(django_db_setup: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """
    Give the test a database of its own, a clone of the migrated one, where commits are real.

    Threads and processes of the test see what it commits. It is dropped afterwards.
    """
    with django_db_blocker.unblock(), cloned_database(django_db_setup) as name:
        yield name


@pytest.fixture(autouse=True)
def books_stay_true(request: pytest.FixtureRequest) -> Iterator[None]:
    """Assert after each test with a database that everything the design says of the books holds."""
    if not touches_database(request):
        yield
        return
    request.getfixturevalue("ledger_db" if "ledger_db" in request.fixturenames else "db")
    yield
    if "breaks_the_books" in request.keywords or is_aborted() or are_books_empty():
        return
    from ledger.invariants import violations

    assert list(violations()) == []


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    yield
    # That of the process only: in Redis, clear() is FLUSHDB, whoever else keeps what there.
    if isinstance(cache := caches["default"], LocMemCache):
        cache.clear()


@pytest.fixture(autouse=True)
def no_prices_of_another_test() -> None:
    from ledger.services.charges import price_list

    price_list.forget()


@pytest.fixture(autouse=True)
def no_spending_of_another_test() -> None:
    from ledger.services.daily_caps import counts

    counts.forget()


def touches_database(request: pytest.FixtureRequest) -> bool:
    return "django_db" in request.keywords or bool(DATABASE_FIXTURES & set(request.fixturenames))


def is_aborted() -> bool:
    """Say whether the test left its transaction failed: nothing of it could be committed."""
    raw = connection.connection
    return raw is not None and raw.info.transaction_status == TransactionStatus.INERROR


def are_books_empty() -> bool:
    """Say whether nothing was ever written into the books, as most tests leave them."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT NOT EXISTS (
                SELECT FROM ledger_wallet
                WHERE (version, award, partner, purchase, held, debt) <> (0, 0, 0, 0, 0, 0)
            )
            AND NOT EXISTS (SELECT FROM ledger_credittransaction)
            AND NOT EXISTS (SELECT FROM ledger_grant)
            AND NOT EXISTS (SELECT FROM ledger_hold)
            AND NOT EXISTS (SELECT FROM ledger_debt)
        """)
        (is_empty,) = cursor.fetchone()
    return bool(is_empty)

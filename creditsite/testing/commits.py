"""What PostgreSQL checks only when a transaction commits."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection, transaction


@contextmanager
def assert_rejected_at_commit(match: str) -> Iterator[None]:
    """
    Assert that the block passes, and that its commit would fail with a message like ``match``.

    The deferred triggers and constraints are brought forward; what the block did is rolled back.
    """
    with transaction.atomic():
        yield
        with pytest.raises(DatabaseError, match=match), transaction.atomic():
            check_deferred()
        transaction.set_rollback(True)


def check_deferred() -> None:
    """Check now what would be checked at commit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

"""Spends as the product makes them, and as they would be made by the ORM."""

import time
from collections.abc import Callable
from decimal import Decimal
from secrets import randbelow
from uuid import uuid4

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from benchmarks.inside.orm import spend_by_orm
from ledger.queries.wallets import Payers
from ledger.services.charges import charge_for
from ledger.services.posting import Posting
from ledger.services.spending import spend_credits


def spend(wallet_id: int, key: str) -> Posting:
    """Spend a report as a door does; ``Payers`` is what it finds out about its caller."""
    at = timezone.now()
    return spend_credits(
        payers=Payers(f"user:{wallet_id}", [wallet_id]),
        charge=charge_for({"report": Decimal(1)}, at=at),
        caller=f"user:{wallet_id}",
        at=at,
        actor_id=wallet_id,
        idempotency_key=key,
        description="A report",
    )


def by_service(*, first: int, last: int, seconds: float) -> dict[str, float]:
    """Spend from random wallets between ``first`` and ``last`` through the service."""

    def act(wallet_id: int) -> None:
        if not spend(wallet_id, str(uuid4())).is_new:
            raise RuntimeError("A fresh spend was answered as a repeat.")

    return repeated(act, first=first, last=last, seconds=seconds)


def by_orm(*, first: int, last: int, seconds: float) -> dict[str, float]:
    """The same by the ORM. It writes the books itself, so the connection says it is the engine."""
    with connection.cursor() as cursor:
        cursor.execute("SET ledger.writer = 'engine'")
    try:
        return repeated(spend_by_orm, first=first, last=last, seconds=seconds)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ledger.writer")


def repeated(
    act: Callable[[int], None], *, first: int, last: int, seconds: float
) -> dict[str, float]:
    """Do it again and again; return how often, and how long it took by the clock and by the CPU."""
    act(first)
    count, wallets = 0, last - first + 1
    cpu, started = time.process_time(), time.perf_counter()
    while time.perf_counter() - started < seconds:
        act(first + randbelow(wallets))
        count += 1
    return {
        "count": count + 1,
        "rate": count / (time.perf_counter() - started),
        "cpu_us": (time.process_time() - cpu) / count * 1e6,
    }


def statements(*, wallet: int) -> dict[str, int]:
    """Return how many statements a fresh spend and its repeat make."""
    spend(wallet, "reads the price list")
    return {name: counted(wallet, "the same key") for name in ("fresh", "replay")}


def counted(wallet: int, key: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        spend(wallet, key)
    return len(captured)

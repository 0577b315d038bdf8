"""Reads that must not become slower as the books grow."""

import time
from collections.abc import Callable
from secrets import randbelow

from django.utils import timezone

from ledger.queries.balances import balance_of
from ledger.queries.statements import shown, transactions_of


def balance(*, wallets: int, seconds: float) -> float:
    """Return microseconds for the balance of a random wallet of the first ``wallets``."""
    return microseconds(lambda: balance_of(1 + randbelow(wallets), timezone.now()), seconds)


def page(*, wallet: int, below: int, count: int, seconds: float) -> float:
    """
    Return microseconds for a page of ``count`` transactions as the API asks for it: those of a
    wallet before number ``below``, newest first.
    """
    rows = shown(transactions_of(wallet)).filter(number__lt=below).order_by("-number")[:count]

    def read() -> None:
        if len(rows.all()) != count:
            raise RuntimeError("The page is not full.")

    return microseconds(read, seconds)


def microseconds(read: Callable[[], object], seconds: float) -> float:
    read()
    times, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        read()
        times += 1
    return (time.perf_counter() - started) / times * 1e6

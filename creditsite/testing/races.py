"""Many callers at one instant."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connections


def race(*callables: Callable[[], Any], timeout: float = 60) -> list[str]:
    """
    Run every callable in a thread of its own, all at once, and return what came of each, in order.

    An outcome is the name of the result's class, or of the exception's. Use it with ``ledger_db``:
    each thread has a connection of its own, which sees only what is committed.

    :raises TimeoutError: one of them takes longer than ``timeout`` seconds.
    """
    start = Barrier(len(callables), timeout=timeout)

    def run(call: Callable[[], Any]) -> Any:
        try:
            start.wait()
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=len(callables)) as threads:
        futures = [threads.submit(run, call) for call in callables]
        failures = [future.exception(timeout=timeout) for future in futures]
        return [
            type(failure if failure is not None else future.result()).__name__
            for failure, future in zip(failures, futures, strict=True)
        ]

"""
The backfill of users without credits, beside one SQL statement that writes the same rows.

Each starts on a copy of its own of one database: users without wallets, and nothing in the books.
"""

import time
from typing import Any

from benchmarks import seed
from benchmarks.figures import Figure, table
from benchmarks.server import Server
from benchmarks.worker import worker

CROWD, DATABASE = "bench_crowd", "bench_backfill"
# What Python may need more at its peak than before it began, however many users there are.
FLAT_MIB = 16


def measure(server: Server, *, users: int) -> tuple[str, list[Figure]]:
    """Backfill a tenth of ``users``, then all of them; return a table and the figures."""
    fewer = users // 10
    make_crowd(server, fewer)
    few = backfill(server, granted=fewer)
    make_crowd(server, users)
    by_hand = run_statement(server)
    many = backfill(server, granted=users)
    again = backfill(server, granted=0, is_new=False)
    server.drop(DATABASE)
    server.drop(CROWD)

    rows = [
        ["one statement by hand", f"{users:,}", f"{by_hand:.1f}", f"{users / by_hand:,.0f}", ""]
    ]
    for name, run, count in (
        ("backfill", many, users),
        ("the same once more", again, 0),
        ("backfill of a tenth", few, fewer),
    ):
        memory = f"{run['before_mib']:.1f} → {run['peak_mib']:.1f}"
        seconds = run["seconds"]
        rows.append([name, f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", memory])
    headings = ["", "users granted", "seconds", "users/s", "Python's memory, MiB"]
    figures = [
        Figure(f"backfill of {users:,} users ÷ statement", many["seconds"] / by_hand, at_most=1.5),
        Figure("backfill once more ÷ first", again["seconds"] / many["seconds"]),
        Figure(
            "growth of Python's memory, MiB",
            growth(many),
            at_most=FLAT_MIB,
            digits=1,
            note=f"{growth(few):.1f} with a tenth of the users",
        ),
    ]
    return table(headings, rows), figures


def make_crowd(server: Server, users: int) -> None:
    seed.make_empty(server, CROWD)
    seed.add_users(server, CROWD, users)
    server.settle(CROWD)


def run_statement(server: Server) -> float:
    """Return the seconds that the statement by hand takes."""
    server.create(DATABASE, template=CROWD)
    server.run(DATABASE, "CHECKPOINT")
    started = time.perf_counter()
    server.run(DATABASE, (seed.SQL / "backfill.sql").read_text())
    return time.perf_counter() - started


def backfill(server: Server, *, granted: int, is_new: bool = True) -> dict[str, Any]:
    """
    Run the backfill in a process of its own; return what it says of itself.

    :raises RuntimeError: it did not grant as many as it should.
    """
    if is_new:
        server.create(DATABASE, template=CROWD)
    server.run(DATABASE, "CHECKPOINT")
    with worker(server.url(DATABASE)) as product:
        run: dict[str, Any] = product.call("backfill.run")
    if run["granted"] != granted:
        raise RuntimeError(f"{run['granted']} of {granted} users were granted.")
    return run


def growth(run: dict[str, Any]) -> float:
    return float(run["peak_mib"] - run["before_mib"])

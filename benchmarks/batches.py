"""
Batches over all wallets, beside one SQL statement that writes the same rows, and beside spends.

Each starts on a copy of its own of one database: wallets with a grant of awards each.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import seed
from benchmarks.figures import Figure, table
from benchmarks.server import Server
from benchmarks.worker import worker

TEMPLATE, DATABASE = "bench_rich", "bench_batch"
# More than is spent, and less than the largest balance.
CREDITS = 500_000
FLAT_MIB = 16
SPENDERS = 4
LONGEST_WAIT_MS = 50
# In which spends are measured alone, before a batch begins beside them.
QUIET_SECONDS = 10
KINDS = {"add": ("award", 1.5), "deduct": ("deduction", 1.8)}
# As if every nudge came again, and nobody had kept what is done.
FORGET = [
    "UPDATE accounts_jobchunk SET done_at = NULL, result = NULL",
    "UPDATE accounts_job SET status = 'pending', finished_at = NULL",
]


def measure(server: Server, *, wallets: int) -> tuple[str, list[Figure]]:
    """Run batches over a tenth of ``wallets``, then over all; return a table and the figures."""
    rows, figures = [], []
    few = wallets // 10
    make_wallets(server, few)
    before = run_batch(server, "add", moved=few)
    make_wallets(server, wallets)
    for kind, (name, at_most) in KINDS.items():
        by_hand = run_statement(server, kind)
        rows.append([f"{name}, one statement by hand", *speed(wallets, by_hand), "", ""])
        many = run_batch(server, kind, moved=wallets)
        again = run_again(server, many["batch"], wallets)
        rows.append(row(f"{name}, batch", wallets, many))
        rows.append(row(f"{name}, the same once more", 0, again))
        figures += [
            Figure(
                f"{name} of {wallets:,} wallets ÷ statement",
                many["seconds"] / by_hand,
                at_most=at_most,
                note=f"planned in {many['plan_seconds']:.1f} s",
            ),
            Figure(f"{name} once more ÷ first", again["seconds"] / many["seconds"], at_most=0.4),
            Figure(
                f"{name}: growth of Python's memory, MiB",
                growth(many),
                at_most=FLAT_MIB,
                digits=1,
                note=f"{growth(before):.1f} with a tenth of the wallets" if kind == "add" else "",
            ),
        ]
    rows.insert(2, row("award, batch of a tenth", few, before))
    for kind, (name, _) in KINDS.items():
        quiet, busy, spends = run_beside_spends(server, kind, wallets)
        rows.append(
            [
                f"{name}, batch beside {SPENDERS} spenders",
                f"{wallets:,}",
                f"{spends['seconds']:.1f}",
                f"{wallets / spends['seconds']:,.0f}",
                "",
                f"{spends['count']:,} spends, p50 {spends['p50']:.1f},"
                f" p99.9 {spends['p999']:.1f} ms",
            ]
        )
        figures.append(
            Figure(
                f"longest wait of a spend beside a batch of {name}s, ms",
                busy,
                at_most=LONGEST_WAIT_MS,
                digits=1,
                note=f"{quiet:.1f} without it",
            )
        )
    server.drop(DATABASE)
    server.drop(TEMPLATE)
    headings = ["", "wallets", "seconds", "wallets/s", "Python's memory, MiB", ""]
    return table(headings, rows), figures


def make_wallets(server: Server, wallets: int) -> None:
    seed.make_empty(server, TEMPLATE)
    seed.add_wallets(server, TEMPLATE, wallets, types=("award",), credits=CREDITS)
    server.settle(TEMPLATE)


def run_statement(server: Server, kind: str) -> float:
    """Return the seconds that the statement by hand takes."""
    server.create(DATABASE, template=TEMPLATE)
    server.run(DATABASE, "CHECKPOINT")
    started = time.perf_counter()
    server.run(DATABASE, (seed.SQL / f"batch_{kind}.sql").read_text())
    return time.perf_counter() - started


def plan_batch(server: Server, kind: str) -> dict[str, Any]:
    """Start a batch on a fresh copy; return what planning it took."""
    server.create(DATABASE, template=TEMPLATE)
    with worker(server.url(DATABASE)) as product:
        planned: dict[str, Any] = product.call("batches.plan", kind=kind)
    server.run(DATABASE, "CHECKPOINT")
    return planned


def run_batch(server: Server, kind: str, *, moved: int) -> dict[str, Any]:
    """
    Run a batch in a process of its own; return what it says of itself.

    :raises RuntimeError: it did not move as many as it should.
    """
    planned = plan_batch(server, kind)
    with worker(server.url(DATABASE)) as product:
        run: dict[str, Any] = product.call("batches.run", batch=planned["batch"])
    if run["moved"] != moved:
        raise RuntimeError(f"{run['moved']} of {moved} wallets were moved.")
    return planned | run


def run_again(server: Server, batch: int, wallets: int) -> dict[str, Any]:
    """
    Work all chunks of a batch that is done once more.

    :raises RuntimeError: it changed something.
    """
    before = server.row(DATABASE, TOTALS)
    server.run(DATABASE, *FORGET, "CHECKPOINT")
    with worker(server.url(DATABASE)) as product:
        run: dict[str, Any] = product.call("batches.run", batch=batch)
    if server.row(DATABASE, TOTALS) != before or run["repeated"] != wallets:
        raise RuntimeError("Working a batch once more has changed something.")
    return run


TOTALS = """
    SELECT (SELECT sum(award) FROM ledger_wallet), (SELECT sum(version) FROM ledger_wallet),
           (SELECT count(*) FROM ledger_credittransaction), (SELECT count(*) FROM ledger_entry)
"""


# --- Beside spends --------------------------------------------------------------------------------
def run_beside_spends(
    server: Server, kind: str, wallets: int
) -> tuple[float, float, dict[str, float]]:
    """Return the longest wait of a spend without and with a batch beside it, and the latter's."""
    planned = plan_batch(server, kind)
    price = seed.price_of(server, DATABASE, "report")
    with tempfile.TemporaryDirectory() as directory:
        logs = Path(directory)
        with worker(server.url(DATABASE)) as product, spending(server, wallets, price, logs):
            time.sleep(QUIET_SECONDS)
            run = product.call("batches.run", batch=planned["batch"])
        waits = list(waits_of(logs))
    busy = sorted(ms for ended, ms in waits if run["began"] <= ended - ms / 1000 <= run["ended"])
    quiet = [ms for ended, ms in waits if ended < run["began"]]
    return (
        max(quiet),
        busy[-1],
        {
            "seconds": run["seconds"],
            "count": len(busy),
            "p50": busy[len(busy) // 2],
            "p999": busy[len(busy) * 999 // 1000],
        },
    )


@contextmanager
def spending(server: Server, wallets: int, price: int, logs: Path) -> Iterator[None]:
    """Have spenders at random wallets while the block runs; each spend's wait is logged."""
    address = urlsplit(server.address)
    options = {
        "-M": "prepared",
        "-f": seed.SQL / "engine.sql",
        "-T": 3600,
        "-c": SPENDERS,
        "-j": 2,
        "-h": address.hostname,
        "-p": address.port or 5432,
        "--log-prefix": logs / "spends",
    }
    words = [str(word) for option in options.items() for word in option]
    given = {"first": 1, "last": wallets, "price": price, "actor": 1}
    words += [f"-D{name}={value}" for name, value in given.items()]
    login = {"PGUSER": address.username or "", "PGPASSWORD": address.password or ""}
    process = subprocess.Popen(
        [str(server.bin / "pgbench"), "--no-vacuum", "--log", *words, DATABASE],
        env=os.environ | login | {"PGOPTIONS": "-c ledger.writer=engine"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        # It writes its log when its connections end, not when it is killed.
        server.run("postgres", END_SPENDING)
        process.wait()


END_SPENDING = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'
"""


def waits_of(logs: Path) -> Iterator[tuple[float, float]]:
    """Yield of each spend when it ended, in seconds of the clock, and its milliseconds."""
    for log in logs.glob("spends*"):
        for line in log.read_text().splitlines():
            _, _, microseconds, _, second, fraction, *_ = line.split()
            yield int(second) + int(fraction) / 1e6, int(microseconds) / 1000


# --- Showing it -----------------------------------------------------------------------------------
def speed(wallets: int, seconds: float) -> list[str]:
    return [f"{wallets:,}", f"{seconds:.1f}", f"{wallets / seconds:,.0f}"]


def row(name: str, wallets: int, run: dict[str, Any]) -> list[str]:
    memory = f"{run['before_mib']:.1f} → {run['peak_mib']:.1f}"
    return [name, *speed(wallets, run["seconds"]), memory, ""]


def growth(run: dict[str, Any]) -> float:
    return float(run["peak_mib"] - run["before_mib"])

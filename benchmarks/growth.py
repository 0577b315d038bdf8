"""
Whether the books become slower as they grow: the same wallets with little and with much history.

Both databases are measured in the same rounds, the small one on a fresh copy each time: what is
measured adds to it.
"""

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from benchmarks import seed
from benchmarks.figures import Figure, table
from benchmarks.server import Server
from benchmarks.worker import Worker, worker

TEMPLATE, SMALL, LARGE = "bench_young", "bench_small", "bench_large"
STRETCHES = 50
CLIENTS = (1, 8)
PAGE = 50
SPEND, BALANCE = "spend by the engine, clients: {clients}", "balance"
FIRST_PAGE, DEEPEST_PAGE = "first page of history", "deepest page of history"
WARM_SECONDS = 20

# Nothing that is inserted here can break a rule that foreign keys state, and they take a third of
# the time. The guards are ENABLE ALWAYS, and stay.
WITHOUT_FOREIGN_KEYS = "SET session_replication_role = replica"
BYTES = """
    SELECT sum(bytes)::bigint, pg_database_size(current_database())
    FROM (VALUES ('ledger_credittransaction'), ('ledger_entry')) AS t(name),
         LATERAL (SELECT pg_total_relation_size(name::regclass) AS bytes) AS size
"""


@dataclass(frozen=True)
class Sizes:
    """
    Wallets, each with one transaction in the small database; how many each has in the large one,
    and how many its last wallet has.
    """

    wallets: int
    each: int
    deepest: int

    @property
    def total(self) -> int:
        return (self.wallets - 1) * self.each + self.deepest


Times = dict[tuple[str, str], list[float]]


def measure(server: Server, *, sizes: Sizes, rounds: int, seconds: int) -> tuple[str, list[Figure]]:
    """Return a table of microseconds, and the figures."""
    seed.make_empty(server, TEMPLATE)
    seed.add_wallets(server, TEMPLATE, sizes.wallets, types=("award",))
    server.settle(TEMPLATE)
    server.create(LARGE, template=TEMPLATE)
    add_history(server, sizes)
    server.settle(LARGE)
    bytes, size = server.row(LARGE, BYTES)
    # The first change of a page after a checkpoint writes the page whole: not what is asked here.
    spend(server, LARGE, sizes, clients=max(CLIENTS), seconds=WARM_SECONDS)

    times: Times = defaultdict(list)
    with worker(server.url(LARGE)) as large:
        for _ in range(rounds):
            server.create(SMALL, template=TEMPLATE)
            with worker(server.url(SMALL)) as small:
                spend(server, SMALL, sizes, clients=1, seconds=1)
                one_round(server, sizes, {SMALL: small, LARGE: large}, seconds, times)
    for database in (SMALL, LARGE, TEMPLATE):
        server.drop(database)
    figures = figures_of(times, sizes)
    figures.append(
        Figure(
            "bytes of a transaction, its entry and indexes",
            bytes / sizes.total,
            digits=0,
            note=f"database of {size / 2**30:.1f} GiB",
        )
    )
    return times_table(times, sizes), figures


def add_history(server: Server, sizes: Sizes) -> None:
    """Give the wallets of the large database their history, in stretches side by side."""
    stretches = min(STRETCHES, sizes.each - 1)
    (at,) = server.row(LARGE, "SELECT now()::text")
    price = seed.price_of(server, LARGE, "llm.input")

    def bounds(last: int, stretch: int) -> tuple[int, int]:
        return 2 + (last - 1) * stretch // stretches, 1 + (last - 1) * (stretch + 1) // stretches

    def insert(stretch: int) -> None:
        first, last = bounds(sizes.each, stretch)
        deep_first, deep_last = bounds(sizes.deepest, stretch)
        history = seed.statement(
            "history",
            wallets=sizes.wallets,
            credits=seed.CREDITS,
            at=at,
            price=price,
            first=first,
            last=last,
            deep_first=deep_first,
            deep_last=deep_last,
        )
        server.run(LARGE, WITHOUT_FOREIGN_KEYS, history)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(insert, range(stretches)))
    server.run(LARGE, seed.statement("latest", credits=seed.CREDITS))
    (count,) = server.row(LARGE, "SELECT sum(version) FROM ledger_wallet")
    if count != sizes.total:
        raise RuntimeError(f"{count:,} transactions were made, not {sizes.total:,}.")


def one_round(
    server: Server, sizes: Sizes, workers: dict[str, Worker], seconds: int, times: Times
) -> None:
    """Add the microseconds of each thing measured, the small database and the large in turn."""
    for clients in CLIENTS:
        for database in workers:
            took = spend(server, database, sizes, clients=clients, seconds=seconds)
            times[SPEND.format(clients=clients), database].append(took)
    pages = ((FIRST_PAGE, sizes.deepest + 1), (DEEPEST_PAGE, PAGE + 1))
    for _ in range(seconds):  # In short turns: the figures are close to each other.
        for database, product in workers.items():
            took = product.call("reads.balance", wallets=sizes.wallets, seconds=1)
            times[BALANCE, database].append(took)
        for name, below in pages:
            took = workers[LARGE].call(
                "reads.page", wallet=sizes.wallets, below=below, count=PAGE, seconds=1
            )
            times[name, LARGE].append(took)


def spend(server: Server, database: str, sizes: Sizes, *, clients: int, seconds: int) -> float:
    """Spend by the engine, not from the deepest wallet; return microseconds for one."""
    rate, _ = server.pgbench(
        database,
        seed.SQL / "engine.sql",
        clients=clients,
        seconds=seconds,
        first=1,
        last=sizes.wallets - 1,
        price=seed.price_of(server, database, "report"),
        actor=1,
    )
    return 1e6 / rate


def times_table(times: Times, sizes: Sizes) -> str:
    rows = []
    for (name, database), taken in times.items():
        count = sizes.wallets if database == SMALL else sizes.total
        spread = f"{min(taken):,.0f}–{max(taken):,.0f}"
        rows.append([name, f"{count:,}", f"{median(taken):,.0f}", spread])
    return table(["what", "transactions", "µs", "min–max"], rows)


def figures_of(times: Times, sizes: Sizes) -> list[Figure]:
    def ratio(name: str, at_most: float) -> Figure:
        value = median(times[name, LARGE]) / median(times[name, SMALL])
        counts = f"{sizes.total:,} ÷ {sizes.wallets:,} transactions"
        return Figure(f"{name}, {counts}", value, at_most=at_most)

    depth = median(times[DEEPEST_PAGE, LARGE]) / median(times[FIRST_PAGE, LARGE])
    return [
        ratio(BALANCE, 1.1),
        *(ratio(SPEND.format(clients=clients), 1.25) for clients in CLIENTS),
        Figure(f"history page at depth {sizes.deepest:,} ÷ first page", depth, at_most=1.25),
    ]

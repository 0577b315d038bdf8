"""
How fast credits are spent: by hand in SQL, by the engine, the service, the API and the ORM.

All on one database in rounds, each way once a round and each round starting with another, so that
what disturbs the machine disturbs all alike. A figure is the median of the rounds.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from benchmarks import seed
from benchmarks.api import Api, serving
from benchmarks.figures import Figure, table
from benchmarks.server import Server
from benchmarks.worker import Worker, workers

DATABASE = "bench_spends"
BY_SQL = ("raw", "raw4", "engine")
WAYS = (*BY_SQL, "service", "orm", "api")
CLIENTS = (1, 8)
# The site has as many threads as it has clients then; twice as many callers keep all of them busy.
BUSY = 16


@dataclass(frozen=True)
class Case:
    """One way to spend, from many wallets or from a single one, by so many at once."""

    way: str
    clients: int
    is_hot: bool


@dataclass(frozen=True)
class Sample:
    """Spends a second; microseconds of Python's CPU for one; milliseconds that callers waited."""

    rate: float
    cpu_us: float = 0
    p50_ms: float = 0
    p99_ms: float = 0


CASES = [
    Case(way, clients, is_hot) for is_hot in (False, True) for way in WAYS for clients in CLIENTS
]
CASES.append(Case("api", BUSY, False))


class Bench:
    """The database, and those who spend: the last of its wallets is the hot one."""

    def __init__(self, server: Server, wallets: int, product: list[Worker], api: Api) -> None:
        self.server, self.wallets, self.product, self.api = server, wallets, product, api
        self.price = seed.price_of(server, DATABASE, "report")

    def sample(self, case: Case, seconds: int) -> Sample:
        """
        Spend for so long, and count that each spend took credits.

        :raises RuntimeError: some did not.
        """
        before = self.moved()
        first, last = (self.wallets, self.wallets) if case.is_hot else (1, self.wallets - 1)
        if case.way in BY_SQL:
            sample, count = self.by_sql(case, first, last, seconds)
        elif case.way == "api":
            sample, count = self.by_api(case, first, last, seconds)
        else:
            sample, count = self.by_product(case, first, last, seconds)
        if self.moved() - before != count:
            raise RuntimeError(f"{case}: {count} spends, {self.moved() - before} were booked.")
        return sample

    def moved(self) -> int:
        """Return how many transactions the wallets have counted."""
        (moved,) = self.server.row(DATABASE, "SELECT sum(version)::bigint FROM ledger_wallet")
        return int(moved)

    def by_sql(self, case: Case, first: int, last: int, seconds: int) -> tuple[Sample, int]:
        rate, count = self.server.pgbench(
            DATABASE,
            seed.SQL / f"{case.way}.sql",
            clients=case.clients,
            seconds=seconds,
            first=first,
            last=last,
            price=self.price,
            actor=1,
        )
        return Sample(rate), count

    def by_product(self, case: Case, first: int, last: int, seconds: int) -> tuple[Sample, int]:
        chosen = self.product[: case.clients]
        for worker in chosen:
            worker.ask(f"spends.by_{case.way}", first=first, last=last, seconds=seconds)
        answers = [worker.answer() for worker in chosen]
        cpu_us = median(answer["cpu_us"] for answer in answers)
        rate = sum(answer["rate"] for answer in answers)
        return Sample(rate, cpu_us), sum(answer["count"] for answer in answers)

    def by_api(self, case: Case, first: int, last: int, seconds: int) -> tuple[Sample, int]:
        tokens = self.product[0].call("tokens.make", first=first, last=last)
        load = self.api.load(tokens, connections=case.clients, seconds=seconds)
        return Sample(load.rate, 0, load.p50_ms, load.p99_ms), load.count


@contextmanager
def ready(server: Server, wallets: int) -> Iterator[Bench]:
    """Have a seeded and analyzed database, workers and a site on it, all warm."""
    seed.make_empty(server, DATABASE)
    seed.add_wallets(server, DATABASE, wallets)
    server.settle(DATABASE)
    url = server.url(DATABASE)
    with ExitStack() as stack:
        product = stack.enter_context(workers(url, max(CLIENTS)))
        api = stack.enter_context(serving(url))
        bench = Bench(server, wallets, product, api)
        for case in CASES:
            bench.sample(case, 1)
        yield bench
    server.drop(DATABASE)


Samples = dict[Case, list[Sample]]


def measure(server: Server, *, wallets: int, rounds: int, seconds: int) -> tuple[str, list[Figure]]:
    """Return a table of the rates, and the figures."""
    samples: Samples = defaultdict(list)
    with ready(server, wallets) as bench:
        for turn in range(rounds):
            start = turn * len(CASES) // rounds
            for case in [*CASES[start:], *CASES[:start]]:
                samples[case].append(bench.sample(case, seconds))
        statements = bench.product[0].call("spends.statements", wallet=1)
    return rates_table(samples), figures_of(samples, statements)


def rates_table(samples: Samples) -> str:
    rows = []
    for case, taken in samples.items():
        rates = [sample.rate for sample in taken]
        spread = f"{min(rates):,.0f}–{max(rates):,.0f}"
        p50, p99 = (
            median(getattr(sample, name) for sample in taken) for name in ("p50_ms", "p99_ms")
        )
        cpus = [sample.cpu_us for sample in taken]
        cpu = f"{min(cpus):.0f} / {median(cpus):.0f}" if any(cpus) else ""
        wallets = "one hot" if case.is_hot else "spread"
        waited = f"{p50:.1f} / {p99:.1f}" if p99 else ""
        figures = [f"{median(rates):,.0f}", spread, cpu, waited]
        rows.append([case.way, str(case.clients), wallets, *figures])
    cpu_heading = "Python CPU µs, least / median"
    headings = ["way", "clients", "wallets", "spends/s", "min–max", cpu_heading, "p50 / p99 ms"]
    return table(headings, rows)


def figures_of(samples: Samples, statements: dict[str, int]) -> list[Figure]:
    def rate(way: str, clients: int, is_hot: bool = False) -> float:
        return median(sample.rate for sample in samples[Case(way, clients, is_hot)])

    def ratio(
        way: str, other: str, clients: int, is_hot: bool = False, at_least: float | None = None
    ) -> Figure:
        where = ", one hot wallet" if is_hot else ""
        name = f"{way} ÷ {other}, {clients} client{'s' if clients > 1 else ''}{where}"
        value = rate(way, clients, is_hot) / rate(other, clients, is_hot)
        return Figure(name, value, at_least=at_least)

    # The least, as timeit's documentation says of times of one piece of code: whatever else the
    # machine does adds to it, and nothing takes away from it.
    cpu_us = min(sample.cpu_us for sample in samples[Case("service", 1, False)])
    return [
        ratio("engine", "raw", 1, at_least=0.6),
        ratio("engine", "raw", 8, at_least=0.5),
        ratio("engine", "raw", 1, is_hot=True, at_least=0.6),
        ratio("engine", "raw", 8, is_hot=True, at_least=0.6),
        ratio("engine", "raw4", 1, at_least=0.7),
        ratio("engine", "raw4", 8, at_least=0.7),
        ratio("service", "engine", 1, at_least=0.6),
        ratio("service", "engine", 8, at_least=0.5),
        ratio("service", "engine", 1, is_hot=True, at_least=0.65),
        ratio("service", "engine", 8, is_hot=True, at_least=0.65),
        Figure("statements of a fresh spend", statements["fresh"], at_most=1, digits=0),
        Figure("statements of a replay", statements["replay"], at_most=2, digits=0),
        Figure("Python CPU of a spend, µs", cpu_us, digits=0),
        Figure(
            "Python CPU of a spend ÷ time of a raw one", cpu_us * rate("raw", 1) / 1e6, at_most=0.7
        ),
        ratio("service", "orm", 1),
        ratio("service", "orm", 8, at_least=5),
        ratio("service", "orm", 8, is_hot=True),
        ratio("api", "raw", 1),
        ratio("api", "raw", 8),
        ratio("api", "raw", 8, is_hot=True),
    ]

"""
Measure on this machine, in one run on one server, what the product promises of its speed.

    .venv/bin/python -m benchmarks.run            all of it; README.md says what each figure is
    .venv/bin/python -m benchmarks.run --quick    small and short, to see that it works
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import backfill, batches, cluster, growth, spends
from benchmarks.figures import Figure, figures_table
from benchmarks.server import Server
from creditsite.running.environment import ROOT


@dataclass(frozen=True)
class Plan:
    """How much of everything, and how long."""

    rounds: int
    seconds: int
    wallets: int
    users: int
    history: growth.Sizes


FULL = Plan(5, 4, 100_000, 1_000_000, growth.Sizes(10_000, each=901, deepest=1_000_000))
QUICK = Plan(2, 2, 2_000, 20_000, growth.Sizes(1_000, each=101, deepest=10_000))
Part = Callable[[Server, Plan], tuple[str, list[Figure]]]
PARTS: dict[str, Part] = {
    "spends": lambda server, plan: spends.measure(
        server, wallets=plan.wallets, rounds=plan.rounds, seconds=plan.seconds
    ),
    "backfill": lambda server, plan: backfill.measure(server, users=plan.users),
    "batches": lambda server, plan: batches.measure(server, wallets=plan.users),
    "growth": lambda server, plan: growth.measure(
        server, sizes=plan.history, rounds=plan.rounds, seconds=plan.seconds
    ),
}


def main() -> None:
    options = read_options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # By way of every finally.
    plan = QUICK if options.quick else FULL
    figures: list[Figure] = []
    with (
        cluster.given(options.database_url) if options.database_url else cluster.started() as server
    ):
        machine = facts(server)
        print(f"# {'A quick look' if options.quick else 'What was measured'}\n")
        print("\n".join(f"- {name}: {value}" for name, value in machine.items()), flush=True)
        for part in options.only or PARTS:
            started = time.perf_counter()
            table, found = PARTS[part](server, plan)
            minutes = (time.perf_counter() - started) / 60
            print(f"\n## {part} ({minutes:.1f} minutes)\n\n{table}", flush=True)
            figures += found
    print(f"\n## what was promised\n\n{figures_table(figures)}")
    if options.json:
        document = {"machine": machine, "figures": [figure.facts() for figure in figures]}
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if options.strict and any(figure.is_reached is False for figure in figures):
        sys.exit(1)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--quick", action="store_true", help="small sizes, short rounds")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--strict", action="store_true", help="fail if a figure misses its target")
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="a superuser's address of a server, without a database, instead of a private one",
    )
    return parser.parse_args()


def facts(server: Server) -> dict[str, str]:
    """Return what the figures were measured on."""
    (version,) = server.row("postgres", "SELECT split_part(version(), ' on ', 1)")
    settings = ", ".join(
        f"{name} {server.row('postgres', f'SHOW {name}')[0]}"
        for name in ("shared_buffers", "fsync", "synchronous_commit", "full_page_writes")
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{os.cpu_count()} × {processor()}, {memory:.0f} GiB, {platform.system()}",
        "server": f"{version}, {settings}",
        "Python": platform.python_version(),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    main()

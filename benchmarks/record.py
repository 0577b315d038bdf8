"""
How fast the record is sealed and verified: ``python -m benchmarks.record [EVENTS]``.

On a server of its own: a million audit events, or as many as named, and 100,000 transactions.
Reader and database share one core where the machine lets processes be bound to one.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import seed
from benchmarks.cluster import started
from benchmarks.server import Server
from benchmarks.worker import production
from creditsite.running.environment import ROOT

DATABASE = "bench_record"
EVENTS, WALLETS = 1_000_000, 33_334


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with started() as server, tempfile.TemporaryDirectory() as directory:
        seed.make_empty(server, DATABASE)
        subprocess.run([sys.executable, "-c", MAKE_KEY, f"{directory}/key.pem"], check=True)
        seal(server, directory)
        server.run(DATABASE, seed.statement("events", count=events), "ANALYZE")
        say(f"sealing {events:,} events", seal(server, directory))
        seed.add_wallets(server, DATABASE, WALLETS)
        say(f"sealing {WALLETS * 3:,} transactions", seal(server, directory))
        server.settle(DATABASE)
        say("verifying the events", manage(server, directory, "verify_audit"))
        say("verifying all", manage(server, directory, "verify_audit", "--ledger"))


def seal(server: Server, directory: str) -> tuple[float, str]:
    return manage(server, directory, "seal_audit")


def manage(server: Server, directory: str, *arguments: str) -> tuple[float, str]:
    """Run a command; return how many seconds it took and what it said."""
    files = {
        "AUDIT_SIGNING_KEY_FILE": f"{directory}/key.pem",
        "AUDIT_CHECKPOINT_FILE": f"{directory}/checkpoints.jsonl",
        "AUDIT_STATE_FILE": f"{directory}/state.json",
    }
    begin = time.perf_counter()
    run = subprocess.run(
        [sys.executable, str(Path(ROOT, "manage.py")), *arguments],
        env=production(server.url(DATABASE)) | files,
        capture_output=True,
        check=True,
        text=True,
    )
    return time.perf_counter() - begin, run.stdout.strip()


def say(what: str, ran: tuple[float, str]) -> None:
    seconds, said = ran
    print(f"{what}: {seconds:.1f} s, the start of Python included\n    {said.splitlines()[0]}")


MAKE_KEY = """
import pathlib, sys
from audit.checkpoints import make_key
make_key(pathlib.Path(sys.argv[1]))
"""


if __name__ == "__main__":
    main()

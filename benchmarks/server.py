"""A running PostgreSQL server: its databases, its statements, pgbench on it."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg


@dataclass(frozen=True)
class Server:
    """``address`` is a URL without a database, ``bin`` where PostgreSQL's programs are."""

    address: str
    bin: Path

    def url(self, database: str) -> str:
        return f"{self.address}/{database}"

    def run(self, database: str, *statements: str) -> None:
        """Run statements, each for itself, as the engine: the books would refuse anybody else."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def row(self, database: str, query: str) -> tuple[Any, ...]:
        with self.connect(database) as connection:
            return connection.execute(query.encode()).fetchone() or ()

    def connect(self, database: str) -> psycopg.Connection:
        options = "-c ledger.writer=engine"
        return psycopg.connect(self.url(database), autocommit=True, options=options)

    def create(self, database: str, *, template: str = "template1") -> None:
        """Create a database as a copy of ``template``, in the place of one of that name."""
        self.drop(database)
        self.run("postgres", f'CREATE DATABASE "{database}" TEMPLATE "{template}"')

    def drop(self, database: str) -> None:
        self.run("postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def settle(self, database: str) -> None:
        """Give the planner its statistics, and what is measured a start without dirty pages."""
        self.run(database, "VACUUM ANALYZE", "CHECKPOINT")

    def pgbench(
        self, database: str, script: Path, *, clients: int, seconds: int, **variables: int
    ) -> tuple[float, int]:
        """
        Return how often a second ``script`` ran, and how often in all.

        It connects as the engine, without which the books would refuse statements of its own.
        """
        address = urlsplit(self.address)
        options: dict[str, object] = {
            "-M": "prepared",
            "-f": script,
            "-T": seconds,
            "-c": clients,
            "-j": min(clients, os.cpu_count() or 1),
            "-h": address.hostname,
            "-p": address.port or 5432,
        }
        words = [str(word) for option in options.items() for word in option]
        words += [f"-D{name}={value}" for name, value in variables.items()]
        login = {"PGUSER": address.username or "", "PGPASSWORD": address.password or ""}
        done = subprocess.run(
            [str(self.bin / "pgbench"), "--no-vacuum", *words, database],
            env=os.environ | login | {"PGOPTIONS": "-c ledger.writer=engine"},
            capture_output=True,
            text=True,
        )
        rate = re.search(r"tps = ([\d.]+)", done.stdout)
        count = re.search(r"actually processed: (\d+)", done.stdout)
        if done.returncode or not rate or not count:
            raise RuntimeError(f"{script.name}: pgbench failed:\n{done.stdout}{done.stderr}")
        return float(rate[1]), int(count[1])

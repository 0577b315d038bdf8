"""
What database roles cost a spend: ``python -m benchmarks.roles``.

The application by a door that acts as its owner, against the owner itself by the same function
without that. One client, in turns; the figure is the ratio of the medians.
"""

import subprocess
import sys
from dataclasses import replace
from statistics import median
from urllib.parse import urlsplit

from benchmarks import seed
from benchmarks.cluster import started
from benchmarks.server import Server
from benchmarks.worker import production
from creditsite.running.environment import ROOT
from creditsite.site.database_roles import Roles

DATABASE = "bench_roles"
WALLETS, ROUNDS, SECONDS = 20_000, 9, 4


DOOR = "ALTER FUNCTION ledger_draw_one SECURITY DEFINER SET search_path = public, pg_temp"
NO_DOOR = "ALTER FUNCTION ledger_draw_one SECURITY INVOKER RESET search_path"
# The migrator's sessions are the owner's.
WAYS = [(Roles().app, DOOR), (Roles().migrator, NO_DOOR)]


def as_role(server: Server, role: str) -> Server:
    address = urlsplit(server.address)
    return replace(server, address=f"postgresql://{role}@{address.hostname}:{address.port}")


def main() -> None:
    with started() as server:
        seed.make_empty(server, DATABASE)
        seed.add_wallets(server, DATABASE, WALLETS)
        setup = [sys.executable, "manage.py", "setup_database_roles"]
        subprocess.run(setup, cwd=ROOT, env=production(server.url(DATABASE)), check=True)
        server.settle(DATABASE)
        price = seed.price_of(server, DATABASE, "report")
        rates: dict[str, list[float]] = {role: [] for role, _ in WAYS}
        for turn in range(ROUNDS):
            for role, alter in WAYS if turn % 2 else reversed(WAYS):
                server.run(DATABASE, alter)
                rate, _ = as_role(server, role).pgbench(
                    DATABASE,
                    seed.SQL / "engine.sql",
                    clients=1,
                    seconds=SECONDS,
                    first=1,
                    last=WALLETS,
                    price=price,
                    actor=1,
                )
                rates[role].append(rate)
    app, owner = (median(taken) for taken in rates.values())
    print(f"application {app:,.0f} spends/s, owner {owner:,.0f} spends/s: {app / owner:.2f}")


if __name__ == "__main__":
    main()

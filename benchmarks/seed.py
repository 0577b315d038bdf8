"""What is in a database before anything is measured: schema, price list, people with credits."""

import subprocess
import sys
from pathlib import Path

from benchmarks.server import Server
from benchmarks.worker import production, worker
from creditsite.running.environment import ROOT

SQL = Path(__file__).parent / "sql"
GRANTS = ("award", "partner", "purchase")
# A wallet that ran dry would turn what is measured into refusals.
CREDITS = 1_000_000_000

WALLETS = "SELECT ledger_open_wallets(ARRAY(SELECT id FROM accounts_user ORDER BY id), '{}')"


def statement(name: str, **values: object) -> str:
    """Return the statement in ``sql/<name>.sql`` with values of ours in its braces."""
    return (SQL / f"{name}.sql").read_text().format(**values)


def make_empty(server: Server, database: str) -> None:
    """Make a database with the schema and the price list, and nobody in it."""
    server.create(database)
    url = server.url(database)
    migrate = [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity=0"]
    subprocess.run(migrate, cwd=ROOT, env=production(url), check=True)
    with worker(url) as product:
        product.call("catalogue.make")


def add_users(server: Server, database: str, count: int) -> None:
    """Add members without wallets, as an import of old accounts would."""
    server.run(database, statement("users", count=count), "ANALYZE")


def add_wallets(
    server: Server,
    database: str,
    count: int,
    *,
    types: tuple[str, ...] = GRANTS,
    credits: int = CREDITS,
) -> None:
    """
    Add ``count`` users with a wallet and a grant of each of ``types``, by the engine itself.

    Users and wallets have the ids from 1 to ``count``.
    """
    add_users(server, database, count)
    server.run(database, WALLETS, "ANALYZE")
    for type in types:
        server.run(database, statement("grants", credits=credits, type=type), "ANALYZE")
    found = server.row(
        database,
        "SELECT min(id), max(id), min(user_id), max(user_id), min(version) FROM ledger_wallet",
    )
    if found != (1, count, 1, count, len(types)):
        raise RuntimeError(f"Wallets are not seeded as they should be: {found}")


def price_of(server: Server, database: str, feature: str) -> int:
    """Return the id of the only price that ``feature`` has."""
    (id,) = server.row(database, statement("price", feature=feature))
    return int(id)

"""What is in a database before anything is measured: schema, price list, people with credits."""

import subprocess
import sys

from benchmarks.server import Server
from benchmarks.worker import production, worker
from creditsite.running.environment import ROOT

GRANTS = ("award", "partner", "purchase")
# A wallet that ran dry would turn what is measured into refusals.
CREDITS = 1_000_000_000

USERS = """
    INSERT INTO accounts_user (email, identity, password, name, role_id, referral_code, token_version, is_superuser,
                               is_active, is_staff, is_partner, is_agent, date_joined)
    SELECT 'user' || i || '@example.com', gen_random_uuid(), '!', 'User ' || i, (SELECT id FROM accounts_role WHERE code = 'member'),
           'R' || i, 0, false, true, false, false, false, now()
    FROM generate_series(1, {count}) AS i
"""
WALLETS = "SELECT ledger_open_wallets(ARRAY(SELECT id FROM accounts_user ORDER BY id), '{}')"
GRANT = """
    SELECT count(*) FROM (
        SELECT array_agg(id ORDER BY id) AS wallets, array_agg(gen_random_uuid()) AS keys,
               array_fill({credits}::bigint, ARRAY[count(*)::int]) AS amounts FROM ledger_wallet
    ) AS x, LATERAL ledger_post(x.wallets, x.amounts, x.keys, x.keys, NULL, '{type}', 'manual', 100::smallint, '', NULL, NULL,
                                ledger_system_header('{type}', now(), '')) AS p WHERE p.outcome = 'done'
"""


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
    server.run(database, USERS.format(count=count), "ANALYZE")


def add_wallets(
    server: Server, database: str, count: int, *, types: tuple[str, ...] = GRANTS
) -> None:
    """
    Add ``count`` users with a wallet and a grant of each of ``types``, by the engine itself.

    Users and wallets have the ids from 1 to ``count``.
    """
    add_users(server, database, count)
    server.run(database, WALLETS, "ANALYZE")
    for type in types:
        server.run(database, GRANT.format(credits=CREDITS, type=type), "ANALYZE")
    found = server.row(
        database,
        f"SELECT min(id), max(id), min(user_id), max(user_id), min(version) FROM ledger_wallet",
    )
    if found != (1, count, 1, count, len(types)):
        raise RuntimeError(f"Wallets are not seeded as they should be: {found}")

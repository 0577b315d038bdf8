"""
The environment of a checkout: ``var/env``, which settings read where none is given from outside.

Standard library only, because everything that starts anything comes by here first.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VAR = ROOT / "var"
ENV_FILE = VAR / "env"

SECRETS = [
    "SECRET_KEY",
    "IDENTITY_KEY",
    "JWT_SIGNING_KEY",
    "API_KEY_HASH_KEY",
    "POSTGRES_PASSWORD",
    "LOCAL_STRIPE_KEY",
    "LOCAL_STRIPE_WEBHOOK_SECRET",
]
STRIPE = ["STRIPE_SECRET_KEY", "STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRETS", "STRIPE_ACCOUNT"]
DEFAULT_PORT = 8000


def applies() -> bool:
    """
    Say whether ``var/env`` counts for this process.

    It does in a demo, and where neither a database nor ``DEMO`` is named. So a production process
    that names its database, or says ``DEMO=0``, never meets the keys of a demo.
    """
    demo = os.environ.get("DEMO", "")
    if demo:
        return demo.lower() in {"1", "true", "yes", "on"}
    return not (os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE"))


class VariablesOrFiles(Mapping[str, str]):
    """
    This process's environment; where ``NAME_FILE`` is set, ``NAME`` is what that file holds.

    So a secret need not be a variable, which child processes and crash reports get to see. The
    line break at the end of the file is not part of it.
    """

    def __getitem__(self, name: str) -> str:
        """
        :raises KeyError: neither is set.
        :raises OSError: the file cannot be read.
        """
        if path := os.environ.get(f"{name}_FILE"):
            return Path(path).read_text().rstrip("\r\n")
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter({*os.environ, *(name.removesuffix("_FILE") for name in os.environ)})

    def __len__(self) -> int:
        return len(list(iter(self)))


def read() -> dict[str, str]:
    """Return what ``var/env`` says; nothing where it does not exist."""
    if not ENV_FILE.exists():
        return {}
    lines = (line.partition("=") for line in ENV_FILE.read_text().splitlines())
    return {name: value for name, _, value in lines if name}


def load() -> None:
    """Put what ``var/env`` says into this process's environment, below what is there already."""
    if applies():
        for name, value in read().items():
            if not os.environ.get(name):
                os.environ[name] = value


def write(*, port: int, database_port: int, stripe_port: int | None = None) -> dict[str, str]:
    """
    Write ``var/env`` for a site on ``port`` and return it; secrets that exist are kept.

    ``DATABASE_URL``, ``REDIS_URL``, ``SITE_URL`` and Stripe's settings of this process are taken
    over, so that a command typed beside a running site finds the same ones. Without
    ``DATABASE_URL`` it is the embedded database on ``database_port``, and ``EMBEDDED_PORT`` says
    so; without ``STRIPE_SECRET_KEY`` the local Stripe on ``stripe_port``, otherwise two after the
    site's, and ``LOCAL_STRIPE_PORT`` says so.
    """
    kept = read()
    values = {"DEMO": "1", "PORT": str(port)}
    values |= {name: kept.get(name) or secrets.token_urlsafe(48) for name in SECRETS}
    named = os.environ.get("DATABASE_URL")
    values |= at_database(values, database_port)
    if named:
        values |= {"DATABASE_URL": named, "EMBEDDED_PORT": ""}
    values["REDIS_URL"] = os.environ.get("REDIS_URL", "")
    values["SITE_URL"] = os.environ.get("SITE_URL") or f"http://127.0.0.1:{port}"
    values |= stripe_of(values, stripe_port or port + 2)
    save(values)
    return values


def move_database(port: int) -> None:
    """Say in ``var/env`` that the embedded database is on another port now."""
    values = read()
    save(values | at_database(values, port))


def at_database(values: dict[str, str], port: int) -> dict[str, str]:
    password = values["POSTGRES_PASSWORD"]
    address = f"postgresql://creditsite:{password}@127.0.0.1:{port}/creditsite"
    return {"DATABASE_URL": address, "EMBEDDED_PORT": str(port)}


def stripe_of(values: dict[str, str], port: int) -> dict[str, str]:
    """Return Stripe's settings: those of this process if it names a key, or the local one's."""
    given = VariablesOrFiles()
    if given.get("STRIPE_SECRET_KEY"):
        return {name: given.get(name, "") for name in STRIPE} | {"LOCAL_STRIPE_PORT": ""}
    return {
        "STRIPE_SECRET_KEY": f"sk_test_{values['LOCAL_STRIPE_KEY']}",
        "STRIPE_API_BASE": f"http://127.0.0.1:{port}",
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{values['LOCAL_STRIPE_WEBHOOK_SECRET']}",
        "STRIPE_ACCOUNT": "",
        "LOCAL_STRIPE_PORT": str(port),
    }


def save(values: dict[str, str]) -> None:
    """Replace ``var/env`` in one step, for its owner alone: losing keys loses identities."""
    VAR.mkdir(exist_ok=True)
    draft = ENV_FILE.with_name("env.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("".join(f"{name}={value}\n" for name, value in values.items()))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(ENV_FILE)


def embedded_port() -> int | None:
    """Return the port of the embedded database if this process would use it."""
    if os.environ.get("DATABASE_URL") or not applies():
        return None
    port = read().get("EMBEDDED_PORT")
    return int(port) if port else None

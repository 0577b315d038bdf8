"""
Start the site of this checkout, keep it up, and stop it whole: `python3 run.py` ends up here.

Standard library only; everything of Django's runs in processes of its own.
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from creditsite import embedded
from creditsite.running import environment
from creditsite.running.environment import VAR
from creditsite.running.preparation import prepare
from creditsite.running.programs import EmbeddedError
from creditsite.running.supervisor import ChildEnded, Supervisor

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
SIGN_INS = ["admin", "admin2", "finance", "support", "auditor", "alice", "bob", "carol"]
TEST_CARD = "4242 4242 4242 4242"
WEB = "gunicorn creditsite.wsgi --worker-class gthread --workers 2 --threads 4 --no-control-socket"
WORKER = "--pool threads --concurrency 2 --without-gossip --without-mingle --without-heartbeat"


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py")
    parser.add_argument("--reload", action="store_true", help="reload on change")
    reload = parser.parse_args().reload
    port = int(os.environ.get("PORT") or environment.DEFAULT_PORT)
    for number in SIGNALS:
        signal.signal(number, leave)
    try:
        with alone(port):
            serve(port, reload=reload)
    except (ChildEnded, EmbeddedError) as failure:
        sys.exit(str(failure))
    except subprocess.CalledProcessError as failure:
        sys.exit(f"`{' '.join(failure.cmd[1:])}` failed; creditsite did not start.")


def leave(number: int, frame: object) -> None:
    """End by way of every ``finally``; a second signal does not break into them."""
    for again in SIGNALS:
        signal.signal(again, signal.SIG_IGN)
    sys.exit(0)


@contextmanager
def alone(port: int) -> Iterator[None]:
    """Refuse to start a second time in one checkout while the block runs."""
    VAR.mkdir(exist_ok=True)
    with open(VAR / "run.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            running = json.loads(lock.read() or "{}")
            sys.exit(
                f"creditsite already runs from this checkout (process {running.get('pid')}, "
                f"http://127.0.0.1:{running.get('port')}/). Stop that one first. "
                "`manage.py` commands and `run.py test` work beside it."
            )
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "port": port}))
        lock.flush()
        yield


def serve(port: int, *, reload: bool) -> None:
    """
    Bring up database, local Stripe, schema, static files and demo, then web and worker, until told
    to end.
    """
    values = environment.write(port=port, database_port=port + 1)
    is_embedded = bool(values["EMBEDDED_PORT"])
    with (
        embedded.in_use(port + 1) if is_embedded else nullcontext(port + 1) as database_port,
        Supervisor() as supervisor,
    ):
        stripe_port = port + 2 if embedded.is_free(port + 2) else embedded.free_port()
        values = environment.write(port=port, database_port=database_port, stripe_port=stripe_port)
        os.environ |= values
        if values["LOCAL_STRIPE_PORT"]:
            supervisor.start("stripe", *stripe(stripe_port, port), to_terminal=False)
            supervisor.wait_until_serving("stripe", stripe_port, "/")
        password = prepare(is_embedded=is_embedded)
        if reload:
            supervisor.start("web", *reloading_web(port), to_terminal=True, DEBUG="1")
        else:
            supervisor.start("web", *web(port), to_terminal=False)
        supervisor.start("worker", *worker(reload=reload), to_terminal=reload)
        supervisor.wait_until_serving("web", port, "/healthz")
        greet(values, password=password)
        supervisor.wait()


def stripe(port: int, site_port: int) -> list[str]:
    state = str(VAR / "stripe.sqlite")
    webhook = f"http://127.0.0.1:{site_port}/stripe/webhook"
    return [
        "-m", "billing.stripe_sandbox", "--port", str(port), "--state", state, "--webhook", webhook,
    ]  # fmt: skip


def web(port: int) -> list[str]:
    return ["-m", *WEB.split(), "--bind", f"127.0.0.1:{port}"]


def reloading_web(port: int) -> list[str]:
    return ["manage.py", "runserver", f"127.0.0.1:{port}"]


def worker(*, reload: bool) -> list[str]:
    start = (
        ["-m", "creditsite.running.reloading_worker"]
        if reload
        else ["-m", "celery", "-A", "creditsite"]
    )
    schedule = str(VAR / "beat-schedule")
    return [
        *start,
        "worker",
        "--beat",
        "--schedule",
        schedule,
        "--loglevel",
        "WARNING",
        *WORKER.split(),
    ]


def greet(values: dict[str, str], *, password: str | None) -> None:
    site = f"http://127.0.0.1:{values['PORT']}"
    print(f"\ncreditsite is running: {site}/admin/   (Ctrl-C stops it)")
    if values["LOCAL_STRIPE_PORT"]:
        print(f"Payments go to a local Stripe on {values['STRIPE_API_BASE']} and move no money;")
        print(f"pay with the test card {TEST_CARD}.")
    if not values["EMBEDDED_PORT"]:
        print("Make an administrator by `manage.py create_admin`.", flush=True)
        return
    print("Demo sign-ins: " + ", ".join(f"{name}@example.com" for name in SIGN_INS))
    if password:
        print(f"Their password, shown this once: {password}", flush=True)
    else:
        print("Their password is in DEMO_PASSWORD, or was shown at the first start.", flush=True)


if __name__ == "__main__":
    main()

"""`python -m billing.stripe_sandbox --port N --state FILE --webhook URL --secret whsec_…`"""

import argparse
import os
import signal
from pathlib import Path
from threading import Thread

from billing.stripe_sandbox.server import Server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m billing.stripe_sandbox", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--state", required=True, help="the file that everything is kept in")
    parser.add_argument("--webhook", help="where events are sent")
    parser.add_argument("--secret", action="append", default=[], help="signs them; may be repeated")
    parser.add_argument("--retry-seconds", type=float, default=1.0, help="before the first retry")
    given = parser.parse_args()
    # Who must not show them to everybody who lists processes has them in the environment.
    secrets = given.secret or os.environ.get("STRIPE_WEBHOOK_SECRETS", "").split(",")
    if given.webhook and not all(secrets):
        parser.error("--webhook needs a --secret, or STRIPE_WEBHOOK_SECRETS")
    Path(given.state).parent.mkdir(parents=True, exist_ok=True)
    server = Server(port=given.port, state=given.state, retry_seconds=given.retry_seconds)
    if given.webhook:
        server.listen(given.webhook, *secrets)
    for number in [signal.SIGTERM, signal.SIGINT]:
        signal.signal(number, lambda *_: Thread(target=server.shutdown).start())
    print(f"The local Stripe answers on {server.url}", flush=True)
    server.serve_until_closed()


if __name__ == "__main__":
    main()

"""A local Stripe, and what stands around it in tests: people at its pages, and our webhook door."""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import stripe
from django.conf import settings

from billing import gateway
from billing.stripe_sandbox.server import Server

SECRET = "whsec_of_the_tests"


def key() -> str:
    """Return an idempotency key that nobody has used."""
    return str(uuid4())


def sdk() -> Any:
    """Return the SDK itself, for what the gateway has no need of."""
    return stripe.StripeClient(
        settings.STRIPE_SECRET_KEY, base_addresses={"api": settings.STRIPE_API_BASE}
    ).v1


class Sandbox:
    """A local Stripe under control."""

    def __init__(self, server: Server) -> None:
        self.server, self.url = server, server.url

    def order(self, control: str, verb: str = "POST", /, **given: Any) -> dict[str, Any]:
        """Use a control: ``order("clock", seconds=60)``."""
        body = json.dumps(given).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/_sandbox/{control}",
            data=body if verb == "POST" else None,
            headers={"Content-Type": "application/json"},
            method=verb,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as refusal:
            raise AssertionError(refusal.read().decode()) from None

    def fail_next(self, path: str = "*", **fault: Any) -> None:
        self.order("faults", **fault, path=path)

    def events(self, *types: str) -> list[dict[str, Any]]:
        """Return the events so far, oldest first."""
        found = self.server.store.find("event", {"type": list(types)} if types else {})
        return found[::-1]

    def objects(self, kind: str) -> list[dict[str, Any]]:
        return self.server.store.find(kind, {})


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def visit(url: str, **form: str) -> tuple[int, str, str]:
    """Open a page or submit its form; return status, text, and where it sends the browser."""
    data = urllib.parse.urlencode(form).encode() if form else None
    opener = urllib.request.build_opener(NoRedirects)
    try:
        with opener.open(url, data=data, timeout=10) as response:
            return response.status, response.read().decode(), ""
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode(), answer.headers.get("Location", "")


class WebhookDoor(ThreadingHTTPServer):
    """Takes webhooks as our site does; ``answer`` may say otherwise to the n-th."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Delivery)
        self.received: list[tuple[bytes, str]] = []
        self.answer: Callable[[int], int] = lambda count: 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/stripe/webhook"

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in self.received]

    def ids(self) -> list[str]:
        return [json.loads(body)["id"] for body, _ in self.received]

    def wait_for(self, count: int) -> None:
        """Wait until so many were received, and that there are no more."""
        deadline = time.monotonic() + 5
        while len(self.received) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.03)
        assert len(self.received) == count, self.types()


class Delivery(BaseHTTPRequestHandler):
    server: WebhookDoor

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((body, self.headers["Stripe-Signature"]))
        self.send_response(self.server.answer(len(self.server.received)))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def webhook_door() -> Iterator[WebhookDoor]:
    with WebhookDoor() as door:
        thread = threading.Thread(target=door.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield door
        door.shutdown()
        thread.join()


# --- Scenes ---------------------------------------------------------------------------------------
def customer(**given: Any) -> gateway.Customer:
    return gateway.create_customer(
        email="ada@example.com", name="Ada", metadata={"user": "7"}, idempotency_key=key(), **given
    )


def pay(
    *, amount_minor: int = 1_000, currency: str = "usd", card: str = "pm_card_visa"
) -> gateway.PaymentIntent:
    return gateway.pay_off_session(
        customer=customer().id,
        payment_method=card,
        amount_minor=amount_minor,
        currency=currency,
        metadata={},
        idempotency_key=key(),
    )


def price(amount_minor: int = 1_999, interval: str = "month") -> str:
    product = gateway.create_product(name="Starter", metadata={}, idempotency_key=key())
    return gateway.create_price(
        product=product,
        amount_minor=amount_minor,
        currency="usd",
        interval=interval,
        metadata={},
        idempotency_key=key(),
    )


class Clocked:
    """A subscription on a test clock."""

    def __init__(self, *, price_id: str, card: str = "pm_card_visa", begins: int = 0) -> None:
        self.now = begins or int(time.time())
        given = {"frozen_time": self.now}
        self.clock = sdk().test_helpers.test_clocks.create(given)["id"]
        self.customer = sdk().customers.create(
            {"email": "ada@example.com", "test_clock": self.clock}
        )["id"]
        self.card = sdk().payment_methods.attach(card, {"customer": self.customer})["id"]
        self.id = sdk().subscriptions.create(
            {
                "customer": self.customer,
                "items": [{"price": price_id}],
                "default_payment_method": self.card,
            }
        )["id"]

    def advance_to(self, instant: int) -> None:
        clocks = sdk().test_helpers.test_clocks
        clocks.advance(self.clock, {"frozen_time": instant})
        while clocks.retrieve(self.clock)["status"] != "ready":
            time.sleep(1)
        self.now = instant

    def advance(self, *, days: int) -> None:
        self.advance_to(self.now + days * 86_400)

    def subscription(self) -> gateway.Subscription:
        return gateway.retrieve_subscription(self.id)

    def latest_invoice(self) -> gateway.Invoice:
        return gateway.retrieve_invoice(str(self.subscription().latest_invoice))

"""The controls of the local Stripe, where one runs beside the demo."""

import json
import time
import urllib.request
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings

from billing import gateway

CARD = "4242 4242 4242 4242"
SECONDS = 10


class LocalStripe:
    """A Stripe whose time can be moved, and which keeps its events back meanwhile."""

    def __init__(self) -> None:
        self.moved = 0

    def order(self, control: str, **given: Any) -> dict[str, Any]:
        """Use a control, as docs/stripe.md has them."""
        answer: dict[str, Any] = json.loads(
            ask(
                f"{settings.STRIPE_API_BASE}/_sandbox/{control}",
                json.dumps(given).encode(),
                "application/json",
            )
        )
        return answer

    def begin(self) -> None:
        """Forget all that ever happened there, and keep events back from now on."""
        self.reset()
        self.order("events/hold")

    def reset(self) -> None:
        self.order("reset")

    def move_to(self, at: datetime) -> None:
        """Let it be ``at`` there, or as it is if that is past; the first time it may be."""
        seconds = int(at.timestamp() - time.time()) - self.moved
        if seconds > 0 or not self.moved:
            self.move(seconds)

    def move_to_now(self) -> None:
        self.move(-self.moved)

    def move(self, seconds: int) -> None:
        self.order("clock", seconds=seconds)
        self.moved += seconds

    def release(self) -> None:
        """Send the events that were kept back."""
        self.order("events/release")

    def pay(self, page: str) -> None:
        """Pay on a page of the checkout, as a customer does."""
        ask(page, urlencode({"card_number": CARD}).encode(), "application/x-www-form-urlencoded")


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Of a page that sends the browser back to the site, which may not be up yet."""

    def http_error_303(self, request: Any, answer: Any, *more: Any) -> Any:
        return answer


# Past any proxy: nobody else can reach what is on loopback.
opener = urllib.request.build_opener(NoRedirects, urllib.request.ProxyHandler({}))


def ask(address: str, body: bytes | None = None, type: str = "") -> bytes:
    """:raises OSError: it does not answer, or refuses."""
    request = urllib.request.Request(address, data=body, headers={"Content-Type": type})  # noqa: S310
    with opener.open(request, timeout=SECONDS) as answer:
        content: bytes = answer.read()
    return content


def local_stripe() -> LocalStripe | None:
    """Return the local Stripe of this demo, if one answers."""
    is_near = gateway.is_near(settings.STRIPE_API_BASE)
    if not (settings.DEMO and settings.STRIPE_SECRET_KEY and is_near):
        return None
    try:
        ask(f"{settings.STRIPE_API_BASE}/_sandbox/state")
    except OSError:
        return None
    return LocalStripe()

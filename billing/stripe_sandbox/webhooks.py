"""Webhook endpoints, and the thread that sends events to them until they are taken."""

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from threading import Event, Thread
from typing import Any

import stripe

from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.routes import Params, listing, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox, public
from billing.stripe_sandbox.store import Object

SECONDS_TO_ANSWER = 10
TRIES = 16


# --- Endpoints ------------------------------------------------------------------------------------
@route(
    "POST",
    "/v1/webhook_endpoints",
    "WebhookEndpointCreateParams",
    "url enabled_events description metadata api_version",
)
def create_endpoint(sandbox: Sandbox, params: Params) -> Object:
    refuse_version(params.get("api_version"))
    return add_endpoint(sandbox, params.pop("url"), [sandbox.new_id("whsec")], **params)


def refuse_version(version: str | None) -> None:
    if version not in {None, stripe.api_version}:
        raise StripeError(
            f"The local Stripe speaks {stripe.api_version} only.", param="api_version"
        )


def add_endpoint(sandbox: Sandbox, url: str, secrets: list[str], **more: Any) -> Object:
    given = {"enabled_events": ["*"], "metadata": {}} | more | {"url": url, "status": "enabled"}
    return sandbox.add(stripe.WebhookEndpoint, "we", secret=secrets[0], _secrets=secrets, **given)


def listen(sandbox: Sandbox, url: str, secrets: list[str]) -> None:
    """Send all events to ``url`` from now on, also those that an earlier run did not get rid of."""
    known = sandbox.first("webhook_endpoint", _from_start=True)
    if known:
        sandbox.update(known, url=url, secret=secrets[0], _secrets=secrets)
    else:
        add_endpoint(sandbox, url, secrets, _from_start=True)


@route(
    "POST",
    "/v1/webhook_endpoints/{id}",
    "WebhookEndpointUpdateParams",
    "url enabled_events description metadata disabled",
)
def update_endpoint(sandbox: Sandbox, params: Params, id: str) -> Object:
    endpoint = sandbox.get("webhook_endpoint", id)
    if "disabled" in params:
        params["status"] = "disabled" if params.pop("disabled") else "enabled"
    return sandbox.update(endpoint, **params)


@route("DELETE", "/v1/webhook_endpoints/{id}", "WebhookEndpointDeleteParams")
def delete_endpoint(sandbox: Sandbox, params: Params, id: str) -> Object:
    sandbox.get("webhook_endpoint", id)
    sandbox.store.delete(id)
    return {"id": id, "object": "webhook_endpoint", "deleted": True}


retrieve("webhook_endpoint", "/v1/webhook_endpoints", "WebhookEndpointRetrieveParams")
listing("webhook_endpoint", "/v1/webhook_endpoints", "WebhookEndpointListParams")


# --- Deliveries -----------------------------------------------------------------------------------
def signature(body: str, secrets: list[str], at: int) -> str:
    """Return the header that proves ``body``: one signature for each secret that is in force."""
    signed = f"{at}.{body}".encode()
    proofs = [hmac.new(one.encode(), signed, hashlib.sha256).hexdigest() for one in secrets]
    return ",".join([f"t={at}", *(f"v1={proof}" for proof in proofs)])


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Courier(Thread):
    """Sends what is due, in the order in which it is, and does what time brings."""

    def __init__(self, sandbox: Sandbox, *, retry_seconds: float) -> None:
        super().__init__(daemon=True, name="courier")
        self.sandbox, self.retry_seconds = sandbox, retry_seconds
        self.wake, self.ending = Event(), False
        self.opener = urllib.request.build_opener(NoRedirects, urllib.request.ProxyHandler({}))

    def end(self) -> None:
        self.ending = True
        self.wake.set()
        self.join()

    def run(self) -> None:
        while not self.ending:
            self.wake.clear()
            self.let_time_pass()
            while self.deliver_one():
                if self.ending:
                    return
            self.wake.wait(min(1.0, self.retry_seconds))

    def let_time_pass(self) -> None:
        more = True
        while more and not self.ending:
            with self.sandbox.store.change():
                more = self.sandbox.run_due()

    def deliver_one(self) -> bool:
        """Send what is due first; say whether there was anything."""
        store = self.sandbox.store
        row = store.one(
            "SELECT id, event, endpoint, tries FROM deliveries WHERE state = 'waiting' AND due <= ?"
            " ORDER BY due, id LIMIT 1",
            self.sandbox.clock.real(),
        )
        if row is None:
            return False
        id, event, endpoint, tries = row
        answer = self.post(store.get(event), store.get(endpoint))
        with store.change():
            taken = answer.startswith("2")
            state = "done" if taken else "waiting" if tries + 1 < TRIES else "given up"
            store.db.execute(
                "UPDATE deliveries SET tries = tries + 1, state = ?, answer = ?, due = ?"
                " WHERE id = ?",
                [state, answer, self.sandbox.clock.real() + self.retry_seconds * 2**tries, id],
            )
            if taken:
                self.count_down(event)
        return True

    def count_down(self, event: str) -> None:
        if found := self.sandbox.store.get(event):
            self.sandbox.update(found, pending_webhooks=max(0, found["pending_webhooks"] - 1))

    def post(self, event: Object | None, endpoint: Object | None) -> str:
        """Send an event once; return the status it was answered with, or why there is none."""
        if event is None or endpoint is None:
            return "200 nobody listens any more"
        body = json.dumps(public(event), indent=2)
        request = urllib.request.Request(  # noqa: S310
            endpoint["url"],
            data=body.encode(),
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                "Stripe-Signature": signature(body, endpoint["_secrets"], int(time.time())),
            },
        )
        try:
            with self.opener.open(request, timeout=SECONDS_TO_ANSWER) as response:
                return str(response.status)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return str(refusal.code)
        except (OSError, ValueError) as failure:
            return f"no answer: {failure}"

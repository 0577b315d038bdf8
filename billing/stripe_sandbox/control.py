"""
Control, under `/_sandbox/`: what a test or a person does that Stripe, banks and time do.

Bodies and answers are JSON. docs/stripe.md has the table.
"""

import inspect
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from billing.stripe_sandbox import disputes, events, faults, payment_intents, refunds, webhooks
from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.payment_methods import behave_as
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object

if TYPE_CHECKING:
    from billing.stripe_sandbox.server import Server

Given = dict[str, Any]
Command = Callable[..., Object]
COMMANDS: list[tuple[str, re.Pattern[str], Command]] = []
TEN_YEARS = 10 * 366 * 86_400
SOMETHING_IS_THERE = "SELECT 1 FROM objects WHERE kind <> 'webhook_endpoint' LIMIT 1"
TABLES = ["objects", "answers", "deliveries", "timers", "rules", "facts"]


def command(method: str, path: str) -> Callable[[Command], Command]:
    def register(function: Command) -> Command:
        pattern = re.compile("/_sandbox/" + re.sub(r"\{[^}]*\}", r"([^/]+)", path))
        COMMANDS.append((method, pattern, function))
        return function

    return register


def perform(server: "Server", method: str, path: str, given: Given) -> Object:
    """:raises StripeError: there is no such command, or it does not take this."""
    for wanted, pattern, function in COMMANDS:
        if wanted == method and (match := pattern.fullmatch(path)):
            try:
                call = inspect.signature(function).bind(server.sandbox, *match.groups(), **given)
            except TypeError as mistake:
                raise StripeError(f"{method} {path} does not take this: {mistake}") from None
            return function(*call.args, **call.kwargs)
    raise StripeError(f"There is no control {method} {path}.", status=404)


# --- Faults and events ----------------------------------------------------------------------------
@command("POST", "faults")
def order_fault(sandbox: Sandbox, **rule: Any) -> Object:
    read = faults.read_rule(rule)
    sandbox.store.add_rule("fault", read)
    return read


@command("DELETE", "faults")
def forget_faults(sandbox: Sandbox) -> Object:
    return forget_rules(sandbox, "fault")


@command("POST", "events/rules")
def order_events(
    sandbox: Sandbox,
    *,
    effect: str,
    types: list[str] | None = None,
    seconds: float = 0,
    copies: int = 1,
    times: int | None = None,
) -> Object:
    """Lose, delay or duplicate events of these types: the next ``times``, or all."""
    if effect not in events.EFFECTS:
        raise StripeError(f"Events can be told to {', '.join(sorted(events.EFFECTS))}.")
    rule = {"effect": effect, "types": types or ["*"], "seconds": seconds}
    rule |= {"copies": copies, "times": times}
    sandbox.store.add_rule("event", rule)
    return rule


@command("DELETE", "events/rules")
def forget_event_rules(sandbox: Sandbox) -> Object:
    return forget_rules(sandbox, "event")


def forget_rules(sandbox: Sandbox, of: str) -> Object:
    found = sandbox.store.rules(of)
    for id, _ in found:
        sandbox.store.change_rule(id, None)
    return {"forgotten": len(found)}


@command("POST", "events/hold")
def hold_events(sandbox: Sandbox) -> Object:
    """Keep events back until they are released."""
    sandbox.store.set_fact("events held", True)
    return {"held": True}


@command("POST", "events/release")
def release_events(sandbox: Sandbox, *, order: str | list[str] = "kept", seed: int = 0) -> Object:
    """Send what was held: in the order kept, reversed, shuffled by a seed, or in that of a list."""
    rows = sandbox.store.all("SELECT id, event FROM deliveries WHERE state = 'held' ORDER BY id")
    if isinstance(order, list):
        rows = sorted((row for row in rows if row[1] in order), key=lambda row: order.index(row[1]))
    elif order == "reversed":
        rows.reverse()
    elif order == "shuffled":
        random.Random(seed).shuffle(rows)  # noqa: S311
    due = sandbox.clock.real()
    for place, (id, _) in enumerate(rows):
        sandbox.store.db.execute(
            "UPDATE deliveries SET state = 'waiting', due = ? WHERE id = ?",
            [due + place * 1e-5, id],
        )
    sandbox.store.set_fact("events held", False)
    return {"released": [event for _, event in rows]}


@command("POST", "events/{id}/send")
def send_event(sandbox: Sandbox, id: str) -> Object:
    """Send an event again, or one that was lost after all."""
    event = sandbox.get("event", id)
    now = sandbox.clock.real()
    listeners = [one for one in events.endpoints(sandbox) if events.listens(one, event["type"])]
    for endpoint in listeners:
        events.send(sandbox, id, endpoint["id"], due=now, state="waiting")
    return {"sent": len(listeners)}


@command("GET", "deliveries")
def list_deliveries(sandbox: Sandbox) -> Object:
    rows = sandbox.store.all(
        "SELECT event, endpoint, tries, state, answer FROM deliveries ORDER BY id"
    )
    names = ["event", "endpoint", "tries", "state", "answer"]
    return {"deliveries": [dict(zip(names, row, strict=True)) for row in rows]}


@command("POST", "webhook")
def set_webhook(sandbox: Sandbox, *, url: str, secrets: list[str]) -> Object:
    """Send events there, signed with each of the secrets: two while one follows the other."""
    webhooks.listen(sandbox, url, secrets)
    return {"url": url}


# --- What banks and cardholders do ----------------------------------------------------------------
@command("POST", "disputes")
def dispute(
    sandbox: Sandbox,
    *,
    payment_intent: str,
    reason: str = "fraudulent",
    amount: int | None = None,
) -> Object:
    intent = sandbox.get("payment_intent", payment_intent)
    charge = sandbox.get("charge", intent["latest_charge"] or "")
    return disputes.open_dispute(sandbox, charge, reason=reason, amount=amount)


@command("POST", "disputes/{id}")
def decide_dispute(sandbox: Sandbox, id: str, *, outcome: str) -> Object:
    return disputes.decide(sandbox, sandbox.get("dispute", id), one_of(outcome, ["won", "lost"]))


@command("POST", "refunds/{id}")
def decide_refund(sandbox: Sandbox, id: str, *, outcome: str) -> Object:
    if one_of(outcome, ["succeeded", "failed"]) == "failed":
        refunds.fail(sandbox, id)
    else:
        refunds.settle(sandbox, id)
    return sandbox.get("refund", id)


@command("POST", "payment_intents/{id}")
def decide_payment(sandbox: Sandbox, id: str, *, outcome: str) -> Object:
    """Pass or fail the authentication that is asked for, or a payment that is under way."""
    intent = sandbox.get("payment_intent", id)
    succeeds = one_of(outcome, ["succeeded", "failed"]) == "succeeded"
    if intent["status"] == "processing":
        return payment_intents.complete(sandbox, intent, succeeds=succeeds)
    return payment_intents.authenticate(sandbox, intent, succeeds=succeeds)


@command("POST", "payment_methods/{id}")
def change_card(sandbox: Sandbox, id: str, *, number: str) -> Object:
    return behave_as(sandbox, sandbox.get("payment_method", id), number)


def one_of(word: str, words: list[str]) -> str:
    if word not in words:
        raise StripeError(f"It is one of {', '.join(words)}.")
    return word


# --- Time and settings ----------------------------------------------------------------------------
@command("POST", "clock")
def move_clock(sandbox: Sandbox, *, seconds: int) -> Object:
    """Move all time ahead, and do what falls due on the way; back before there is anything."""
    if not -TEN_YEARS <= seconds <= TEN_YEARS:
        raise StripeError("Time moves by ten years at most at once.")
    if seconds < 0 and sandbox.store.one(SOMETHING_IS_THERE):
        raise StripeError("Time moves back only before anything has happened.")
    sandbox.store.set_fact("ahead", sandbox.store.fact("ahead", 0) + seconds)
    while sandbox.run_due():
        pass
    return {"now": sandbox.clock.now()}


@command("POST", "settings")
def change_settings(
    sandbox: Sandbox, *, tax_percent: int | None = None, after_retries: str | None = None
) -> Object:
    """Set the tax of what is taxed automatically, and what follows the last retry of a renewal."""
    if tax_percent is not None:
        sandbox.store.set_fact("tax percent", tax_percent)
    if after_retries is not None:
        known = ["unpaid", "canceled", "past_due"]
        sandbox.store.set_fact("after retries", one_of(after_retries, known))
    return show_state(sandbox)


@command("GET", "state")
def show_state(sandbox: Sandbox) -> Object:
    counts = dict(sandbox.store.all("SELECT kind, count(*) FROM objects GROUP BY kind"))
    deliveries = dict(sandbox.store.all("SELECT state, count(*) FROM deliveries GROUP BY state"))
    return {
        "now": sandbox.clock.now(),
        "objects": counts,
        "deliveries": deliveries,
        "tax_percent": sandbox.store.fact("tax percent", 0),
        "after_retries": sandbox.store.fact("after retries", "unpaid"),
    }


@command("POST", "reset")
def reset(sandbox: Sandbox) -> Object:
    """Forget everything but where events go."""
    kept = sandbox.store.find("webhook_endpoint", {"_from_start": True})
    sandbox.store.clear(TABLES)
    for endpoint in kept:
        sandbox.store.save(endpoint)
    return {"reset": True}

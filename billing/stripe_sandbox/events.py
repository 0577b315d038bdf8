"""Events: recorded with what they tell of, and sent to the endpoints that listen, or as ordered."""

from fnmatch import fnmatch

import stripe

from billing.stripe_sandbox.routes import page, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox, public
from billing.stripe_sandbox.store import Object

EFFECTS = {"lose", "delay", "duplicate"}


def emit(sandbox: Sandbox, type: str, item: Object, *, previous: Object | None = None) -> None:
    """Record an event about ``item`` as it is now, and send it to who listens."""
    data: Object = {"object": public(item)}
    if previous is not None:
        data["previous_attributes"] = previous
    listeners = [one for one in endpoints(sandbox) if listens(one, type)]
    event = sandbox.add(
        stripe.Event,
        "evt",
        api_version=stripe.api_version,
        created=sandbox.clock.now(),
        data=data,
        pending_webhooks=len(listeners),
        type=type,
        request={"id": None, "idempotency_key": None},
    )
    for endpoint in listeners:
        enqueue(sandbox, event, endpoint["id"])


def endpoints(sandbox: Sandbox) -> list[Object]:
    return sandbox.store.find("webhook_endpoint", {"status": "enabled"})


def listens(endpoint: Object, type: str) -> bool:
    return "*" in endpoint["enabled_events"] or type in endpoint["enabled_events"]


def enqueue(sandbox: Sandbox, event: Object, endpoint: str) -> None:
    """Put an event on its way; a rule about its type may lose, delay or double it."""
    due, copies = sandbox.clock.real(), 1
    for id, rule in sandbox.store.rules("event"):
        if not any(fnmatch(event["type"], pattern) for pattern in rule["types"]):
            continue
        if rule["effect"] == "lose":
            copies = 0
        elif rule["effect"] == "delay":
            due += rule["seconds"]
        else:
            copies *= 1 + rule["copies"]
        use_up(sandbox, id, rule)
    state = "held" if sandbox.store.fact("events held", False) else "waiting"
    for _ in range(copies):
        send(sandbox, event["id"], endpoint, due=due, state=state)
    if not copies:
        send(sandbox, event["id"], endpoint, due=due, state="lost")


def use_up(sandbox: Sandbox, id: int, rule: Object) -> None:
    """Count one use of a rule; the last one ends it."""
    if rule["times"] is not None:
        left = rule["times"] - 1
        sandbox.store.change_rule(id, {**rule, "times": left} if left else None)


def send(sandbox: Sandbox, event: str, endpoint: str, *, due: float, state: str) -> None:
    sandbox.store.db.execute(
        "INSERT INTO deliveries (event, endpoint, due, state) VALUES (?, ?, ?, ?)",
        [event, endpoint, due, state],
    )


@route(
    "GET", "/v1/events", "EventListParams", "created limit starting_after ending_before type types"
)
def list_events(sandbox: Sandbox, params: Object) -> Object:
    wanted = params.get("types") or ([params["type"]] if "type" in params else [])
    return page(sandbox, "event", "/v1/events", params, {"type": wanted} if wanted else {})


retrieve("event", "/v1/events", "EventRetrieveParams")

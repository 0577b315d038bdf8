"""Test clocks: time of its own for the customers made on one."""

import stripe

from billing.stripe_sandbox.clock import DAY
from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.routes import Params, listing, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object

CLOCKS = "/v1/test_helpers/test_clocks"


@route("POST", CLOCKS, "test_helpers.TestClockCreateParams", "frozen_time name")
def create_clock(sandbox: Sandbox, params: Params) -> Object:
    clock = sandbox.add(
        stripe.test_helpers.TestClock,
        "clock",
        deletes_after=sandbox.clock.now() + 30 * DAY,
        frozen_time=params["frozen_time"],
        name=params.get("name"),
        status="ready",
        status_details={},
    )
    emit(sandbox, "test_helpers.test_clock.created", clock)
    return clock


@route("POST", f"{CLOCKS}/{{id}}/advance", "test_helpers.TestClockAdvanceParams", "frozen_time")
def advance_clock(sandbox: Sandbox, params: Params, id: str) -> Object:
    """Move a clock ahead and do what falls due on the way; unlike Stripe's, it is ready at once."""
    clock = sandbox.get("test_helpers.test_clock", id)
    if params["frozen_time"] <= clock["frozen_time"]:
        raise StripeError("A test clock only moves ahead.", param="frozen_time")
    sandbox.update(clock, frozen_time=params["frozen_time"])
    while sandbox.run_due(id):
        pass
    emit(sandbox, "test_helpers.test_clock.ready", clock)
    return clock


retrieve("test_helpers.test_clock", CLOCKS, "test_helpers.TestClockRetrieveParams")
listing("test_helpers.test_clock", CLOCKS, "test_helpers.TestClockListParams")

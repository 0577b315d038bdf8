"""The one account."""

import stripe

from billing.stripe_sandbox.contract import complete
from billing.stripe_sandbox.routes import Params, route
from billing.stripe_sandbox.sandbox import ACCOUNT, Sandbox
from billing.stripe_sandbox.store import Object


@route("GET", "/v1/account", "AccountRetrieveCurrentParams")
def retrieve_account(sandbox: Sandbox, params: Params) -> Object:
    given = {"id": ACCOUNT, "object": "account", "country": "ZA", "default_currency": "zar"}
    return complete(stripe.Account, {**given, "charges_enabled": True, "details_submitted": True})

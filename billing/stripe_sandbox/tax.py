"""Tax, where it is calculated automatically: one rate for all, set by control, on top of prices."""

from billing.stripe_sandbox.money import share
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object


def tax_on(sandbox: Sandbox, amount: int, automatic_tax: Object) -> int:
    percent = sandbox.store.fact("tax percent", 0) if automatic_tax["enabled"] else 0
    return share(amount, percent, 100)


def automatic(enabled: bool, **more: object) -> Object:
    return {"enabled": enabled, "liability": {"type": "self"} if enabled else None} | more


def calculated(enabled: bool, **more: object) -> Object:
    """Return the same with its result, as checkouts and invoices show it."""
    result = ("stripe", "complete") if enabled else (None, None)
    return automatic(enabled) | {"provider": result[0], "status": result[1]} | more


def shown_tax(sandbox: Sandbox, amount: int, tax: int) -> list[Object]:
    """Return the taxes of a line or an invoice, as both show them."""
    if not tax:
        return []
    return [
        {
            "amount": tax,
            "tax_behavior": "exclusive",
            "tax_rate_details": {"tax_rate": "txr_sandbox"},
            "taxability_reason": "standard_rated",
            "taxable_amount": amount,
            "type": "tax_rate_details",
        }
    ]

"""
Faults on order: the n-th call from now that matches is answered wrongly, late, or not at all.

``before`` is before anything is done. ``after`` is when all is done and kept: the caller does not
learn of it, and the same key is answered rightly. ``after`` and ``kept`` is what Stripe says of
its own 500s: the key is answered so for a day, although all was done.
"""

from fnmatch import fnmatch
from typing import Any

from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.events import use_up
from billing.stripe_sandbox.sandbox import Sandbox

EFFECTS = {"error", "timeout", "disconnect", "delay"}
ERRORS: dict[int, dict[str, Any]] = {
    429: {"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests."},
    500: {"type": "api_error", "message": "An unknown error occurred."},
}


def fault_of(sandbox: Sandbox, method: str, path: str) -> dict[str, Any] | None:
    """Return the fault that this call is to meet, and count it."""
    for id, rule in sandbox.store.rules("fault"):
        if not (rule["method"] in {"*", method} and fnmatch(path, rule["path"])):
            continue
        if rule["nth"] > 1:
            sandbox.store.change_rule(id, {**rule, "nth": rule["nth"] - 1})
            continue
        use_up(sandbox, id, rule)
        return rule
    return None


def answer_of(fault: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    status = fault["status"]
    return status, {"error": ERRORS.get(status, ERRORS[500])}


def read_rule(given: dict[str, Any]) -> dict[str, Any]:
    """:raises StripeError: it is no fault that we know."""
    rule = {
        "method": "*",
        "path": "*",
        "nth": 1,
        "times": 1,
        "effect": "error",
        "status": 500,
        "when": "before",
        "kept": False,
        "seconds": 15,
    } | given
    wrong = set(rule) - set(FAULT_FIELDS)
    if wrong or rule["effect"] not in EFFECTS or rule["when"] not in {"before", "after"}:
        raise StripeError(f"This is no fault: {given}")
    return rule


FAULT_FIELDS = ["method", "path", "nth", "times", "effect", "status", "when", "kept", "seconds"]

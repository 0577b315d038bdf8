"""The fields that a request asks to see whole: ``expand[]=latest_charge.balance_transaction``."""

from collections.abc import Callable
from typing import Any

from billing.stripe_sandbox.errors import StripeError
from billing.stripe_sandbox.sandbox import Sandbox
from billing.stripe_sandbox.store import Object

# Lists that are there only when asked for.
LISTS: dict[tuple[str, str], Callable[[Sandbox, Object], Object]] = {}


def expand(sandbox: Sandbox, answer: Object, paths: list[str]) -> Object:
    """Return ``answer`` with what the ``paths`` name in place of ids."""
    for path in paths:
        names = path.split(".")
        if len(names) > 5 or not expanded(sandbox, answer, names):
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand")
    return answer


def expanded(sandbox: Sandbox, item: Any, names: list[str]) -> bool:
    if item is None:
        return True
    if isinstance(item, list):
        return not [one for one in item if not expanded(sandbox, one, names)]
    if not isinstance(item, dict):
        return False
    if not names:
        return "object" in item
    name, *rest = names
    if whole := LISTS.get((item.get("object", ""), name)):
        item[name] = whole(sandbox, item)
    if name not in item:
        return False
    if isinstance(item[name], str):
        item[name] = sandbox.store.get(item[name])
        if item[name] is None:
            return False
    return expanded(sandbox, item[name], rest)

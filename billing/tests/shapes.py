"""Whether objects are as the pinned SDK says that Stripe's are: its fields, and their types."""

import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar, ForwardRef, Literal, Union, get_args, get_origin

import stripe
from stripe import ListObject, StripeObject

PLAIN = {int: int, str: str, bool: bool, float: float | int, Decimal: str}


def differences(kind: Any, value: Any, path: str) -> Iterator[str]:
    """Yield what ``value`` has or lacks that ``kind`` says otherwise of."""
    if isinstance(kind, ForwardRef):
        kind = named(kind.__forward_arg__)
    origin = get_origin(kind)
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind is int and isinstance(value, bool)):
            yield f"{path} is {value!r}"
    elif origin is Union or origin is type(int | str):
        yield from none_fits(get_args(kind), value, path)
    elif origin is Literal:
        if value not in get_args(kind):
            yield f"{path} is {value!r}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path} is no list"
        else:
            for place, one in enumerate(value):
                yield from differences(get_args(kind)[0], one, f"{path}[{place}]")
    elif origin is ListObject:
        yield from differences(list[get_args(kind)[0]], value["data"], f"{path}.data")
    elif isinstance(kind, type) and issubclass(kind, StripeObject) and own_fields(kind):
        yield from of_object(kind, value, path)


def none_fits(arms: tuple[Any, ...], value: Any, path: str) -> Iterator[str]:
    """Words of a list are taken at their word: the SDK lets any other string pass beside them."""
    if value is None and type(None) in arms:
        return
    strict = [arm for arm in arms if get_origin(arm) is Literal and isinstance(value, str)]
    tried = [list(differences(arm, value, path)) for arm in strict or arms if arm is not type(None)]
    if all(tried):
        yield from min(tried, key=len)


def of_object(kind: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r}"
        return
    fields = own_fields(kind)
    yield from (f"{path}.{name} is unknown" for name in value.keys() - fields.keys())
    for name, hint in fields.items():
        if name in value:
            yield from differences(hint, value[name], f"{path}.{name}")
        elif type(None) not in get_args(hint):
            yield f"{path}.{name} is missing"


def own_fields(kind: Any) -> dict[str, Any]:
    hints = vars(kind).get("__annotations__", {})
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}


def named(name: str) -> Any:
    """Return a class of the SDK by the name that its modules know it by."""
    aliases = {"CardResource": "Card", "DisputeResource": "Dispute", "DiscountResource": "Discount"}
    for module in [stripe, stripe.test_helpers, stripe.checkout, stripe.billing_portal]:
        if found := getattr(module, aliases.get(name, name), None):
            return found
    return sys.intern  # Nothing that the local Stripe has.


KINDS = {
    kind.OBJECT_NAME: kind
    for kind in [
        stripe.BalanceTransaction,
        stripe.Charge,
        stripe.Customer,
        stripe.Dispute,
        stripe.Event,
        stripe.Invoice,
        stripe.InvoicePayment,
        stripe.PaymentIntent,
        stripe.PaymentMethod,
        stripe.Price,
        stripe.Product,
        stripe.Refund,
        stripe.SetupIntent,
        stripe.Subscription,
        stripe.WebhookEndpoint,
        stripe.billing_portal.Session,
        stripe.checkout.Session,
        stripe.test_helpers.TestClock,
    ]
}

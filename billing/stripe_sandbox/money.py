"""Amounts as Stripe takes them: integers in the smallest unit of a supported currency."""

from billing.stripe_sandbox.errors import StripeError
from creditsite.money import format_money, is_currency

LARGEST = 99_999_999
# Stripe counts these finer than they are paid: amounts of them are whole in such steps.
STEPS = dict.fromkeys(["isk", "ugx"], 100) | dict.fromkeys(["bhd", "jod", "kwd", "omr", "tnd"], 10)
SMALLEST = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "zar": 1}


def check_currency(currency: str) -> str:
    """Return the currency in lower case; :raises StripeError: there is none of that name."""
    if not is_currency(currency.lower()):
        raise StripeError(f"Invalid currency: {currency}.", param="currency")
    return currency.lower()


def check_price(amount: int, currency: str) -> int:
    """:raises StripeError: nothing can have this price."""
    if amount < 0:
        raise StripeError("Invalid non-negative integer", param="unit_amount")
    if amount > LARGEST:
        raise StripeError("Amount is too large.", code="amount_too_large", param="amount")
    if amount % STEPS.get(currency, 1):
        raise StripeError(
            f"Amounts of {currency} are multiples of {STEPS[currency]}.", param="amount"
        )
    return amount


def check_amount(amount: int, currency: str) -> int:
    """:raises StripeError: so much cannot be charged."""
    if amount < (least := SMALLEST.get(currency, 1)):
        raise StripeError(
            f"Amount must be at least {format_money(least, currency)}.",
            code="amount_too_small",
            param="amount",
        )
    return check_price(amount, currency)


def share(amount: int, part: int, whole: int) -> int:
    """Return ``amount × part ÷ whole``, rounded half away from zero."""
    rounded = (2 * abs(amount) * part + whole) // (2 * whole)
    return rounded if amount >= 0 else -rounded

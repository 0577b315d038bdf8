"""The forms that put packages and plans on sale and change them."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.models import User
from billing.admin.lines import LinesField, lines_of, money_lines, money_text, price_text
from billing.choices import Interval, OfferKind
from billing.models import Offer, OfferVersion
from billing.queries.offers import newest_version
from billing.services import offers
from billing.services.offers import LONGEST_NAME, Price, Terms, terms_of
from creditsite.adminkit import (
    AsciiIntegerField,
    ConfirmationForm,
    SignedAsciiIntegerField,
    TextField,
)
from creditsite.errors import InvalidRequest
from ledger.models.settings import MOST_CREDITS

PRICES = {
    OfferKind.PACKAGE: "A line for each currency, without tax: USD 19.99",
    OfferKind.PLAN: (
        "A line for each currency, without tax: the price of a month, and if there is one that of a"
        " year: USD 19.99 199.90"
    ),
}


def prices_in(text: str, kind: str) -> list[Price]:
    """
    Return the prices that lines say: a package's one, a plan's of a month and of a year.

    :raises InvalidRequest: it says what is wrong.
    """
    intervals = [""] if kind == OfferKind.PACKAGE else [Interval.MONTH.value, Interval.YEAR.value]
    prices = []
    for currency, amounts in money_lines(text):
        if not 1 <= len(amounts) <= len(intervals):
            least = "one price" if len(intervals) == 1 else "one price or two"
            raise InvalidRequest(f"{currency.upper()} has {least}.")
        named = zip(intervals, amounts, strict=False)
        prices += [Price(currency, interval, amount) for interval, amount in named]
    return prices


def prices_as_lines(prices: list[Price]) -> str:
    """Return what ``prices_in`` reads."""
    by_currency: dict[str, list[int]] = {}
    # "month" sorts before "year".
    for price in sorted(prices):
        by_currency.setdefault(price.currency, []).append(price.amount_minor)
    return money_text(by_currency.items())


class TermsForm(ConfirmationForm):
    """What an offer is and costs."""

    name = TextField(max_length=LONGEST_NAME, help_text="As users read it.")
    credits = AsciiIntegerField(
        min_value=1, max_value=MOST_CREDITS, help_text="Of a plan: every month."
    )
    prices = LinesField(
        rows=3,
        help_text="A line for each currency, without tax: USD 19.99. Of a plan the price of a"
        " month, and of a year if it has one: USD 19.99 199.90",
    )
    features = LinesField(
        required=False, rows=5, help_text="What comes with it, a label on each line."
    )
    rollover_cap = AsciiIntegerField(
        label="unspent credits that stay",
        required=False,
        min_value=0,
        max_value=MOST_CREDITS,
        help_text="Of a plan, when the next month's credits come: at most so many. 0: none stay,"
        " empty: all.",
    )
    position = SignedAsciiIntegerField(
        min_value=-100_000, max_value=100_000, initial=0, help_text="Lower ones are listed first."
    )

    def kind_of(self) -> str:
        raise NotImplementedError

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        if "prices" not in given:
            return
        try:
            self.read_prices = prices_in(given["prices"], self.kind_of())
        except InvalidRequest as refusal:
            self.add_error("prices", str(refusal))

    def terms(self) -> Terms:
        given = self.cleaned_data
        return Terms(
            name=given["name"],
            credits=given["credits"],
            features=lines_of(given["features"]),
            prices=self.read_prices,
            rollover_cap=given["rollover_cap"],
        )


class NewOfferForm(TermsForm):
    title, button = "Put an offer on sale", "Put on sale"
    code = TextField(
        max_length=40,
        help_text="Such as starter: small letters, digits, hyphens. Never changes.",
    )
    kind = forms.ChoiceField(choices=OfferKind.choices)
    field_order = ["code", "kind"]

    def kind_of(self) -> str:
        return self.cleaned_data.get("kind", "")

    def changes(self) -> list[str]:
        return [
            "It is on sale at once, for everybody, at every door.",
            "A package has one price in a currency; a plan one for a month and, if there is one,"
            " one for a year.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        given = self.cleaned_data
        try:
            offer = offers.create_offer(
                code=given["code"],
                kind=OfferKind(given["kind"]),
                position=given["position"],
                terms=self.terms(),
                actor=actor,
                at=at,
                reason=given["reason"],
            )
        except ValidationError as wrong:
            raise InvalidRequest(" ".join(wrong.messages)) from wrong
        return f"{offer} is on sale."


class EditForm(TermsForm):
    """A new version; the number of the one that the page showed goes with it."""

    title, button = "Sell it otherwise", "Make a new version"
    version = AsciiIntegerField(min_value=1, max_value=2**31 - 1, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.newest: OfferVersion = newest_version(self.object)
        shown = terms_of(self.newest)
        self.fields["prices"].help_text = PRICES[self.object.kind]
        for name, value in {
            "version": self.newest.number,
            "name": shown.name,
            "credits": shown.credits,
            "prices": prices_as_lines(list(shown.prices)),
            "features": "\n".join(shown.features),
            "rollover_cap": shown.rollover_cap,
            "position": self.object.position,
        }.items():
            self.fields[name].initial = value

    def kind_of(self) -> str:
        return self.object.kind

    def changes(self) -> list[str]:
        prices = [
            price_text(price.amount_minor, price.currency, price.interval)
            for price in terms_of(self.newest).prices
        ]
        return [
            f"Sold now, as version {self.newest.number}: {self.newest.name},"
            f" {self.newest.credits:,} credits for {', '.join(prices)}.",
            "The new version is sold from now on. Who bought it or subscribes keeps theirs.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        version = offers.change_offer(
            offer=self.object,
            terms=self.terms(),
            position=self.cleaned_data["position"],
            version=self.cleaned_data["version"],
            actor=actor,
            at=at,
            reason=self.cleaned_data["reason"],
        )
        return f"{self.object} is sold as version {version.number}."


class RetireForm(ConfirmationForm):
    title, is_dangerous = "Take it off sale", True

    def changes(self) -> list[str]:
        return [
            f"{self.object} is sold no longer, at any door.",
            "Credits that were bought with it stay, and subscriptions to it go on.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        offers.retire_offer(offer=self.object, actor=actor, at=at, reason=reason)
        return f"{self.object} is off sale."


class RestoreForm(ConfirmationForm):
    title = "Put it on sale again"

    def changes(self) -> list[str]:
        offer: Offer = self.object
        return [f"{offer} is sold again, as version {newest_version(offer).number}."]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        offers.restore_offer(offer=self.object, actor=actor, at=at, reason=reason)
        return f"{self.object} is on sale again."

"""The forms by which staff change, end and keep subscriptions of users."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.functional import cached_property

from accounts.models import User
from billing.choices import ChangeKind, ChangeStatus, OfferKind
from billing.models import OfferPrice, Slice, Subscription, SubscriptionChange
from billing.queries.offers import sold
from billing.services import subscription_changes
from billing.services.slices import due_slices
from billing.services.subscription_staff import change_for_user, change_plan_for_user, post_due
from creditsite.adminkit import ConfirmationForm
from creditsite.errors import CreditsiteError
from creditsite.money import format_money


def priced(price: OfferPrice | None) -> str:
    """Name a price: "Starter, 19.99 USD a month"."""
    if price is None:
        return "an unknown plan"
    amount = format_money(price.amount_minor, price.currency)
    return f"{price.version.name}, {amount} a {price.interval}"


def said(change: SubscriptionChange, done: str) -> str:
    if change.status == ChangeStatus.WAITING:
        return "Stripe has not answered yet. It is tried again by itself."
    return done


class SubscriptionForm(ConfirmationForm):
    """A form whose act is a call to Stripe, and so is no part of a transaction."""

    is_atomic = False
    change: ClassVar[Callable[..., SubscriptionChange]]
    done: ClassVar[str]

    def apply(self, *, actor: User, at: datetime) -> str:
        change = change_for_user(
            self.change,
            subscription=self.object,
            reason=self.cleaned_data["reason"],
            actor=actor,
            idempotency_key=self.idempotency_key,
        )
        return said(change, self.done)


class CancelForm(SubscriptionForm):
    title = "Cancel with the period"
    change = staticmethod(subscription_changes.cancel_at_period_end)
    done = "It ends with the period that is paid for."

    def changes(self) -> list[str]:
        end = self.object.period_end
        until = f"{end:%Y-%m-%d %H:%M} UTC" if end else "the end of the period"
        return [
            f"{self.object} goes on until {until}, and is not paid for after that.",
            "Credits that are paid for still come. It can be taken back until then.",
        ]


class KeepForm(SubscriptionForm):
    title = "Take the cancellation back"
    change = staticmethod(subscription_changes.keep_subscription)
    done = "It goes on."

    def changes(self) -> list[str]:
        return [f"{self.object} goes on, and renews by itself as before."]


class EndForm(SubscriptionForm):
    title = "End now"
    is_dangerous = True
    change = staticmethod(subscription_changes.end_now)
    done = "It has ended."

    @property
    def phrase(self) -> str:
        return f"END {self.object.pk}"

    def changes(self) -> list[str]:
        return [
            f"{self.object} ends at once and cannot be taken up again: they would subscribe anew.",
            "Nothing is refunded, and credits that are paid for still come. Refund the payment to"
            " take them back.",
        ]


class ChangePlanForm(ConfirmationForm):
    """Another plan: now for the difference, or with the next period."""

    title = "Change plan"
    is_atomic = False
    price = forms.ChoiceField(label="Plan")

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        current: OfferPrice = objects[0].price
        self.prices = {
            str(price.pk): price
            for each in sold()
            if each.offer.kind == OfferKind.PLAN
            for price in each.prices
            if price.currency == current.currency and price != current
        }
        if objects[0].next_price:
            self.prices[str(current.pk)] = current
        super().__init__(data, objects=objects, **kwargs)
        choices = [(key, priced(price)) for key, price in self.prices.items()]
        cast("forms.ChoiceField", self.fields["price"]).choices = [("", "–"), *choices]

    @property
    def chosen(self) -> OfferPrice | None:
        """What is chosen so far."""
        return self.prices.get(str(self.data.get("price", ""))) if self.is_bound else None

    @property
    def phrase(self) -> str:
        """What charges a card of somebody else is typed, below the sum."""
        try:
            is_dearer = self.chosen and (
                subscription_changes.kind_of_change(self.object, self.chosen) == ChangeKind.UPGRADE
            )
        except CreditsiteError:
            return ""
        return (
            f"CHANGE TO {self.chosen.version.offer.code.upper()}"
            if self.chosen and is_dearer
            else ""
        )

    def clean_price(self) -> OfferPrice:
        return self.prices[self.cleaned_data["price"]]

    @cached_property
    def preview(self) -> subscription_changes.Preview:
        """:raises CreditsiteError: it cannot be changed so, or Stripe does not answer."""
        return subscription_changes.preview_change(
            subscription=self.object, price=cast("OfferPrice", self.chosen), at=timezone.now()
        )

    def clean(self) -> dict[str, Any]:
        """Ask Stripe what it would cost before it is done: what cannot be is an error here."""
        given = super().clean() or {}
        if "price" in given:
            try:
                _ = self.preview
            except CreditsiteError as refusal:
                raise ValidationError(str(refusal)) from refusal
        return given

    def changes(self) -> list[str]:
        lines = [f"They are on {priced(self.object.price)}."]
        try:
            preview = self.preview if self.chosen else None
        except CreditsiteError:
            return lines
        if preview is None:
            return [
                *lines,
                "A plan that costs more begins now: the difference for the rest of the period is"
                " charged to their card. The sum is shown before that is done.",
                "One that costs less begins with the next period.",
            ]
        if preview.kind != ChangeKind.UPGRADE:
            return [
                *lines,
                f"From {preview.takes_effect_at:%Y-%m-%d %H:%M} UTC on: {priced(self.chosen)}.",
            ]
        due = format_money(preview.due_minor, preview.currency)
        return [
            *lines,
            f"From now on: {priced(self.chosen)}. {due} are charged to their card, and"
            f" {preview.credits:,} credits come. If it is not paid, nothing changes.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        price: OfferPrice = self.cleaned_data["price"]
        change = change_plan_for_user(
            subscription=self.object,
            price=price,
            reason=self.cleaned_data["reason"],
            actor=actor,
            idempotency_key=self.idempotency_key,
        )
        if change.kind != ChangeKind.UPGRADE:
            return said(change, f"It is on {price.version.name} from the next period on.")
        paid = format_money(self.preview.due_minor, self.preview.currency)
        return said(change, f"It is on {price.version.name} now; {paid} were charged.")


class PostDueForm(ConfirmationForm):
    title, button = "Post what is due", "Post"
    is_atomic = False

    def changes(self) -> list[str]:
        slices: list[Slice] = list(due_slices(timezone.now()).select_related("wallet__user")[:20])
        lines = [f"{each.wallet}: {each.credits - each.voided:,} credits" for each in slices]
        more = ["… and what else is due, months of tiers included."]
        return lines + more if lines else ["No month that is paid for is due. Tiers may be."]

    def apply(self, *, actor: User, at: datetime) -> str:
        slices, tiers = post_due(reason=self.cleaned_data["reason"], actor=actor, at=at)
        return f"Posted: {slices:,} months that were paid for, {tiers:,} of tiers."


def can_end(subscription: Subscription) -> bool:
    return subscription.is_on_going


def can_cancel(subscription: Subscription) -> bool:
    return subscription.is_on_going and subscription.cancels_at is None


def can_keep(subscription: Subscription) -> bool:
    return subscription.is_on_going and subscription.cancels_at is not None


def can_change(subscription: Subscription) -> bool:
    is_active = subscription.status == "active" and subscription.price is not None
    return is_active and subscription.cancels_at is None

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.identity import normalise_email
from accounts.models import Approval, User
from billing.models import Payment
from billing.queries.rates import prices_at
from billing.services.crediting import credit_payment
from creditsite.adminkit import AsciiIntegerField, ConfirmationForm, TextField
from creditsite.money import format_money, in_units
from ledger.queries.settings import settings_at
from ledger.queries.wallets import wallet_of
from ledger.services.posting import LARGEST_AMOUNT


class CreditForm(ConfirmationForm):
    """Gives credits for a payment that is held back; it begins with what was asked for."""

    title = "Give credits for a payment"
    button = "Give the credits"
    email = TextField(max_length=254, label="User", help_text="The e-mail address of whom it is.")
    credits = AsciiIntegerField(min_value=1, max_value=LARGEST_AMOUNT, help_text="Whole credits.")

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        self.payment: Payment = objects[0]
        self.now = timezone.now()
        super().__init__(data, objects=objects, **kwargs)
        self.fields["email"].initial = self.payment.user.email if self.payment.user else ""
        self.fields["credits"].initial = self.payment.credits or self.bought_at_the_rate()

    def bought_at_the_rate(self) -> int | None:
        """Return how many credits the money buys by number, without any discount."""
        price = prices_at(self.now).get(self.payment.currency)
        minor = self.payment.charged_minor - self.payment.tax_minor
        return int(in_units(minor, self.payment.currency) / price) or None if price else None

    @property
    def phrase(self) -> str:
        field = self.fields.get("credits") or self.base_fields["credits"]
        try:
            credits = field.clean(self.data.get("credits")) if self.is_bound else 0
        except ValidationError:
            credits = 0
        is_large = credits >= settings_at(self.now).typed_confirmation_from
        return f"CREDIT {credits}" if is_large else ""

    def clean_email(self) -> User:
        email = normalise_email(self.cleaned_data["email"])
        user = User.objects.filter(email=email).first()
        if user is None:
            raise forms.ValidationError("Nobody has this address.")
        return user

    def changes(self) -> list[str]:
        payment = self.payment
        paid = format_money(payment.charged_minor, payment.currency)
        lines = [f"{paid} came in on {payment.paid_at:%Y-%m-%d}, from {self.whom()}."]
        if payment.credits:
            asked = format_money(payment.net_minor + payment.tax_minor, payment.currency)
            lines.append(f"{payment.credits:,} credits were to be bought, for {asked}.")
        if bought := self.bought_at_the_rate():
            lines.append(f"At the price of one credit it buys {bought:,}.")
        if payment.redemption and payment.redemption.credits:
            lines.append(f"Its promotion gives {payment.redemption.credits:,} more, as an award.")
        lines.append("The credits count as bought with all of this money.")
        return lines

    def whom(self) -> str:
        return str(self.payment.user or self.payment.customer_id or "somebody unknown")

    def apply(self, *, actor: User, at: datetime) -> str:
        user, credits = self.cleaned_data["email"], self.cleaned_data["credits"]
        done = credit_payment(
            payment=self.payment,
            wallet=wallet_of(user),
            credits=credits,
            reason=self.cleaned_data["reason"],
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"{user} has {credits:,} credits for it."

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.models import Approval, User
from billing.choices import PaymentStatus
from billing.models import Payment
from billing.queries.payments import credits_of_refund, standing_of
from billing.services.refunds import refund_payment, takes_two
from creditsite.adminkit import ConfirmationForm, TextField
from creditsite.errors import InvalidRequest
from creditsite.money import format_money, in_units, parse_money
from ledger.queries.settings import settings_at


class RefundForm(ConfirmationForm):
    """Sends money of a payment back; it begins with all that the rule gives."""

    title = "Refund"
    is_dangerous = True
    amount = TextField(max_length=20)

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        payment: Payment = objects[0]
        self.now = timezone.now()
        self.standing = standing_of(payment, self.now)
        super().__init__(data, objects=objects, **kwargs)
        units = in_units(self.standing.refundable_minor, payment.currency)
        self.fields["amount"].initial = str(units)
        self.fields["amount"].help_text = f"In {payment.currency.upper()}, with tax."

    @property
    def amount_minor(self) -> int:
        """What is entered so far; 0 if it is no amount."""
        try:
            return parse_money(str(self.data.get("amount", "")).strip(), self.object.currency)
        except InvalidRequest:
            return 0

    @property
    def phrase(self) -> str:
        amount = self.amount_minor if self.is_bound else self.standing.refundable_minor
        credits = credits_of_refund(self.object, amount)
        if credits < settings_at(self.now).typed_confirmation_from:
            return ""
        return f"REFUND {format_money(amount, self.object.currency)}"

    def clean_amount(self) -> int:
        try:
            return parse_money(self.cleaned_data["amount"], self.object.currency)
        except InvalidRequest as refusal:
            raise ValidationError(str(refusal)) from refusal

    def changes(self) -> list[str]:
        payment, now = self.object, self.standing
        paid, refundable, returned = (
            format_money(minor, payment.currency)
            for minor in (payment.charged_minor, now.refundable_minor, payment.returned_minor)
        )
        lines = [f"{paid} were paid by {payment.user or 'somebody unknown'}; {returned} went back."]
        is_credited = payment.status == PaymentStatus.CREDITED
        if is_credited:
            to_come = f"; {now.promised:,} are of months to come" if now.promised else ""
            lines.append(
                f"Of the {now.credits:,} credits {now.spent:,} are spent, {now.expired:,} expired,"
                f" {now.taken_back:,} taken back, {now.held:,} held; {now.free:,} are free"
                f"{to_come}."
            )
        lines.append(f"By the rule {refundable} can be refunded.")
        amount = self.amount_minor if self.is_bound else now.refundable_minor
        if amount and is_credited:
            credits = credits_of_refund(payment, amount)
            lines.append(
                f"A refund of {format_money(amount, payment.currency)} takes {credits:,} credits."
            )
        if amount and takes_two(payment, amount, self.now):
            lines.append("It waits for a second person.")
        return lines

    def apply(self, *, actor: User, at: datetime) -> str:
        done = refund_payment(
            payment=self.object,
            amount_minor=self.cleaned_data["amount"],
            reason=self.cleaned_data["reason"],
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"A refund of {format_money(done.amount_minor, self.object.currency)} is on its way."

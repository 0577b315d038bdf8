"""
Payments that were held back, and for which staff decide what they buy after all: the books are
those of a paid purchase, keyed on the same intent, so that it is credited once by whatever way.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from accounts.models import Approval, User
from accounts.permissions import require
from accounts.services.approvals import approval_kind, request_approval
from billing.choices import PaymentStatus, ReviewKind
from billing.errors import NotCreditable
from billing.models import Payment
from billing.services.reviews import refuse_own_payment
from billing.services.settlement import credit
from creditsite.money import format_money
from ledger import keys
from ledger.errors import InvalidAmount
from ledger.models import Wallet
from ledger.queries.settings import settings_at
from ledger.queries.wallets import is_own_wallet
from ledger.services.adjustments import refuse_own_wallet
from ledger.services.bookings import Asked
from ledger.services.posting import LARGEST_AMOUNT
from ledger.services.second_person import approval_waiting

CREDIT = "billing.credit_payment"
SETTLED_BY_IT = [ReviewKind.UNKNOWN, ReviewKind.MISMATCH, ReviewKind.CLOSED]
Payload = Mapping[str, Any]


def register() -> None:
    """Let :mod:`accounts.services.approvals` know what gives many credits."""
    approval_kind(
        CREDIT,
        permission=CREDIT,
        execute=execute,
        describe=describe,
        concerns=lambda payload, user: concerns(_payment(payload), _wallet(payload), user),
    )


@transaction.atomic
def credit_payment(
    *,
    payment: Payment,
    wallet: Wallet,
    credits: int,
    reason: str,
    actor: User | None,
    caller: str,
    at: datetime,
    idempotency_key: str,
) -> Payment | Approval:
    """
    Give ``wallet`` so many purchased credits for a payment that is held back, with all its money.

    The matters that held it back are resolved with it. Of many credits, return the approval that
    it waits for. Said again, it is done once.

    :raises NotPermitted: ``actor`` may not credit payments.
    :raises InvalidAmount: ``credits`` is not between 1 and 1,000,000,000.
    :raises OwnWallet: they paid it, or may spend what it would give.
    :raises NotCreditable: it is not held back, or money of it went back or may yet.
    :raises WalletClosed: the wallet takes no credits any more.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: nobody approved this same request.
    """
    require(actor, CREDIT)
    if not 1 <= credits <= LARGEST_AMOUNT:
        raise InvalidAmount(f"An amount is 1 to {LARGEST_AMOUNT:,} credits.")
    refuse_own_payment(actor, payment)
    refuse_own_wallet(actor=actor, wallet=wallet)
    fingerprint = keys.fingerprint("credit", reason, payment.pk, wallet.pk, credits)
    asked = Asked(actor, reason, caller, idempotency_key, fingerprint, at)
    if waiting := approval_waiting(asked):
        return waiting
    locked = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    if is_done(locked, wallet, credits):
        return locked
    refuse_uncreditable(locked)
    if actor is None or credits <= settings_at(at).approval_adjustment_above:
        return _book(locked, wallet, credits, asked)
    return request_approval(
        kind=CREDIT,
        payload={"payment": locked.pk, "wallet": wallet.pk, "credits": credits},
        maker=actor,
        reason=reason,
        at=at,
        about=wallet.user,
        caller=caller,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )


def is_creditable(payment: Payment) -> bool:
    """Return whether a payment is held back with all its money, and is none of a subscription."""
    return (
        payment.status == PaymentStatus.SUSPENDED
        and not payment.returned_minor
        and not payment.is_disputed
        and payment.invoice_id is None
    )


def is_done(payment: Payment, wallet: Wallet, credits: int) -> bool:
    """Return whether a payment gave just that already."""
    is_credited = payment.status == PaymentStatus.CREDITED and payment.grant_id is not None
    return is_credited and (payment.wallet_id, payment.credits) == (wallet.pk, credits)


def refuse_uncreditable(payment: Payment) -> None:
    """:raises NotCreditable: it is not held back, or money of it went back or may yet."""
    if not is_creditable(payment):
        raise NotCreditable


def _book(locked: Payment, wallet: Wallet, credits: int, asked: Asked) -> Payment:
    before = {"status": locked.status, "wallet": locked.wallet_id, "credits": locked.credits}
    locked.wallet, locked.credits = wallet, credits
    locked.user = locked.user or wallet.user
    locked.net_minor = max(locked.charged_minor - locked.tax_minor, 0)
    locked.tax_minor = locked.charged_minor - locked.net_minor
    locked.reads = F("reads") + 1  # Who read it before has read it as it was held back.
    credit(locked, wallet, asked.at)
    locked.save()
    locked.refresh_from_db()
    locked.review_items.filter(kind__in=SETTLED_BY_IT, resolved_at=None).update(
        resolved_at=asked.at, resolved_by=asked.actor, resolution=asked.reason
    )
    asked.record(
        "billing.payment.credited",
        locked,
        before=before,
        after={"status": locked.status, "wallet": wallet.pk, "credits": credits},
    )
    return locked


# --- With a second person -------------------------------------------------------------------------
def execute(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    wallet = _wallet(payload)
    locked = Payment.objects.select_for_update(no_key=True).get(pk=payload["payment"])
    refuse_own_payment(approval.maker, locked)
    refuse_own_wallet(actor=approval.maker, wallet=wallet)
    refuse_uncreditable(locked)
    asked = Asked(
        approval.maker,
        approval.reason,
        approval.caller,
        approval.key,
        approval.fingerprint,
        at,
        approval.pk,
    )
    return {"payment": _book(locked, wallet, payload["credits"], asked).pk}


def describe(payload: Payload) -> str:
    payment = _payment(payload)
    paid = format_money(payment.charged_minor, payment.currency)
    return f"Give {_wallet(payload)} {payload['credits']:,} credits for {paid} that are held back"


def concerns(payment: Payment, wallet: Wallet, user: User) -> bool:
    return payment.user_id == user.pk or is_own_wallet(user, wallet)


def _payment(payload: Payload) -> Payment:
    return Payment.objects.get(pk=payload["payment"])


def _wallet(payload: Payload) -> Wallet:
    return Wallet.objects.with_owner().get(pk=payload["wallet"])

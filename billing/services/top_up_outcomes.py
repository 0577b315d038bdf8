"""What became of a charge for a top-up, and what follows for what the user agreed to."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from billing import gateway
from billing.choices import PaymentStatus, TopUpEnd, TopUpPause, TopUpStatus
from billing.models import Payment, TopUp
from billing.services import top_up_mail
from billing.services.top_ups import end, lock
from ledger.queries.balances import balance_of

AFTER_DECLINE = [timedelta(hours=1), timedelta(hours=4), timedelta(hours=24)]
# Cards that no later try will help, by the bank's word or Stripe's.
HOPELESS = {
    "lost_card", "stolen_card", "pickup_card", "restricted_card", "fraudulent", "expired_card",
    "invalid_account", "new_account_information_available", "revocation_of_authorization",
    "revocation_of_all_authorizations", "stop_payment_order", "transaction_not_allowed",
    "security_violation", "merchant_blacklist", "do_not_try_again", "resource_missing",
    "payment_method_unexpected_state",
}  # fmt: skip

log = structlog.get_logger(__name__)


@transaction.atomic
def finish(top_up: TopUp, at: datetime) -> None:
    """Note that one is paid; its credits stand in the wallet already."""
    auto = lock(top_up.auto_top_up)
    if close(top_up, TopUpStatus.PAID, at):
        available = balance_of(auto.wallet_id, at).available
        auto.left_after = available if available <= auto.threshold else None
        auto.failures = 0
        auto.save(update_fields=["left_after", "failures"])


def refuse(top_up: TopUp, reason: str, intent_id: str | None, at: datetime) -> None:
    """Note that a card was not charged, pause or end what the user agreed to, and tell them."""
    keep_refusal(top_up, reason, at)
    if intent_id:
        # Nobody is to pay it any more. Nobody can, either: it only tidies up.
        try:
            gateway.cancel_payment_intent(intent_id, idempotency_key=f"cancel:{top_up.key}")
        except (gateway.StripeRefused, gateway.PaymentsUnavailable):
            log.info("top_ups.not_cancelled", top_up=top_up.pk)


@transaction.atomic
def keep_refusal(top_up: TopUp, reason: str, at: datetime) -> None:
    auto = lock(top_up.auto_top_up)
    top_up.auto_top_up = auto
    asks = reason == "authentication_required"
    status = TopUpStatus.AUTHENTICATION if asks else TopUpStatus.DECLINED
    if not close(top_up, status, at, reason=reason[:100]) or not auto.is_enabled:
        return
    auto.failures += 0 if asks else 1
    if asks:
        auto.paused_why, auto.paused_until = TopUpPause.AUTHENTICATION, None
        top_up_mail.tell_authentication(top_up)
    elif reason in HOPELESS or auto.failures > len(AFTER_DECLINE):
        end(
            auto,
            TopUpEnd.CARD if reason in HOPELESS else TopUpEnd.DECLINED,
            actor=None,
            at=at,
        )
        top_up_mail.tell_ended(auto)
    else:
        auto.paused_why = TopUpPause.DECLINED
        auto.paused_until = at + AFTER_DECLINE[auto.failures - 1]
        top_up_mail.tell_declined(top_up, until=auto.paused_until)
    auto.save()


@transaction.atomic
def drop(top_up: TopUp, at: datetime) -> None:
    """Give one up that Stripe has not: nothing was charged."""
    close(top_up, TopUpStatus.DROPPED, at)


def close(top_up: TopUp, status: TopUpStatus, at: datetime, *, reason: str = "") -> bool:
    """Say how one ended, and what is not paid, that it never will; return whether that is new."""
    open = TopUp.objects.filter(pk=top_up.pk, status=TopUpStatus.CHARGING)
    if not open.update(status=status, ended_at=at, next_try_at=None, reason=reason, error=""):
        return False
    if status != TopUpStatus.PAID:
        payment = Payment.objects.filter(pk=top_up.payment_id, status=PaymentStatus.OPEN)
        payment.update(status=PaymentStatus.ENDED)
    return True

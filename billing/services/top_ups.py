"""Auto top-ups as users agree to them: their terms, their card, and how they end."""

from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing import gateway
from billing.choices import Effect, TopUpEnd, TopUpPause, TopUpStatus
from billing.errors import AlreadyOff, CardNeeded
from billing.models import AutoTopUp, PaymentEffect, StripeCustomer, TopUp
from billing.queries.rates import base_currency
from billing.services import top_up_mail
from billing.services.payments import customer_of
from billing.services.purchases import refuse_untaxed
from billing.services.quotes import quote_purchase
from billing.stripe_objects import CheckoutSession
from creditsite.errors import InvalidRequest
from ledger.choices import WalletStatus
from ledger.errors import WalletClosed
from ledger.queries.wallets import wallet_of
from ledger.services.adjustments import refuse_own_wallet

MOST_CREDITS = 1_000_000
MOST_IN_A_MONTH = 10_000_000


class Terms(NamedTuple):
    """What a user agrees to: whole credits, and the currency that they are paid in."""

    threshold: int
    amount: int
    monthly_limit: int
    currency: str


def auto_top_up_of(user: User, *, at: datetime) -> AutoTopUp:
    """Return what ``user`` agreed to, or may: switched off, as long as they did not."""
    auto = AutoTopUp.objects.select_related("user", "wallet").filter(user=user).first()
    return auto or AutoTopUp(
        user=user, wallet=wallet_of(user), currency=base_currency(at), created_at=at, changed_at=at
    )


# --- Agreeing -------------------------------------------------------------------------------------
def agree(
    *,
    user: User,
    threshold: int | None = None,
    amount: int | None = None,
    monthly_limit: int | None = None,
    currency: str = "",
    actor: User,
    return_url: str,
    at: datetime,
) -> AutoTopUp:
    """
    Have ``user`` charged for ``amount`` credits whenever theirs fall to ``threshold`` or below.

    What is left out stays as it was. All figures are whole credits.

    :param return_url: where Stripe's page to save a card leads back to.
    :raises InvalidRequest: a figure is missing, or out of its bounds; or tax is calculated, which
        is only on a page that the user pays on.
    :raises UnknownCurrency: credits are not sold in that currency.
    :raises TooCheap: so few credits cost nothing.
    :raises CreditsDisabled: credits are switched off.
    :raises WalletClosed: the wallet takes no credits any more.
    :raises CardNeeded: no card is saved that can be charged; says where to save one.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    refuse_untaxed()
    auto = auto_top_up_of(user, at=at)
    terms = terms_of(auto, threshold, amount, monthly_limit, currency)
    refuse_impossible(terms)
    quote = quote_purchase(user=user, amount=terms.amount, currency=terms.currency, at=at).quote
    if auto.wallet.status == WalletStatus.CLOSED:
        raise WalletClosed
    auto = with_card(auto, return_url=return_url, at=at)
    return keep_terms(auto, terms, price_minor=quote.total_minor, actor=actor, at=at)


def terms_of(
    auto: AutoTopUp,
    threshold: int | None,
    amount: int | None,
    monthly_limit: int | None,
    currency: str,
) -> Terms:
    """Return the terms as they would be: what is left out is as it was."""
    return Terms(
        auto.threshold if threshold is None else threshold,
        auto.amount if amount is None else amount,
        auto.monthly_limit if monthly_limit is None else monthly_limit,
        currency or auto.currency,
    )


def refuse_impossible(terms: Terms) -> None:
    """:raises InvalidRequest: these are no figures to agree to."""
    if not 0 <= terms.threshold <= MOST_CREDITS:
        raise InvalidRequest(f"The threshold is 0 to {MOST_CREDITS:,} credits.")
    if not 1 <= terms.amount <= MOST_CREDITS:
        raise InvalidRequest(f"The amount is 1 to {MOST_CREDITS:,} credits.")
    if terms.monthly_limit > MOST_IN_A_MONTH:
        raise InvalidRequest(f"The monthly limit is at most {MOST_IN_A_MONTH:,} credits.")
    if terms.monthly_limit < terms.amount:
        raise InvalidRequest("The monthly limit is at least the amount of one top-up.")


@transaction.atomic
def keep_terms(
    auto: AutoTopUp, terms: Terms, *, price_minor: int, actor: User, at: datetime
) -> AutoTopUp:
    locked = lock(auto)
    before = figures_of(locked)
    locked.threshold, locked.amount, locked.monthly_limit, locked.currency = terms
    locked.agreed_minor, locked.agreed_at, locked.changed_at = price_minor, at, at
    if not locked.is_enabled and locked.ended_why == TopUpEnd.DECLINED:
        locked.failures = 0
    # What a bank refused is not asked again the sooner for new terms.
    if locked.paused_why in {TopUpPause.MONTH, TopUpPause.BURST}:
        locked.paused_why, locked.paused_until = "", None
    locked.is_enabled, locked.ended_why, locked.left_after = True, "", None
    locked.save()
    if before != figures_of(locked):
        audit.record(
            "billing.top_up.agreed",
            actor=actor,
            target=locked,
            at=at,
            on_behalf_of=None if actor == locked.user else locked.user,
            before=before,
            after=figures_of(locked),
        )
    return locked


def figures_of(auto: AutoTopUp) -> dict[str, object]:
    names = "is_enabled", *Terms._fields, "agreed_minor"
    return {name: getattr(auto, name) for name in names}


def lock(auto: AutoTopUp) -> AutoTopUp:
    """Return it as it is now, ours until the transaction ends."""
    rows = AutoTopUp.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("user", "wallet").get(pk=auto.pk)


# --- Its card -------------------------------------------------------------------------------------
def with_card(auto: AutoTopUp, *, return_url: str, at: datetime) -> AutoTopUp:
    """
    Return ``auto`` if its card can be charged as far as we know.

    :raises CardNeeded: it cannot; says where to save one.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    if auto.pk and auto.card_session_id:
        take_card(auto.card_session_id, at=at)
        auto.refresh_from_db()
    if auto.card_id and auto.paused_why != TopUpPause.AUTHENTICATION:
        return auto
    raise CardNeeded(save_card(user=auto.user, return_url=return_url, at=at))


def save_card(*, user: User, return_url: str, at: datetime) -> str:
    """
    Return the address of Stripe's page where ``user`` saves a card to be charged later.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    auto = kept(auto_top_up_of(user, at=at))
    if auto.card_session_id:
        session = gateway.retrieve_checkout(auto.card_session_id)
        if session.status == "open" and session.url:
            return session.url
    session = gateway.create_card_checkout(
        customer=customer_of(user, at=at),
        currency=auto.currency,
        success_url=return_url,
        cancel_url=return_url,
        metadata={"auto_top_up": str(auto.pk)},
        idempotency_key=f"card:{uuid4()}",
    )
    AutoTopUp.objects.filter(pk=auto.pk).update(card_session_id=session.id)
    return session.url or ""


def kept(auto: AutoTopUp) -> AutoTopUp:
    """Return ``auto`` as a row."""
    if auto.pk is None:
        AutoTopUp.objects.bulk_create([auto], ignore_conflicts=True)
        auto = AutoTopUp.objects.select_related("user", "wallet").get(user=auto.user)
    return auto


def take_card(session_id: str, *, at: datetime) -> None:
    """
    Keep the card that was saved in this session of Stripe's, if it is the one that we wait for.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    auto = AutoTopUp.objects.select_related("user").filter(card_session_id=session_id).first()
    if auto:
        take_card_of(auto, gateway.retrieve_checkout(session_id), at=at)


def take_card_of(auto: AutoTopUp, session: CheckoutSession, *, at: datetime) -> None:
    customer = StripeCustomer.objects.filter(user=auto.user, forget_at=None).first()
    if session.payment_method and customer and session.customer == customer.customer_id:
        use_card(auto, session.payment_method, customer.customer_id, at=at, session_id=session.id)


def use_card(
    auto: AutoTopUp, card_id: str, customer: str, *, at: datetime, session_id: str | None = None
) -> None:
    """
    Charge this card of the customer from now on, and whatever a bank had against the last one is
    over; a card that is not saved with them is left alone.
    """
    found = [card for card in gateway.list_cards(customer) if card.id == card_id]
    with transaction.atomic():
        locked = lock(auto)
        if session_id not in {None, locked.card_session_id}:
            return
        for card in found:
            locked.card_id, locked.card_last4 = card.id, card.last4
            locked.card_brand = card.brand[:40]
            locked.card_expires = "{:04d}-{:02d}".format(*card.expires)
        locked.card_session_id = None
        locked.paused_why, locked.paused_until, locked.own_payment = "", None, None
        locked.failures, locked.changed_at = 0, at
        locked.save()


# --- Ending ---------------------------------------------------------------------------------------
@transaction.atomic
def switch_off(
    *,
    user: User,
    threshold: int | None = None,
    amount: int | None = None,
    monthly_limit: int | None = None,
    currency: str = "",
    actor: User,
    at: datetime,
) -> AutoTopUp:
    """Charge ``user`` no more, and keep terms for another time; what is under way goes on."""
    auto = lock(kept(auto_top_up_of(user, at=at)))
    end(auto, TopUpEnd.USER, actor=actor, at=at)
    terms = terms_of(auto, threshold, amount, monthly_limit, currency)
    auto.threshold, auto.amount, auto.monthly_limit, auto.currency = terms
    auto.save()
    return auto


@transaction.atomic
def switch_off_for_user(*, auto_top_up: AutoTopUp, reason: str, actor: User, at: datetime) -> None:
    """
    Charge a user no more, as staff decide; they are told.

    :raises NotPermitted: ``actor`` may not.
    :raises OwnWallet: ``actor`` owns or shares the wallet.
    :raises AlreadyOff: it is off.
    """
    require(actor, "billing.stop_autotopup")
    auto = lock(auto_top_up)
    refuse_own_wallet(actor=actor, wallet=auto.wallet)
    if not auto.is_enabled:
        raise AlreadyOff
    end(auto, TopUpEnd.STAFF, actor=actor, at=at, reason=reason)
    top_up_mail.tell_ended(auto)


def end(
    auto: AutoTopUp, why: TopUpEnd, *, actor: User | None, at: datetime, reason: str = ""
) -> bool:
    """Switch off what is locked; return whether it was on."""
    if not auto.is_enabled:
        return False
    # A pause stays: who switches it on again has no other card than before.
    auto.is_enabled, auto.ended_why, auto.changed_at = False, why, at
    if why == TopUpEnd.CARD:
        auto.card_id = auto.card_brand = auto.card_last4 = auto.card_expires = ""
    auto.save()
    audit.record(
        "billing.top_up.ended",
        actor=actor,
        target=auto,
        at=at,
        reason=reason,
        on_behalf_of=auto.user if why == TopUpEnd.USER and actor != auto.user else None,
        before={"is_enabled": True},
        after={"is_enabled": False, "why": why},
    )
    return True


def end_disputed(*, at: datetime) -> None:
    """Switch off whose top-ups were disputed with the bank."""
    told = PaymentEffect.objects.filter(
        effect__in=[Effect.DISPUTED, Effect.LOST], payment__top_up__status=TopUpStatus.PAID
    )
    for top_up in TopUp.objects.filter(payment__in=told.values("payment")):
        with transaction.atomic():
            auto = lock(top_up.auto_top_up)
            paid = TopUp.objects.filter(pk=top_up.pk, status=TopUpStatus.PAID)
            is_new = paid.update(status=TopUpStatus.DISPUTED)
            if is_new and end(auto, TopUpEnd.DISPUTED, actor=None, at=at):
                top_up_mail.tell_ended(auto)

"""How a subscription begins: a row that says to what, then a page of Stripe's to subscribe on."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import User
from billing import gateway
from billing.choices import OfferKind, SubscriptionStatus
from billing.errors import AlreadySubscribed, NotForSale
from billing.models import OfferPrice, StripePrice, Subscription
from billing.queries.offers import newest_version
from billing.queries.subscriptions import on_going
from billing.services.payments import customer_of
from billing.services.subscriptions import abandon, settle_subscription
from billing.stripe_objects import CheckoutSession
from creditsite.errors import Conflict
from ledger import errors, keys
from ledger.choices import WalletStatus
from ledger.models import Wallet
from ledger.queries.settings import settings_at
from ledger.services import posting


def subscribe(
    *,
    user: User,
    wallet: Wallet,
    price: OfferPrice,
    success_url: str,
    cancel_url: str,
    caller: str,
    idempotency_key: str,
    at: datetime,
    calculates_tax: bool = False,
) -> CheckoutSession:
    """
    Begin to subscribe ``user`` on a page of Stripe's; what is paid for goes to ``wallet``.

    The same request again is the same page. Another page that is still open is closed.

    :raises CreditsDisabled: credits are switched off.
    :raises WalletClosed: the wallet takes no credits any more.
    :raises NotForSale: the plan is not sold at that price any more.
    :raises AlreadySubscribed: the wallet has a subscription.
    :raises Conflict: this page has expired.
    :raises IdempotencyKeyReused: the key was used for another request.
    :raises PaymentsUnavailable: Stripe did not answer.
    """
    _refuse_what_cannot_be(wallet, price, at)
    if other := _other_page(wallet, keys.digest(caller, idempotency_key)):
        _close(other, at)
    begun = _begin(user, wallet, price, caller, idempotency_key, at)
    if begun.session_id:
        return gateway.retrieve_checkout(begun.session_id)
    customer = customer_of(user, at=at)
    session = gateway.create_subscription_checkout(
        customer=customer,
        price=stripe_price_of(price),
        success_url=success_url,
        cancel_url=cancel_url,
        metadata={"subscription": str(begun.public_id)},
        idempotency_key=f"subscribe:{begun.public_id}",
        calculates_tax=calculates_tax,
    )
    _keep_page(begun, session, customer)
    return session


def _keep_page(begun: Subscription, session: CheckoutSession, customer: str) -> None:
    """
    Keep where a subscription is begun.

    :raises AlreadySubscribed: meanwhile another page was opened instead; this one is closed.
    """
    rows = Subscription.objects.filter(pk=begun.pk, status=SubscriptionStatus.OPEN)
    if not rows.update(session_id=session.id, customer_id=customer):
        if Subscription.objects.filter(pk=begun.pk, session_id=session.id).exists():
            return  # The same request, at the same instant; it has been completed since.
        gateway.expire_checkout(session.id, idempotency_key=f"close:{begun.public_id}")
        raise AlreadySubscribed


def portal_url(*, user: User, return_url: str, idempotency_key: str, at: datetime) -> str:
    """
    Return the address at which ``user`` looks after cards and invoices at Stripe.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    return gateway.create_portal(
        customer=customer_of(user, at=at), return_url=return_url, idempotency_key=idempotency_key
    )


def stripe_price_of(price: OfferPrice) -> str:
    """
    Return the id of ``price`` at Stripe, where it is made when somebody first needs it.

    :raises PaymentsUnavailable: Stripe did not answer.
    """
    known, _ = StripePrice.objects.get_or_create(offer_price=price)
    if known.price_id is None:
        version = price.version
        metadata = {"plan": version.offer.code, "version": str(version.number)}
        product = gateway.create_product(
            name=version.name, metadata=metadata, idempotency_key=f"product:{known.key}"
        )
        known.price_id = gateway.create_price(
            product=product,
            amount_minor=price.amount_minor,
            currency=price.currency,
            interval=price.interval,
            metadata=metadata,
            idempotency_key=f"price:{known.key}",
        )
        StripePrice.objects.filter(pk=known.pk, price_id=None).update(price_id=known.price_id)
        known.refresh_from_db()
    return known.price_id or ""


def _refuse_what_cannot_be(wallet: Wallet, price: OfferPrice, at: datetime) -> None:
    if not settings_at(at).credits_enabled:
        raise errors.CreditsDisabled
    if wallet.status == WalletStatus.CLOSED:
        raise errors.WalletClosed
    offer = price.version.offer
    is_newest = newest_version(offer).pk == price.version_id
    if not (offer.is_active and offer.kind == OfferKind.PLAN and is_newest):
        raise NotForSale(offer.code)


def _other_page(wallet: Wallet, key: UUID) -> Subscription | None:
    begun = Subscription.objects.filter(wallet=wallet, status=SubscriptionStatus.OPEN)
    return begun.exclude(key=key).first()


def _close(begun: Subscription, at: datetime) -> None:
    """
    Close the page of another beginning, so that nobody subscribes twice.

    :raises AlreadySubscribed: they just did on that one.
    """
    if begun.session_id is None:  # Nobody ever had its address.
        rows = Subscription.objects.filter(pk=begun.pk, status=SubscriptionStatus.OPEN)
        if rows.filter(session_id=None).update(status=SubscriptionStatus.ABANDONED, status_at=at):
            return
        begun.refresh_from_db()  # Unless somebody just got it.
        if begun.session_id is None:
            return
    try:
        gateway.expire_checkout(begun.session_id, idempotency_key=f"close:{begun.public_id}")
    except gateway.StripeRefused:
        session = gateway.retrieve_checkout(begun.session_id)
        if session.subscription:
            settle_subscription(session.subscription, clock=lambda: at)
            raise AlreadySubscribed from None
    abandon(begun.session_id, at=at)


@transaction.atomic
def _begin(
    user: User,
    wallet: Wallet,
    price: OfferPrice,
    caller: str,
    idempotency_key: str,
    at: datetime,
) -> Subscription:
    posting.lock_wallet(wallet.pk)
    key = keys.digest(caller, idempotency_key)
    if known := Subscription.objects.filter(key=key).first():
        is_begun = known.status in {SubscriptionStatus.OPEN, SubscriptionStatus.ABANDONED}
        is_other = (known.user_id, known.wallet_id) != (user.pk, wallet.pk)
        if is_other or (is_begun and known.price != price):  # Later it may have another price.
            raise errors.IdempotencyKeyReused
        if known.status == SubscriptionStatus.OPEN:
            return known
        if known.is_on_going:
            raise AlreadySubscribed
        raise Conflict("This page has expired. Begin anew.")
    if on_going(wallet).exists():
        raise AlreadySubscribed
    if Subscription.objects.filter(wallet=wallet, status=SubscriptionStatus.OPEN).exists():
        raise AlreadySubscribed  # Begun by somebody else at this instant.
    return Subscription.objects.create(
        key=key, user=user, wallet=wallet, price=price, status_at=at, created_at=at
    )

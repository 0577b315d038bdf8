"""
Promotions as they are used: reserved, redeemed, released, each under the lock of the promotion.

Whoever needs the lock of a wallet, too, takes that first.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import User
from billing.choices import PromotionKind, RedemptionStatus
from billing.models import Promotion, Redemption
from billing.queries.promotions import (
    Basket,
    find_promotion,
    refuse_inapplicable,
    refuse_taken,
)
from billing.quotes import Quote
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.allotments import CALLER
from ledger.services.awards import expiry_of
from ledger.services.posting import Header, Posting


@transaction.atomic
def reserve_promotion(
    *, promotion: Promotion, user: User, quote: Quote, package: str, key: str, at: datetime
) -> Redemption:
    """
    Take one use of ``promotion`` for a purchase that is to be paid at ``quote``.

    :param key: of the purchase; the same one reserves once.
    :param package: the code of what is bought; empty for credits by number.
    :raises PromotionRefused: it is not for this user, time or purchase, or is used up.
    """
    locked = _locked(promotion)
    digest = keys.digest(CALLER, key)
    if known := Redemption.objects.filter(key=digest).first():
        return known
    basket = Basket(quote.credits, quote.currency, package)
    refuse_inapplicable(locked, user, at, basket)
    refuse_taken(locked, user)
    _count(locked, 1)
    return Redemption.objects.create(
        promotion=locked,
        user=user,
        identity=user.identity,
        key=digest,
        status=RedemptionStatus.RESERVED,
        currency=quote.currency,
        discount_minor=sum(each.amount_minor for each in quote.discounts if each.promotion),
        credits=quote.bonus_credits,
        reserved_at=at,
    )


@transaction.atomic
def redeem_promotion(
    *, redemption: Redemption, wallet: Wallet, reference: str, at: datetime
) -> Redemption:
    """
    Say that the purchase is paid, and give its bonus credits; once, however often it is said.

    One that was released meanwhile counts again, over the limit if need be: its price was paid.

    :param reference: of the payment, by which the award is known in the wallet.
    :raises WalletClosed: there are bonus credits to give, and the wallet takes none.
    """
    posting.lock_wallet(wallet.pk)
    promotion = _locked(redemption.promotion)
    locked = Redemption.objects.get(pk=redemption.pk)
    if locked.status == RedemptionStatus.REDEEMED:
        return locked
    if locked.status == RedemptionStatus.RELEASED:
        _count(promotion, 1)
    if locked.credits:
        key = keys.digest(CALLER, f"redemption:{locked.pk}")
        posted = _post(promotion, wallet, locked.credits, key, key, CALLER, at, reference)
        locked.grant_id = _grant_of(posted)
    locked.status, locked.settled_at = RedemptionStatus.REDEEMED, at
    locked.save(update_fields=["status", "settled_at", "grant"])
    return locked


@transaction.atomic
def release_promotion(*, redemption: Redemption, at: datetime) -> Redemption:
    """Say that the purchase came to nothing: its use is free again. What was paid for stays."""
    promotion = _locked(redemption.promotion)
    locked = Redemption.objects.get(pk=redemption.pk)
    if locked.status == RedemptionStatus.RESERVED:
        locked.status, locked.settled_at = RedemptionStatus.RELEASED, at
        locked.save(update_fields=["status", "settled_at"])
        _count(promotion, -1)
    return locked


@transaction.atomic
def redeem_code(
    *,
    code: str,
    user: User,
    caller: str,
    at: datetime,
    idempotency_key: str | None = None,
) -> Posting:
    """
    Give ``user`` the credits that ``code`` gives by itself, once for their identity.

    :raises PromotionNotFound: there is no such code.
    :raises PromotionRefused: it is not for this user or time, is for a purchase, or is used up.
    :raises WalletClosed: their wallet takes no awards.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    promotion = find_promotion(code)
    wallet = wallet_of(user)
    key = keys.digest(caller, idempotency_key) if idempotency_key else keys.fresh(caller)
    fingerprint = keys.fingerprint("redeem", promotion.pk, wallet.pk)
    if promotion.kind != PromotionKind.GRANT:
        refuse_inapplicable(promotion, user, at, None)
    # First of all: a repeat is answered whatever has become of the promotion. A refusal undoes it.
    posted = _post(promotion, wallet, promotion.credits, key, fingerprint, caller, at, user=user)
    if not posted.is_new:
        return posted
    locked = _locked(promotion)
    refuse_inapplicable(locked, user, at, None)
    refuse_taken(locked, user)
    _count(locked, 1)
    Redemption.objects.create(
        promotion=locked,
        user=user,
        identity=user.identity,
        key=key,
        status=RedemptionStatus.REDEEMED,
        credits=locked.credits,
        grant_id=_grant_of(posted),
        reserved_at=at,
        settled_at=at,
    )
    return posted


def _locked(promotion: Promotion) -> Promotion:
    return Promotion.objects.select_for_update(no_key=True).get(pk=promotion.pk)


def _count(locked: Promotion, change: int) -> None:
    locked.taken += change
    locked.save(update_fields=["taken"])


def _post(
    promotion: Promotion,
    wallet: Wallet,
    amount: int,
    key: UUID,
    fingerprint: UUID,
    caller: str,
    at: datetime,
    reference: str = "",
    user: User | None = None,
) -> Posting:
    return posting.post_grant(
        wallet=wallet.pk,
        amount=amount,
        credit_type=CreditType.AWARD,
        source=GrantSource.PROMOTION,
        expires_at=expiry_of(promotion.expiry_days, at),
        header=Header(
            kind=TransactionKind.AWARD,
            at=at,
            caller=caller,
            key=key,
            fingerprint=fingerprint,
            actor_id=user.pk if user else None,
            reference_id=reference,
            description=promotion.name,
        ),
    )


def _grant_of(posted: Posting) -> UUID | None:
    return posted.grant_ids[0] if posted.grant_ids else None

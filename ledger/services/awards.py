"""
Credits that are given because somebody registered: to them, and to whoever referred them.

Each once, under a unique key: sign-up credits for an identity, for ever or for the month; a
referral for the identity of the referred. What is given every month is for ``award_runs``.
"""

from datetime import date, datetime, timedelta

from accounts.models import User
from ledger import keys
from ledger.choices import (
    AwardRule,
    CreditType,
    GrantSource,
    ReferralOutcome,
    SignUpFrequency,
    TransactionKind,
    WalletStatus,
)
from ledger.models import CreditSettings, CreditTransaction, Referral, Wallet
from ledger.periods import period_of
from ledger.queries.settings import settings_at
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.allotments import CALLER, allotment_key
from ledger.services.posting import Header, Posting


def award_on_registration(*, user: User, at: datetime, actor: User | None) -> None:
    """
    Give the new user their sign-up credits, and who referred them the referral credits.

    By the settings in force at ``at``. Staff have an account to work with, and get none.
    """
    terms = settings_at(at)
    if terms.sign_up_credits and not user.is_staff:
        period = period_of(at, terms.time_zone)
        _post(
            wallet=wallet_of(user),
            amount=terms.sign_up_credits,
            source=GrantSource.SIGN_UP,
            key=sign_up_key(user, terms, at),
            reference=reference_of(AwardRule.SIGN_UP, period),
            description="Sign-up credits",
            terms=terms,
            at=at,
            actor=actor,
        )
    if user.referrer is not None and terms.referral_credits:
        _award_referrer(user.referrer, user, terms, at)


def sign_up_key(user: User, terms: CreditSettings, at: datetime) -> str:
    """Return the key of a sign-up award: once for ever, or of the month."""
    return f"sign_up:{user.identity}{sign_up_suffix(terms, at)}"


def sign_up_suffix(terms: CreditSettings, at: datetime) -> str:
    if terms.sign_up_frequency == SignUpFrequency.ONCE:
        return ""
    return suffix_of(period_of(at, terms.time_zone))


def suffix_of(period: date) -> str:
    """Return what the key of a monthly award ends in; the runs use it in SQL."""
    return f":{period:%Y-%m}"


def reference_of(rule: AwardRule, period: date) -> str:
    """Return the reference by which a wallet's award for a month is known."""
    return f"{rule}:{period:%Y-%m}"


def _award_referrer(referrer: User, referred: User, terms: CreditSettings, at: datetime) -> None:
    """Give ``referrer`` what ``referred`` brings them, and note it, or why they got nothing."""
    wallet = wallet_of(referrer)
    # Of two who register at once, the second counts the first.
    posting.lock_wallet(wallet.pk)
    period = period_of(at, terms.time_zone)
    outcome = _outcome_of_referral(referrer, referred, terms, at)
    if outcome == ReferralOutcome.AWARDED:
        _post(
            wallet=wallet,
            amount=terms.referral_credits,
            source=GrantSource.REFERRAL,
            key=referral_key(referred),
            description="Referral of a new user",
            terms=terms,
            at=at,
        )
    Referral.objects.create(
        referrer=referrer,
        referred=referred,
        period=period,
        outcome=outcome,
        credits=terms.referral_credits if outcome == ReferralOutcome.AWARDED else 0,
        registered_at=at,
    )


def _outcome_of_referral(
    referrer: User, referred: User, terms: CreditSettings, at: datetime
) -> ReferralOutcome:
    wallet = Wallet.objects.get(user=referrer)
    if not referrer.is_active or wallet.status == WalletStatus.CLOSED:
        return ReferralOutcome.NOT_ACTIVE
    # Whoever had what comes with this address in that wallet was known by it before.
    own = [allotment_key(referred.identity), sign_up_key(referred, terms, at)]
    was_theirs = CreditTransaction.objects.filter(
        wallet=wallet, key__in=[keys.digest(CALLER, key) for key in own]
    )
    if referrer.pk == referred.pk or was_theirs.exists():
        return ReferralOutcome.OWN_ADDRESS
    if CreditTransaction.objects.filter(key=keys.digest(CALLER, referral_key(referred))).exists():
        return ReferralOutcome.KNOWN
    awarded = Referral.objects.filter(
        referrer=referrer,
        period=period_of(at, terms.time_zone),
        outcome=ReferralOutcome.AWARDED,
    )
    if awarded.count() >= terms.referral_monthly_limit:
        return ReferralOutcome.OVER_LIMIT
    return ReferralOutcome.AWARDED


def referral_key(referred: User) -> str:
    return f"referral:{referred.identity}"


def _post(
    *,
    wallet: Wallet,
    amount: int,
    source: GrantSource,
    key: str,
    description: str,
    terms: CreditSettings,
    at: datetime,
    reference: str = "",
    actor: User | None = None,
) -> Posting:
    return posting.post_grant(
        wallet=wallet.pk,
        amount=amount,
        credit_type=CreditType.AWARD,
        source=source,
        expires_at=expiry_of(terms.award_expiry_days, at),
        header=Header(
            kind=TransactionKind.AWARD,
            at=at,
            caller=CALLER,
            key=keys.digest(CALLER, key),
            fingerprint=keys.digest(CALLER, key),
            actor_id=actor.pk if actor else None,
            reference_id=reference,
            description=description,
        ),
    )


def expiry_of(days: int | None, at: datetime) -> datetime | None:
    """Return when an award that is given ``at`` expires; ``None`` for never."""
    return None if days is None else at + timedelta(days=days)

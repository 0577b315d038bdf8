"""The credits that come with a role: once per identity for ever, however a user is made."""

from datetime import datetime
from uuid import UUID

from django.db.models import Sum

from accounts.models import Role, User
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.models import Grant
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.posting import Header, Posting

CALLER = "system"


def allotment_key(identity: UUID) -> str:
    """Return the key of an identity's role allotment; the backfill makes the same in SQL."""
    return f"allotment:{identity}"


def allot_on_registration(*, user: User, at: datetime, actor: User | None) -> None:
    """Open the new user's wallet and post their role's allotment, unless their identity had one."""
    wallet = wallet_of(user)
    if user.role is not None and user.role.allotment:
        _post(user, wallet.pk, user.role.allotment, allotment_key(user.identity), at, actor)


def allot_on_role_change(
    *, user: User, at: datetime, actor: User | None, previous_role: Role | None
) -> None:
    """
    Post what the new role's allotment is above what the user was allotted so far.

    Once per identity and role: changing up and down again adds nothing.
    """
    if user.role is None:
        return
    wallet = wallet_of(user)
    allotted = Grant.objects.filter(wallet=wallet, source=GrantSource.ALLOTMENT).aggregate(
        Sum("amount")
    )
    before = max(allotted["amount__sum"] or 0, previous_role.allotment if previous_role else 0)
    if user.role.allotment > before:
        key = f"{allotment_key(user.identity)}:{user.role.code}"
        _post(user, wallet.pk, user.role.allotment - before, key, at, actor)


def _post(
    user: User, wallet_id: int, amount: int, key: str, at: datetime, actor: User | None
) -> Posting:
    return posting.post_grant(
        wallet=wallet_id,
        amount=amount,
        credit_type=CreditType.AWARD,
        source=GrantSource.ALLOTMENT,
        header=Header(
            kind=TransactionKind.AWARD,
            at=at,
            caller=CALLER,
            key=keys.digest(CALLER, key),
            fingerprint=keys.digest(CALLER, key),
            actor_id=actor.pk if actor else None,
        ),
    )

"""Whose a charge is, who may say that it was wrong, and who may not judge that."""

from django.db.models import Q, QuerySet

from accounts.models import User
from accounts.permissions import staff_may
from disputes.models import Dispute
from ledger.models import CreditTransaction, Wallet
from ledger.queries.wallets import is_own_wallet
from ledger.services.low_credit import ROLES_THAT_MANAGE

REVIEW = "disputes.review_dispute"
RESOLVE = "disputes.resolve_dispute"


def wallets_of(user: User) -> QuerySet[Wallet]:
    """Return the wallets that ``user`` answers for: their own, and those of what they manage."""
    own = Q(user=user)
    if user.role and user.role.code in ROLES_THAT_MANAGE:
        own |= Q(team__memberships__user=user)
    return Wallet.objects.filter(own)


def may_dispute(user: User, charge: CreditTransaction) -> bool:
    """Return whether ``user`` answers for the wallet that paid, or made the charge as a member."""
    if charge.actor_id == user.pk and is_own_wallet(user, charge.wallet):
        return True
    return wallets_of(user).filter(pk=charge.wallet_id).exists()


def visible_to(user: User) -> QuerySet[Dispute]:
    """Return the disputes that ``user`` opened, and those of wallets that they answer for."""
    wallets = list(wallets_of(user).values_list("pk", flat=True))
    return Dispute.objects.filter(Q(opened_by=user) | Q(wallet__in=wallets))


def is_own(user: User, dispute: Dispute) -> bool:
    """Return whether ``user`` opened the dispute, or may spend what would be given back."""
    return dispute.opened_by_id == user.pk or is_own_wallet(user, dispute.wallet)


def decided_before(user: User, dispute: Dispute) -> bool:
    """Return whether ``user`` decided an earlier round of the dispute, or approved that."""
    earlier = dispute.decisions.filter(round__lt=dispute.round)
    return earlier.filter(Q(decided_by=user) | Q(approval__checker=user)).exists()


def may_review(user: User, dispute: Dispute) -> bool:
    """Return whether the dispute can be given to ``user`` to review."""
    return (
        staff_may(user, REVIEW) and not is_own(user, dispute) and not decided_before(user, dispute)
    )

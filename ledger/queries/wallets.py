"""Whose wallet is whose, and which may pay."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import Q, QuerySet

from accounts.models import Team, TeamMembership, User
from ledger.errors import WalletNotFound
from ledger.models import Wallet
from ledger.services import posting

# Every spend over HTTP asks this. Composing it anew by the ORM took half of the request's time.
OWN = 0
OWN_AND_POOLS = """
    SELECT 0, id FROM ledger_wallet WHERE user_id = %(user)s
    UNION ALL
    SELECT m.id, coalesce(o.id, t.id)
    FROM accounts_teammembership m JOIN accounts_team team ON team.id = m.team_id
    LEFT JOIN ledger_wallet o ON o.user_id = team.owner_id
    LEFT JOIN ledger_wallet t ON t.team_id = team.id AND team.owner_id IS NULL
    WHERE m.user_id = %(user)s
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Payers:
    """
    Who is charged, and the ids of the wallets that might pay, in order of preference.

    ``subject`` tells one request from another: the wallets may change between a request and its
    retry, the subject does not.
    """

    subject: str
    wallet_ids: Sequence[int]


def wallet_of(owner: User | Team) -> Wallet:
    """Return the wallet of a user or of an organisation, opened if there is none yet."""
    field = "user" if isinstance(owner, User) else "team"
    wallet = Wallet.objects.filter(**{field: owner}).first()
    if wallet is None:
        posting.open_wallets(**{f"{field}s": [owner.pk]})
        wallet = Wallet.objects.get(**{field: owner})
    return wallet


def pool_of(team: Team) -> Wallet:
    """Return the wallet that ``team`` spends from: its owner's own, or that of the organisation."""
    return wallet_of(team.owner or team)


def payers_of(user: User, team: Team | None = None) -> Payers:
    """
    Return who pays for what ``user`` spends: the pool of ``team`` if one is named, else their own
    wallet if it covers the whole amount, else the pools they have a seat in; never split.

    :raises WalletNotFound: they may not spend from the pool of ``team``.
    """
    if team is not None:
        if not may_spend_from_pool(user, team):
            raise WalletNotFound
        return Payers(f"user:{user.pk} of team:{team.pk}", [pool_of(team).pk])
    with connection.cursor() as cursor:
        cursor.execute(OWN_AND_POOLS, {"user": user.pk})
        rows = cursor.fetchall()
    wallet_ids = [wallet_id for _, wallet_id in rows]
    if not rows or rows[0][0] != OWN or None in wallet_ids:  # A wallet is missing yet.
        return payers_of_many([user.pk])[user.pk]
    return Payers(f"user:{user.pk}", wallet_ids)


def payers_of_many(user_ids: Iterable[int]) -> dict[int, Payers]:
    """Return :func:`payers_of` for each of these users that exists, in three queries."""
    wanted = set(user_ids)
    own = dict(Wallet.objects.filter(user__in=wanted).values_list("user", "id"))
    if missing := wanted - own.keys():
        known = set(User.objects.filter(pk__in=missing).values_list("pk", flat=True))
        posting.open_wallets(users=sorted(known))
        own |= dict(Wallet.objects.filter(user__in=known).values_list("user", "id"))
    pools: dict[int, list[int]] = {}
    seats = TeamMembership.objects.filter(user__in=wanted).order_by("pk")
    for seat in seats.select_related("team__owner__wallet", "team__wallet", "team__owner"):
        owner = seat.team.owner or seat.team
        pool = getattr(owner, "wallet", None) or pool_of(seat.team)
        pools.setdefault(seat.user_id, []).append(pool.pk)
    return {
        user: Payers(f"user:{user}", [wallet, *pools.get(user, [])]) for user, wallet in own.items()
    }


def may_spend_from_pool(user: User, team: Team) -> bool:
    return team.owner_id == user.pk or team.memberships.filter(user=user).exists()


def is_own_wallet(user: User, wallet: Wallet) -> bool:
    """Return whether ``user`` owns ``wallet`` or may spend from it."""
    if wallet.user_id == user.pk:
        return True
    pools = Q(team=wallet.team_id) if wallet.team_id else Q(team__owner=wallet.user_id)
    return user.memberships.filter(pools).exists()


# --- As the list of users & balances finds them ---------------------------------------------------
def owned_by(text: str) -> Q:
    """Return the condition on wallets that an owner's e-mail, name or team is like ``text``."""
    text = text.strip()
    if exact := User.objects.filter(email=text.lower()).first():
        return Q(user=exact)
    users = User.objects.filter(Q(email__contains=text.lower()) | Q(name__icontains=text))
    return Q(user__in=users) | Q(team__in=Team.objects.filter(name__icontains=text))


def of_partners(wallets: QuerySet[Wallet], yes: bool) -> QuerySet[Wallet]:
    if yes:
        return wallets.filter(user__is_partner=True)
    return wallets.exclude(user__is_partner=True)


def indebted(wallets: QuerySet[Wallet], yes: bool) -> QuerySet[Wallet]:
    return wallets.filter(debt__gt=0) if yes else wallets.filter(debt=0)

"""Whose wallet a request is about, and which wallets may pay for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rest_framework.request import Request

from accounts.api.callers import subject_of, user_named
from accounts.choices import ApiScope
from accounts.models import ApiKey, Team, User
from accounts.permissions import staff_may
from creditsite.apikit.fields import (
    MAX_ID,
    PeriodQuery,
    QueryInteger,
    QuerySerializer,
    StrictUUID,
)
from ledger.errors import WalletNotFound
from ledger.models import Wallet
from ledger.queries.wallets import Payers, may_spend_from_pool, payers_of, pool_of, wallet_of
from ledger.services.posting import Posting

USER_ID = "Whom it is about; a service must name them."


class UserQuery(QuerySerializer):
    user_id = QueryInteger(min_value=1, max_value=MAX_ID, required=False, help_text=USER_ID)


class WalletQuery(UserQuery):
    team_id = StrictUUID(required=False, help_text="A team of theirs, for its pool.")


class WalletPeriodQuery(WalletQuery, PeriodQuery):
    """A wallet and a period of time."""


@dataclass(frozen=True, slots=True)
class Spender:
    """Who spends, and who pays for it."""

    user: User
    payers: Payers
    names_team: bool

    def wallet_of(self, posted: Posting) -> Wallet:
        """Return the wallet that was booked on; without a query if it is the spender's own."""
        if posted.wallet_id == self.payers.wallet_ids[0] and not self.names_team:
            return Wallet(pk=posted.wallet_id, user=self.user)
        return Wallet.objects.select_related("team").get(pk=posted.wallet_id)


def spender_in(request: Request, body: Mapping[str, Any]) -> Spender:
    """
    Return who spends, as the body's ``user_id`` and ``team_id`` name them.

    :raises InvalidRequest: a service names nobody.
    :raises NotFound: there is no such user or team for the caller.
    """
    user = subject_of(request, body.get("user_id"))
    team = team_named(body["team_id"]) if "team_id" in body else None
    return Spender(user, payers_of(user, team), names_team=team is not None)


def wallet_in(request: Request, query: Mapping[str, Any]) -> Wallet:
    """
    Return the wallet that a question names: the user's own, or the pool of a team of theirs.

    :raises InvalidRequest: a service names nobody.
    :raises NotFound: there is no such user or team for the caller.
    """
    user = subject_of(request, query.get("user_id"))
    if "team_id" not in query:
        return wallet_of(user)
    team = team_named(query["team_id"])
    if not may_spend_from_pool(user, team):
        raise WalletNotFound
    return pool_of(team)


def statement_wallet_in(request: Request, query: Mapping[str, Any]) -> Wallet:
    """
    Return :func:`wallet_in` if its history may be read, too.

    Who has a seat in somebody's team may spend from that wallet and see its balance. What else its
    owner does with it is not for them to read.

    :raises InvalidRequest: a service names nobody.
    :raises NotFound: there is no such user or team for the caller, or it is another user's wallet.
    """
    wallet = wallet_in(request, query)
    if wallet.user_id is not None and wallet.user_id != query.get("user_id", request.user.pk):
        raise WalletNotFound
    return wallet


def wallet_for_staff(named: Mapping[str, Any]) -> Wallet:
    """
    Return the wallet of whom staff named by ``user_id`` or ``team_id``.

    :raises NotFound: there is no such user or team.
    """
    if "team_id" in named:
        return pool_of(team_named(named["team_id"]))
    return wallet_of(user_named(named["user_id"]))


def may_read(user: User, wallet: Wallet) -> bool:
    """Return whether the history of ``wallet`` is for ``user`` to read."""
    if wallet.team is None:
        return wallet.user_id == user.pk
    return may_spend_from_pool(user, wallet.team)


def team_named(public_id: UUID) -> Team:
    """
    Return the team that the API names so.

    :raises WalletNotFound: there is none.
    """
    team = Team.objects.select_related("owner").filter(public_id=public_id).first()
    if team is None:
        raise WalletNotFound
    return team


def calls_as_staff(request: Request, permission: str) -> bool:
    """Return whether staff call who have ``permission``, or a service that acts for such."""
    if isinstance(request.auth, ApiKey) and ApiScope.CREDITS_ADMIN not in request.auth.scopes:
        return False
    return staff_may(request.user, permission)

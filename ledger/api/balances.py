"""The balance, as every answer that has one shows it."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from rest_framework import serializers

from ledger.choices import WalletStatus
from ledger.models import Wallet
from ledger.queries.balances import Balance, balance_after, balance_of
from ledger.services.posting import Posting


class BalanceDocument(serializers.Serializer):
    """
    Whole credits.

    `current_credits` = `awards` + `purchases` + `partner` = `available` + `held`.
    """

    user_id = serializers.IntegerField(allow_null=True, help_text="Whose wallet it is.")
    team_id = serializers.UUIDField(allow_null=True, help_text="The team whose pool it is.")
    current_credits = serializers.IntegerField(source="current")
    available = serializers.IntegerField(help_text="Can be spent now.")
    held = serializers.IntegerField(help_text="Reserved by open holds.")
    awards = serializers.IntegerField(source="award")
    purchases = serializers.IntegerField(source="purchase")
    partner = serializers.IntegerField()
    debt = serializers.IntegerField(help_text="Owed; the next paid purchase repays it.")
    credit_status = serializers.ChoiceField(choices=WalletStatus.choices, source="status")
    last_updated = serializers.DateTimeField(source="changed_at", allow_null=True)


def balance_left(posted: Posting, wallet: Wallet) -> Balance:
    """Return the balance that a posting answered with."""
    team_id = wallet.team.public_id if wallet.team else None
    return balance_after(posted, user_id=wallet.user_id, team_id=team_id)


def balance_asked(wallet: Wallet, at: datetime, team_id: UUID | None = None) -> Balance:
    """Return the balance of ``wallet`` at ``at``, of the pool of ``team_id`` if that was asked."""
    balance = balance_of(wallet.pk, at)
    return replace(balance, team_id=team_id) if team_id else balance

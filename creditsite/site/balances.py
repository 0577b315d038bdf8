"""The balance document: a wallet's figures, and what apps above the ledger know of its owner."""

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.queries.plans import plan_of
from creditsite.apikit.openapi import operation
from creditsite.apikit.views import ApiView
from creditsite.errors import NotFound
from ledger.api.balances import BalanceDocument, balance_asked
from ledger.api.wallets import WalletQuery, wallet_for_staff, wallet_in
from ledger.queries.balances import Balance


class AccountDocument(BalanceDocument):
    """
    Whole credits.

    `current_credits` = `awards` + `purchases` + `partner` = `available` + `held`.
    """

    tier = serializers.CharField(
        allow_null=True, help_text="The code of the plan that the wallet is on."
    )
    subscription = serializers.CharField(
        allow_null=True,
        help_text="How it stands, as `active` or `past_due`; null without one.",
    )
    next_billing_date = serializers.DateField(
        allow_null=True, help_text="Null if nothing will be paid."
    )


def account_document(balance: Balance) -> dict[str, object]:
    """Return the balance document of a wallet, with the plan that it is on."""
    plan = plan_of(balance.wallet_id)
    return {
        **BalanceDocument(balance).data,
        "tier": plan.code,
        "subscription": plan.status,
        "next_billing_date": plan.next_billing_date,
    }


class BalanceView(ApiView):
    query_class = WalletQuery

    @operation("getBalance", answers={200: AccountDocument}, refusals=[NotFound])
    def get(self, request: Request) -> Response:
        """What a wallet has: one's own, or the pool of a team of one's own."""
        wallet = wallet_in(request, self.query)
        balance = balance_asked(wallet, timezone.now(), self.query.get("team_id"))
        return Response(account_document(balance))


class UserBalanceView(ApiView):
    @operation("getBalanceOfUser", answers={200: AccountDocument})
    def get(self, request: Request, user_id: int) -> Response:
        """What a user's wallet has, as they see it."""
        wallet = wallet_for_staff({"user_id": user_id})
        return Response(account_document(balance_asked(wallet, timezone.now())))

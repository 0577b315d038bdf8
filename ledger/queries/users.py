"""Users with their wallets, for staff."""

from datetime import datetime

from django.db.models import BigIntegerField, Case, F, Func, QuerySet, Value, When
from django.db.models.functions import Coalesce

from accounts.models import User
from ledger.choices import CreditType, WalletStatus


class Visible(Func):
    """The credits of one type that a wallet is shown to have when its cached row no longer says."""

    template = "(SELECT v.%(credit_type)s FROM ledger_visible(%(expressions)s) AS v)"
    output_field = BigIntegerField()


def users_with_balances(at: datetime) -> QuerySet[User]:
    """
    Return users with ``award``, ``purchase``, ``partner``, ``current``, ``held``, ``available``,
    ``debt``, ``credit_status`` and ``changed_at`` of their own wallets at ``at``.

    Who has no wallet yet has no credits.
    """

    def shown(credit_type: str) -> Coalesce:
        recounted = Visible(F("wallet__pk"), Value(at), credit_type=credit_type)
        cached = F(f"wallet__{credit_type}")
        return Coalesce(Case(When(wallet__recount_at__lte=at, then=recounted), default=cached), 0)

    return (
        User.objects.select_related("role")
        .annotate(
            **{credit_type: shown(credit_type) for credit_type in CreditType.values},
            held=Coalesce("wallet__held", 0),
            debt=Coalesce("wallet__debt", 0),
            credit_status=Coalesce("wallet__status", Value(WalletStatus.ACTIVE)),
            changed_at=F("wallet__changed_at"),
        )
        .annotate(
            current=F("award") + F("purchase") + F("partner"),
            available=F("award") + F("purchase") + F("partner") - F("held"),
        )
    )

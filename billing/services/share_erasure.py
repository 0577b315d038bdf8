"""What is held about a person who earns a part of what others spend, or of whom others earned."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import F

from accounts.models import User
from accounts.personal_data import Keeper, Section
from billing.models import ErasedReferral, ShareLine, ShareStatement, ShareTerm
from billing.queries.shares import unpaid
from billing.services.shares import end_terms
from creditsite.money import format_money


class Earnings(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        return [
            f"{format_money(statement.total_minor, statement.currency)} that they earned as"
            f" {statement.kind} are not paid out: pay them first."
            for statement in unpaid().filter(payee=user)
            if statement.total_minor > 0
        ]

    def keeps(self, user: User) -> list[str]:
        kept = []
        if statements := ShareStatement.objects.filter(payee=user).count():
            kept.append(
                f"{statements:,} statements of what they earned: law asks for books to be kept."
            )
        if ShareLine.objects.filter(user=user).exists():
            kept.append("By whom they were referred: what goes back is taken from who earned it.")
        return kept

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        statements = ShareStatement.objects.filter(payee=user).values_list("pk", flat=True)
        return {("billing.sharestatement", str(pk)) for pk in statements}

    def settle(self, *, user: User, decided: Mapping[str, int], actor: Any, at: datetime) -> None:
        end_terms(user, at)

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        end_terms(user, at)
        referrer = user.referrer
        if referrer and ShareTerm.objects.filter(payee=referrer, feature=None).exists():
            ErasedReferral.objects.get_or_create(user=user, defaults={"referrer": referrer})

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        return {
            "earnings": ShareStatement.objects.filter(payee=user)
            .order_by("pk")
            .annotate(
                paid_out_minor=F("payout__amount_minor"),
                paid_on=F("payout__paid_on"),
                reference=F("payout__reference"),
            )
            .values(
                "kind", "currency", "month", "opening_minor", "earned_minor", "paid_out_minor",
                "paid_on", "reference",
            ),
            "earns": ShareTerm.objects.filter(payee=user)
            .order_by("pk")
            .values("feature__code", "since", "until"),
        }  # fmt: skip

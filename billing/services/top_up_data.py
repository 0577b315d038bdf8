"""What is held about a person's auto top-up: given to them, ended and erased with them."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from accounts.models import User
from accounts.personal_data import Keeper, Section
from billing.choices import TopUpEnd, TopUpStatus
from billing.models import AutoTopUp, TopUp
from billing.services.top_ups import end, lock


class TopUps(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        charging = TopUp.objects.filter(auto_top_up__user=user, status=TopUpStatus.CHARGING)
        if charging.exists():
            return ["An automatic top-up is under way: wait until it is paid or given up."]
        return []

    def erases(self, user: User) -> dict[str, int]:
        cards = AutoTopUp.objects.filter(user=user).exclude(card_id="").count()
        return {"card that is charged by itself": cards} if cards else {}

    def keeps(self, user: User) -> list[str]:
        made = TopUp.objects.filter(auto_top_up__user=user).count()
        return [f"{made:,} automatic top-ups, with their payments."] if made else []

    def settle(
        self, *, user: User, decided: Mapping[str, int], actor: User | None, at: datetime
    ) -> None:
        """Switch it off, so that nothing is charged any more."""
        for auto in AutoTopUp.objects.filter(user=user):
            end(lock(auto), TopUpEnd.ERASED, actor=actor, at=at)

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        found = AutoTopUp.objects.filter(user=user).values_list("pk", flat=True)
        return {("billing.autotopup", str(pk)) for pk in found}

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        AutoTopUp.objects.filter(user=user).update(
            is_enabled=False,
            card_id="",
            card_brand="",
            card_last4="",
            card_expires="",
            card_session_id=None,
        )
        TopUp.objects.filter(auto_top_up__user=user).update(card_id="", error="")

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        return {
            "auto_top_up": AutoTopUp.objects.filter(user=user).values(
                "is_enabled", "threshold", "amount", "monthly_limit", "currency", "agreed_minor",
                "agreed_at", "card_brand", "card_last4", "card_expires", "created_at",
                "changed_at",
            ),
            "top_ups": TopUp.objects.filter(auto_top_up__user=user)
            .order_by("pk")
            .values("status", "credits", "available", "reason", "began_at", "ended_at"),
        }  # fmt: skip

"""What is held about a person's subscriptions: given to them, and kept with the books."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import F

from accounts.models import User
from accounts.personal_data import Keeper, Section
from billing.choices import SliceStatus
from billing.models import Slice, Subscription, SubscriptionChange
from billing.models.subscriptions import ON_GOING


class Subscriptions(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        found = []
        if Subscription.objects.filter(user=user, status__in=ON_GOING).exclude(status="open"):
            found.append("They have a subscription: end it first.")
        to_come = Slice.objects.filter(payment__user=user, voided__lt=F("credits"))
        if to_come.exclude(status=SliceStatus.POSTED).exists():
            found.append("Months are paid for whose credits are not given yet: refund them first.")
        return found

    def keeps(self, user: User) -> list[str]:
        count = Subscription.objects.filter(user=user).count()
        return [f"{count:,} subscriptions, with what was paid for them."] if count else []

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        found = Subscription.objects.filter(user=user).values_list("pk", flat=True)
        return {("billing.subscription", str(pk)) for pk in found}

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        SubscriptionChange.objects.filter(subscription__user=user).update(reason="", error="")

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        return {
            "subscriptions": Subscription.objects.filter(user=user)
            .order_by("pk")
            .annotate(plan=F("price__version__offer__code"))
            .values(
                "public_id", "plan", "status", "period_start", "period_end", "cancels_at",
                "ended_at", "created_at",
            ),
            "months_of_subscriptions": Slice.objects.filter(payment__user=user)
            .order_by("pk")
            .values("starts_at", "ends_at", "credits", "voided", "status", "posted_at"),
            "changes_of_subscriptions": SubscriptionChange.objects.filter(subscription__user=user)
            .order_by("pk")
            .values("kind", "status", "asked_at", "done_at"),
        }  # fmt: skip

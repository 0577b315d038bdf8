"""What is held about a person's projects: given to them, and kept with the books without words."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import F

from accounts.models import User
from accounts.personal_data import Keeper, Section
from billing.choices import CostStatus
from billing.models import ProjectAccount, ProjectCost


class Projects(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        waiting = ProjectCost.objects.filter(account__user=user, status=CostStatus.WAITING)
        if waiting.exists():
            return ["Costs of projects wait to become credits: wait for that, or void them."]
        return []

    def erases(self, user: User) -> dict[str, int]:
        count = (
            ProjectAccount.objects.filter(user=user).exclude(project__startswith="erased ").count()
        )
        return {"names and words of projects": count} if count else {}

    def keeps(self, user: User) -> list[str]:
        if costs := ProjectCost.objects.filter(account__user=user).count():
            return [f"{costs:,} costs of projects with their sums and dates, without their words."]
        return []

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        costs = ProjectCost.objects.filter(account__user=user).values_list("pk", flat=True)
        return {("billing.projectcost", str(pk)) for pk in costs}

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        ProjectCost.objects.filter(account__user=user).update(
            description="", reference_id="", why=""
        )
        for account in ProjectAccount.objects.filter(user=user):
            account.project = f"erased {account.pk}"
            account.save(update_fields=["project"])

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        costs = ProjectCost.objects.filter(account__user=user).order_by("recorded_at", "pk")
        return {
            "project_costs": costs.annotate(
                project=F("account__project"), currency=F("account__currency")
            ).values(
                "public_id", "project", "amount_minor", "currency", "period", "description",
                "reference_id", "status", "recorded_at",
            )
        }  # fmt: skip

"""Tiers, on the page of the wallet that is on them."""

from datetime import datetime
from typing import Any, cast

from django import forms
from django.utils import timezone

from accounts.admin.approvals import waits
from accounts.models import Approval, User
from billing.choices import OfferKind
from billing.queries.offers import sold
from billing.queries.plans import plan_of
from billing.queries.tiers import next_due_of, tier_of
from billing.services.tier_allotments import allot_now
from billing.services.tiers import assign_tier, end_tier, takes_two
from creditsite.adminkit import PageAction
from ledger.admin.forms import WalletForm
from ledger.admin.lists import minute
from ledger.admin.wallets import add_to_wallets
from ledger.choices import WalletStatus
from ledger.models import Wallet


def line_of(wallet: Wallet) -> str:
    """Say in a line which plan a wallet is on, and why."""
    plan = plan_of(wallet)
    version = plan.version
    if version is None:
        return ""
    brings = f"{version.name}: {version.credits:,} credits every month"
    if plan.subscription:
        return (
            f"{brings}, by a subscription that is {plan.subscription.get_status_display().lower()}"
        )
    if plan.tier is None:
        return ""
    due = next_due_of(plan.tier, timezone.now())
    return f"{brings}, by a tier without a payment; next due {minute(due)} UTC"


class AssignTierForm(WalletForm):
    """Puts a wallet on a plan that nobody pays for."""

    title = "Put on a tier"
    tier = forms.ChoiceField()

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        plans = [each for each in sold() if each.offer.kind == OfferKind.PLAN]
        self.versions = {each.offer.code: each.version for each in plans}
        super().__init__(data, objects=objects, **kwargs)
        cast("forms.ChoiceField", self.fields["tier"]).choices = [
            (code, f"{version.name} ({code}), {version.credits:,} credits a month")
            for code, version in self.versions.items()
        ]

    def changes(self) -> list[str]:
        line = line_of(self.object)
        lines = [line] if line else [f"{self.object} is on no plan."]
        lines.append("Nothing moves now. Its credits come as awards on each monthly day.")
        version = self.versions.get(self.entered("tier") or "")
        if version and takes_two(version, timezone.now()):
            lines.append("It waits for a second person.")
        return lines

    def apply(self, *, actor: User, at: datetime) -> str:
        done = assign_tier(
            wallet=self.object,
            plan=self.cleaned_data["tier"],
            reason=self.cleaned_data["reason"],
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"{self.object} is on the tier {done.version.offer.code}."


class EndTierForm(WalletForm):
    title = "End the tier"
    is_dangerous = True

    def changes(self) -> list[str]:
        return [
            line_of(self.object),
            "It gets no more credits by the tier. Those that it was given stay.",
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        end_tier(wallet=self.object, reason=self.cleaned_data["reason"], actor=actor, at=at)
        return f"{self.object} is on no tier any more."


class AllotTierForm(WalletForm):
    """Gives the month's credits of a tier before they are due; the plan is the reason."""

    title = "Give this month's credits"

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        del self.fields["reason"]

    @property
    def moved(self) -> int:
        tier = tier_of(self.object)
        return tier.version.credits if tier else 0

    def changes(self) -> list[str]:
        lines = super().changes()
        lines.append(f"It is given {self.moved:,} awarded credits, once for a month.")
        if self.moved > self.settings.approval_adjustment_above:
            lines.append("It waits for a second person.")
        return lines

    def apply(self, *, actor: User, at: datetime) -> str:
        done = allot_now(
            wallet=self.object,
            actor=actor,
            caller=f"user:{actor.pk}",
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return f"{self.object} was given {done.amount:,} credits."


def is_on_tier(wallet: Wallet) -> bool:
    return tier_of(wallet) is not None


def takes_tiers(wallet: Wallet) -> bool:
    return wallet.status != WalletStatus.CLOSED


add_to_wallets(
    PageAction(
        name="assign-tier",
        label="Put on a tier…",
        form_class=AssignTierForm,
        is_offered=takes_tiers,
    ),
    PageAction(
        name="allot-tier",
        label="Give this month's credits…",
        form_class=AllotTierForm,
        is_offered=is_on_tier,
    ),
    PageAction(
        name="end-tier", label="End the tier…", form_class=EndTierForm, is_offered=is_on_tier
    ),
    line=line_of,
)

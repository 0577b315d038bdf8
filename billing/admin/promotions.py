"""Promotions with what came of them, and each use of one."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from accounts.admin.links import leads_to
from accounts.models import Approval
from billing.admin.pages import SaleAdmin
from billing.admin.promotion_forms import EditPromotionForm, EndForm, NewPromotionForm
from billing.choices import PromotionKind, RedemptionStatus
from billing.models import Promotion, Redemption
from billing.queries.promotions import statistics_of
from billing.quotes import percent
from billing.services import promotions
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    InfinitePaginator,
    PageAction,
    RangeDateFilter,
    ReadOnlyAdmin,
    display,
)
from creditsite.money import format_money
from ledger.admin.lists import LatestFirst, minute, two_lines

RECENT = 20


def gives(promotion: Promotion) -> str:
    """Say what a promotion gives: "20 % off"."""
    match promotion.kind:
        case PromotionKind.PERCENTAGE:
            return f"{percent(promotion.basis_points)} off"
        case PromotionKind.FIXED:
            amounts = sorted(promotion.amounts.items())
            return f"{' or '.join(format_money(minor, code) for code, minor in amounts)} off"
        case PromotionKind.BONUS:
            return f"{promotion.credits:,} bonus credits"
    return f"{promotion.credits:,} credits"


def state_of(promotion: Promotion) -> str:
    now = timezone.now()
    if not promotion.is_active or (promotion.ends_at and promotion.ends_at <= now):
        return "ended"
    if promotion.starts_at > now:
        return "to come"
    limit = promotion.limit_total
    return "used up" if limit is not None and promotion.taken >= limit else "in force"


def of_limit(number: int, limit: int | None) -> str:
    return f"{number:,}" if limit is None else f"{number:,} of {limit:,}"


@admin.register(Promotion)
class PromotionAdmin(SaleAdmin):
    new_form = NewPromotionForm
    list_display = ["promotion", "what", "state", "uses", "begins", "ends"]
    list_filter = [("kind", ChoicesDropdownFilter), ("starts_at", RangeDateFilter)]
    search_fields = ["code", "name"]
    ordering = ["-pk"]
    sortable_by: ClassVar[list[str]] = []
    page_actions = (
        PageAction(
            name="edit",
            label="Change…",
            form_class=EditPromotionForm,
            is_offered=lambda promotion: promotion.is_active,
            is_primary=True,
        ),
        PageAction(
            name="end",
            label="End…",
            form_class=EndForm,
            is_offered=lambda promotion: promotion.is_active,
        ),
    )

    @display(description="promotion")
    def promotion(self, promotion: Promotion) -> SafeString:
        return two_lines(promotion.code, promotion.name)

    @display(description="gives")
    def what(self, promotion: Promotion) -> str:
        return gives(promotion)

    @display(
        description="state",
        label={"in force": "success", "to come": "info", "ended": "warning", "used up": "warning"},
    )
    def state(self, promotion: Promotion) -> str:
        return state_of(promotion)

    @display(description="taken")
    def uses(self, promotion: Promotion) -> str:
        return of_limit(promotion.taken, promotion.limit_total)

    @display(description="from (UTC)")
    def begins(self, promotion: Promotion) -> str:
        return minute(promotion.starts_at)

    @display(description="until (UTC)")
    def ends(self, promotion: Promotion) -> str:
        return minute(promotion.ends_at)

    def explain(self, request: HttpRequest, instance: Promotion) -> dict[str, Any]:
        found = statistics_of(instance)
        uses = Redemption.objects.filter(promotion=instance).select_related("user")
        return {
            "gives": gives(instance),
            "state": state_of(instance),
            "statistics": found,
            "taken": of_limit(instance.taken, instance.limit_total),
            "discounts": [format_money(minor, code) for code, minor in found.discounts.items()],
            "packages": ", ".join(instance.offers),
            "for_roles": ", ".join(instance.roles),
            "recent": uses.order_by("-pk")[:RECENT],
        }


@admin.register(Redemption)
class RedemptionAdmin(ReadOnlyAdmin):
    paginator = InfinitePaginator
    list_display = ["code", "who", "state", "given", "taken_off", "reserved", "settled"]
    list_display_links: ClassVar[list[str]] = ["code"]
    list_filter = [("status", ChoicesDropdownFilter), ("reserved_at", RangeDateFilter)]
    list_select_related = ["promotion", "user"]
    search_fields = ["=promotion__code", "user__email"]
    search_help_text = "A code, or part of an e-mail address"
    ordering = ["-pk"]
    sortable_by: ClassVar[list[str]] = []
    fields = [
        "promotion", "user", "status", "given", "taken_off", "grant", "reserved", "settled",
    ]  # fmt: skip

    class Media:
        css = {"all": ["ledger/staff.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return LatestFirst

    @display(description="code")
    def code(self, redemption: Redemption) -> str:
        return redemption.promotion.code

    @display(description="user")
    def who(self, redemption: Redemption) -> str:
        return str(redemption.user)

    @display(
        description="state",
        label={
            RedemptionStatus.RESERVED: "info",
            RedemptionStatus.REDEEMED: "success",
            RedemptionStatus.RELEASED: "warning",
        },
    )
    def state(self, redemption: Redemption) -> str:
        return redemption.status

    @display(description="credits")
    def given(self, redemption: Redemption) -> str:
        return f"{redemption.credits:,}" if redemption.credits else "–"

    @display(description="taken off")
    def taken_off(self, redemption: Redemption) -> str:
        if not redemption.discount_minor:
            return "–"
        return format_money(redemption.discount_minor, redemption.currency)

    @display(description="reserved (UTC)")
    def reserved(self, redemption: Redemption) -> str:
        return minute(redemption.reserved_at)

    @display(description="settled (UTC)")
    def settled(self, redemption: Redemption) -> str:
        return minute(redemption.settled_at)


def promotion_of(approval: Approval) -> Promotion | None:
    made = (approval.result or {}).get("promotion") or approval.payload["promotion"]
    return Promotion.objects.filter(pk=made).first() if made else None


leads_to(promotions.KIND, promotion_of)

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from creditsite.adminkit import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RelatedDropdownFilter,
    actor_of,
    display,
)
from ledger.admin.forms import (
    LABELS,
    AddCreditsForm,
    RemoveCreditsForm,
    SetBalancesForm,
)
from ledger.admin.lists import BooksAdmin, LatestFirst, minute, owned_by, two_lines
from ledger.admin.pages import ExplainingAdmin, PageAction
from ledger.admin.standing_forms import (
    EndPartnerForm,
    PauseForm,
    ResumeForm,
    StartPartnerForm,
)
from ledger.choices import WalletStatus
from ledger.figures import figure
from ledger.models import Wallet
from ledger.queries.balances import balances_of
from ledger.queries.explanations import explain
from ledger.queries.wallets import is_own_wallet

STATUS_COLOURS = {"active": "success", "paused": "warning", "closed": "danger"}


class PartnerFilter(DropdownFilter):
    title = parameter_name = "partner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Partners"), ("no", "Others")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "yes":
            return queryset.filter(user__is_partner=True)
        return queryset.exclude(user__is_partner=True) if self.value() == "no" else queryset


class DebtFilter(DropdownFilter):
    title = parameter_name = "debt"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Owes credits"), ("no", "Owes nothing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "yes":
            return queryset.filter(debt__gt=0)
        return queryset.filter(debt=0) if self.value() == "no" else queryset


class WalletList(LatestFirst):
    """Shows the figures as anyone is shown them, read for a page of wallets in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        balances = balances_of([wallet.pk for wallet in self.result_list], timezone.now())
        for wallet in self.result_list:
            wallet.shown = balances[wallet.pk]


@admin.register(Wallet)
class WalletAdmin(ExplainingAdmin, BooksAdmin):
    title = "Users & balances"
    list_display = [
        "owned_by",
        "role",
        "awards",
        "purchases",
        "partner_credits",
        "held",
        "debt",
        "state",
        "last_change",
    ]
    list_display_links = ["owned_by"]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        ("user__role", RelatedDropdownFilter),
        PartnerFilter,
        DebtFilter,
    ]
    list_select_related = ["user__role", "team"]
    list_before_template = None
    search_fields = ["user__email", "user__name", "team__name"]
    search_help_text = "E-mail, name or team"
    ordering = ["-pk"]
    page_actions = (
        PageAction(
            name="set",
            label="Set balances…",
            permission="ledger.adjust_wallet",
            form_class=SetBalancesForm,
            is_primary=True,
        ),
        PageAction(
            name="add",
            label="Add credits…",
            permission="ledger.adjust_wallet",
            form_class=AddCreditsForm,
        ),
        PageAction(
            name="remove",
            label="Remove credits…",
            permission="ledger.adjust_wallet",
            form_class=RemoveCreditsForm,
        ),
        PageAction(
            name="start-partner",
            label="Make a partner…",
            permission="ledger.switch_partner",
            form_class=StartPartnerForm,
            is_offered=lambda wallet: wallet.user and not wallet.user.is_partner,
        ),
        PageAction(
            name="end-partner",
            label="End partner status…",
            permission="ledger.switch_partner",
            form_class=EndPartnerForm,
            is_offered=lambda wallet: wallet.user and wallet.user.is_partner,
        ),
        PageAction(
            name="pause",
            label="Pause…",
            permission="ledger.pause_wallet",
            form_class=PauseForm,
            is_offered=lambda wallet: wallet.status == WalletStatus.ACTIVE,
        ),
        PageAction(
            name="resume",
            label="Resume…",
            permission="ledger.pause_wallet",
            form_class=ResumeForm,
            is_offered=lambda wallet: wallet.status == WalletStatus.PAUSED,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Wallet]:
        return super().get_queryset(request).select_related("user__role", "team")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WalletList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        return (queryset.filter(owned_by(search_term)) if search_term else queryset), False

    def explain(self, request: HttpRequest, instance: Wallet) -> dict[str, Any]:
        now = timezone.now()
        explanation = explain(instance, now)
        is_own = is_own_wallet(actor_of(request), instance)
        return {
            "now": now,
            "story": explanation,
            "lines": [(LABELS[t], line) for t, line in explanation.lines.items()],
            "is_own": is_own,
        } | ({"page_actions": []} if is_own else {})

    @display(description="owner")
    def owned_by(self, wallet: Wallet) -> SafeString:
        return two_lines(str(wallet), wallet.user.name if wallet.user else "Organisation")

    @display(description="role")
    def role(self, wallet: Wallet) -> str:
        if wallet.user is None:
            return "–"
        return f"{wallet.user.role or '–'}{' · partner' if wallet.user.is_partner else ''}"

    @display(description="awards")
    def awards(self, wallet: Any) -> str:
        return figure(wallet.shown.award)

    @display(description="purchases")
    def purchases(self, wallet: Any) -> str:
        return figure(wallet.shown.purchase)

    @display(description="partner")
    def partner_credits(self, wallet: Any) -> str:
        return figure(wallet.shown.partner)

    @display(description="held")
    def held(self, wallet: Any) -> str:
        return figure(wallet.shown.held)

    @display(description="debt")
    def debt(self, wallet: Any) -> str:
        return figure(wallet.shown.debt)

    @display(description="last change (UTC)")
    def last_change(self, wallet: Wallet) -> str:
        return minute(wallet.changed_at)

    @display(description="status", label=STATUS_COLOURS)
    def state(self, wallet: Wallet) -> str:
        return wallet.status

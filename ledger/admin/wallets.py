from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString

from creditsite.adminkit import (
    ChoicesDropdownFilter,
    DropdownFilter,
    PageAction,
    RelatedDropdownFilter,
    action,
    actor_of,
    display,
)
from ledger.admin.backfills import BackfillPages
from ledger.admin.forms import (
    LABELS,
    AddCreditsForm,
    RemoveCreditsForm,
    SetBalancesForm,
)
from ledger.admin.lists import BooksAdmin, LatestFirst, minute, owned_by, two_lines
from ledger.admin.pages import ExplainingAdmin
from ledger.admin.selections import address_of_new_batch, filter_of, in_words, selection_of
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
from ledger.queries.wallets import indebted, is_own_wallet, of_partners

# More than a page of the list shows, and few enough for an address.
MOST_TICKED = 200
STATUS_COLOURS = {"active": "success", "paused": "warning", "closed": "danger"}


class PartnerFilter(DropdownFilter):
    title = parameter_name = "partner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Partners"), ("no", "Others")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in {"yes", "no"}:
            return queryset
        return of_partners(queryset, self.value() == "yes")


class DebtFilter(DropdownFilter):
    title = parameter_name = "debt"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Owes credits"), ("no", "Owes nothing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in {"yes", "no"}:
            return queryset
        return indebted(queryset, self.value() == "yes")


# What apps above the ledger say of a wallet on its page, in a line each.
LINES: list[Callable[[Wallet], str]] = []


class WalletList(LatestFirst):
    """Shows the figures as anyone is shown them, read for a page of wallets in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        balances = balances_of([wallet.pk for wallet in self.result_list], timezone.now())
        for wallet in self.result_list:
            wallet.shown = balances[wallet.pk]


@admin.register(Wallet)
class WalletAdmin(BackfillPages, ExplainingAdmin, BooksAdmin):
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
    list_before_template = "admin/ledger/wallet/acts_on_found.html"
    # It would say how many there are, and nobody counts them. The acts on all that are found do.
    list_disable_select_all = True
    actions = ["add_selected", "deduct_selected"]
    search_fields = ["user__email", "user__name", "team__name"]
    search_help_text = "E-mail, name or team"
    ordering = ["-pk"]
    page_actions: tuple[PageAction, ...] = (
        PageAction(
            name="set",
            label="Set balances…",
            form_class=SetBalancesForm,
            is_primary=True,
        ),
        PageAction(
            name="add",
            label="Add credits…",
            form_class=AddCreditsForm,
        ),
        PageAction(
            name="remove",
            label="Remove credits…",
            form_class=RemoveCreditsForm,
        ),
        PageAction(
            name="start-partner",
            label="Make a partner…",
            form_class=StartPartnerForm,
            is_offered=lambda wallet: wallet.user and not wallet.user.is_partner,
        ),
        PageAction(
            name="end-partner",
            label="End partner status…",
            form_class=EndPartnerForm,
            is_offered=lambda wallet: wallet.user and wallet.user.is_partner,
        ),
        PageAction(
            name="pause",
            label="Pause…",
            form_class=PauseForm,
            is_offered=lambda wallet: wallet.status == WalletStatus.ACTIVE,
        ),
        PageAction(
            name="resume",
            label="Resume…",
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

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {}
        if self.may_act(request, "add_selected"):
            query = filter_of(request)
            context = {
                "found": in_words(selection_of(query)),
                "acts_on_found": [
                    ("Add credits…", address_of_new_batch("add", query)),
                    ("Deduct credits…", address_of_new_batch("deduct", query)),
                ],
            }
        return super().changelist_view(request, context | (extra_context or {}))

    @action(description="Add credits to those ticked…")
    def add_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self.new_batch("add", request, queryset)

    @action(description="Deduct credits from those ticked…")
    def deduct_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self.new_batch("deduct", request, queryset)

    def new_batch(self, kind: str, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """Lead to a new batch for the wallets that are ticked."""
        ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST_TICKED + 1])
        if len(ids) > MOST_TICKED:
            refusal = f"Tick at most {MOST_TICKED}; for more, filter the list."
            self.message_user(request, refusal, messages.ERROR)
            return None
        query = {"id__in": ",".join(map(str, ids))}
        return HttpResponseRedirect(address_of_new_batch(kind, query))

    def explain(self, request: HttpRequest, instance: Wallet) -> dict[str, Any]:
        now = timezone.now()
        explanation = explain(instance, now)
        is_own = is_own_wallet(actor_of(request), instance)
        return {
            "now": now,
            "story": explanation,
            "lines": [(LABELS[t], line) for t, line in explanation.lines.items()],
            "is_own": is_own,
            "more": [text for line in LINES if (text := line(instance))],
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


def add_to_wallets(*actions: PageAction, line: Callable[[Wallet], str]) -> None:
    """Offer acts of an app above on the page of a wallet, and say there what ``line`` says."""
    WalletAdmin.page_actions += actions
    LINES.append(line)

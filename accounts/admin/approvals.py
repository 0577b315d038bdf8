from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin.links import link_from
from accounts.choices import ApprovalStatus
from accounts.models import Approval, User
from accounts.services import approvals
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    ConfirmationForm,
    DropdownFilter,
    PageAction,
    RangeDateFilter,
    ReadOnlyAdmin,
    ReasonField,
    actor_of,
    display,
)
from creditsite.errors import NotPermitted

COLOURS = {
    "waiting": "info",
    "executed": "success",
    "failed": "danger",
    "refused": "warning",
    "withdrawn": "warning",
    "expired": "warning",
}
OUTCOMES = {
    ApprovalStatus.EXECUTED: "Approved, and done",
    ApprovalStatus.FAILED: "Approved, but refused when it was tried",
    ApprovalStatus.REFUSED: "Refused",
    ApprovalStatus.WITHDRAWN: "Withdrawn",
}
WAITS_FOR_ME, ASKED_BY_ME, ALL = "waiting", "asked", "all"
TABS = {WAITS_FOR_ME: "Waits for me", ASKED_BY_ME: "I asked for", ALL: "All"}


def is_waiting(approval: Approval) -> bool:
    return approval.status_at(timezone.now()) == ApprovalStatus.WAITING


class DecisionForm(ConfirmationForm):
    """Ends a request: shows what was asked for and what it touches now, and asks why."""

    # That somebody was not let decide is kept, though nothing else of it is.
    is_atomic = False
    who: ClassVar[str]
    decide: ClassVar[Callable[..., Approval]]

    def changes(self) -> list[str]:
        approval = self.object
        kind = approvals.KINDS[approval.kind]
        return [
            f"{kind.describe(approval.payload)}.",
            f"Asked for by {approval.maker}: {approval.reason}",
            *kind.state(approval.payload, timezone.now()),
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        note = self.cleaned_data["reason"]
        ended = self.decide(approval=self.object, note=note, at=at, **{self.who: actor})
        why = ended.error or (ended.note if ended.checker is None and ended.note != note else "")
        return f"{OUTCOMES[ApprovalStatus(ended.status)]}: {why or ended.sentence}"


class ApproveForm(DecisionForm):
    title, who = "Approve", "checker"
    decide = staticmethod(approvals.approve)
    reason = ReasonField(label="Why you approve")


class RefuseForm(DecisionForm):
    title, who = "Refuse", "checker"
    decide = staticmethod(approvals.refuse)
    reason = ReasonField(label="Why you refuse")


class WithdrawForm(DecisionForm):
    title, who = "Withdraw", "maker"
    decide = staticmethod(approvals.withdraw)


class WhoseFilter(DropdownFilter):
    title, parameter_name = "whose", "whose"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(TABS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        user = actor_of(request)
        match whose(request):
            case "waiting":
                return queryset & approvals.waiting_for(user, timezone.now())
            case "asked":
                return queryset.filter(maker=user)
        return queryset


def whose(request: HttpRequest) -> str:
    """Return whose approvals a list shows: at first, to who may decide, what waits for them."""
    first = WAITS_FOR_ME if actor_of(request).may(approvals.DECIDE) else ALL
    asked = request.GET.get("whose", first)
    return asked if asked in TABS else ALL


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    list_display = ["what", "state", "maker", "asked_at", "expires_at", "checker", "decided_at"]
    list_filter = [
        WhoseFilter,
        ("status", ChoicesDropdownFilter),
        ("asked_at", RangeDateFilter),
    ]
    list_select_related = ["maker", "checker"]
    list_before_template = "admin/accounts/approval/tabs.html"
    search_fields = ["sentence", "maker__email", "about__email"]
    search_help_text = "Words of what was asked for, e-mail of who asked or whom it is about"
    ordering = ["-pk"]
    page_actions = (
        PageAction(
            name="approve",
            label="Approve…",
            form_class=ApproveForm,
            is_offered=is_waiting,
            is_primary=True,
        ),
        PageAction(name="refuse", label="Refuse…", form_class=RefuseForm, is_offered=is_waiting),
        PageAction(
            name="withdraw", label="Withdraw…", form_class=WithdrawForm, is_offered=is_waiting
        ),
    )
    fieldsets = [
        (None, {"fields": ["what_exactly", "now", "leads_to", "reason", "state"]}),
        ("Asked", {"fields": ["maker", "caller", "asked_at", "expires_at"]}),
        ("Decided", {"fields": ["checker", "decided_at", "note", "error", "result"]}),
        ("To the letter", {"fields": ["kind", "payload", "hash", "is_intact"]}),
    ]

    class Media:
        css = {"all": ["accounts/json.css"]}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tabs = [(name, label, name == whose(request)) for name, label in TABS.items()]
        return super().changelist_view(request, {"tabs": tabs} | (extra_context or {}))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out how it was decided while it waits."""
        return [
            (title, fields)
            for title, fields in super().get_fieldsets(request, obj)
            if title != "Decided" or (obj and obj.decided_at)
        ]

    def offered(self, request: HttpRequest, instance: Any) -> list[dict[str, Any]]:
        own = instance.maker_id == actor_of(request).pk
        return [
            act
            for act in super().offered(request, instance)
            if (own if act["name"] == "withdraw" else not why_not(request, instance))
        ]

    def render_change_form(
        self,
        request: HttpRequest,
        context: Mapping[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        context = {**context, "why_not": why_not(request, obj) if is_waiting(obj) else ""}
        return super().render_change_form(request, context, add, change, form_url, obj)

    @display(description="what")
    def what(self, approval: Approval) -> str:
        return approval.sentence or str(approval)

    @display(description="what")
    def what_exactly(self, approval: Approval) -> str:
        return approvals.KINDS[approval.kind].describe(approval.payload)

    @display(description="now")
    def now(self, approval: Approval) -> SafeString:
        lines = approvals.KINDS[approval.kind].state(approval.payload, timezone.now())
        return format_html_join("", "<div>{}</div>", ([line] for line in lines))

    @display(description="page", empty_value="–")
    def leads_to(self, approval: Approval) -> SafeString | None:
        return link_from(approval)

    @display(description="status", label=COLOURS)
    def state(self, approval: Approval) -> str:
        return approval.status_at(timezone.now())

    @display(description="hash of the payload")
    def hash(self, approval: Approval) -> SafeString:
        groups = (approval.payload_hash[start : start + 8] for start in range(0, 64, 8))
        return format_html_join("", "{}<wbr>", ([group] for group in groups))

    @display(description="is as it was asked", boolean=True)
    def is_intact(self, approval: Approval) -> bool:
        return approvals.is_as_asked(approval)


def why_not(request: HttpRequest, approval: Approval) -> str:
    """Say why whoever looks at a waiting request may not decide on it, if so."""
    kind = approvals.KINDS[approval.kind]
    try:
        approvals.refuse_to_let_decide(kind, approval, actor_of(request))
    except NotPermitted as refusal:
        return str(refusal)
    return ""


def waits(approval: Approval) -> SafeString:
    """Return the message that what was asked for waits for a second person, and where."""
    return format_html(
        'It waits for a second person: <a href="{}" class="underline">{}</a>.',
        reverse("admin:accounts_approval_change", args=[approval.pk]),
        approval.sentence,
    )

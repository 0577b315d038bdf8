"""What is given by itself: rules in force, what is due, what ran; and who was referred."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin.links import leads_to
from accounts.choices import JobStatus
from accounts.models import User
from accounts.services.jobs import progress_of
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    ConfirmationForm,
    RangeDateFilter,
    ReadOnlyAdmin,
    actor_of,
    ask,
    display,
)
from ledger.admin.lists import minute
from ledger.choices import AwardRule, SignUpFrequency
from ledger.models import AwardRun, CreditSettings, Referral
from ledger.queries.awards import due_awards, figures_of, next_due
from ledger.queries.settings import settings_at
from ledger.services import award_runs

LIST = "admin:ledger_awardrun_changelist"
WHEN_SIGNED_UP = {
    SignUpFrequency.ONCE: "Once, when a user registers, on top of the role’s allotment.",
    SignUpFrequency.MONTHLY: "When a user registers, for that month; from then on every month.",
}

WHOM = {
    AwardRule.SIGN_UP: "everyone",
    AwardRule.PARTNER_ALLOTMENT: "every partner",
}


class RunDueForm(ConfirmationForm):
    """Asks before it starts what is due; the service says so where nothing is."""

    title, button = "Run what is due", "Run"

    def changes(self) -> list[str]:
        return [
            f"{award}: {award.amount:,} credits to {WHOM[award.rule]} who registered by"
            f" {minute(award.at)} UTC"
            for award in self.objects
        ]

    def apply(self, *, actor: User, at: datetime) -> str:
        reason = self.cleaned_data["reason"]
        runs = award_runs.run_due_awards(actor=actor, at=at, reason=reason)
        return f"Started: {', '.join(map(str, runs))}."


@admin.register(AwardRun)
class AwardRunAdmin(ReadOnlyAdmin):
    list_display = ["award", "state", "users", "given", "each", "due", "started"]
    list_display_links = ["award"]
    list_filter = [("rule", ChoicesDropdownFilter), ("due_at", RangeDateFilter)]
    list_select_related = ["job"]
    list_before_template = "admin/ledger/awards.html"
    ordering = ["-due_at", "-pk"]
    sortable_by: ClassVar[list[str]] = []
    fieldsets = [
        (None, {"fields": ["award", "how_far", "users", "given", "each", "lasts"]}),
        ("Trace", {"fields": ["due", "started", "its_job"]}),
    ]

    class Media:
        css = {"all": ["ledger/staff.css"]}

    @display(description="award")
    def award(self, run: AwardRun) -> str:
        return str(run)

    @display(
        description="state",
        label={
            JobStatus.PENDING: "info",
            JobStatus.RUNNING: "info",
            JobStatus.PAUSED: "warning",
            JobStatus.FAILED: "danger",
            JobStatus.CANCELLED: "warning",
            JobStatus.DONE: "success",
        },
    )
    def state(self, run: AwardRun) -> tuple[str, str]:
        return run.job.status, self.how_far(run)

    @display(description="state")
    def how_far(self, run: AwardRun) -> str:
        status = run.job.get_status_display().lower()
        if run.job.status == JobStatus.DONE:
            return status
        progress = progress_of(run.job)
        return f"{status}, {progress.done:,} of {progress.total:,} chunks"

    @display(description="lasts")
    def lasts(self, run: AwardRun) -> str:
        return "for ever" if run.expiry_days is None else f"{run.expiry_days:,} days"

    @display(description="users")
    def users(self, run: AwardRun) -> str:
        return f"{figures_of(run.job)['users']:,}"

    @display(description="credits")
    def given(self, run: AwardRun) -> str:
        return f"{figures_of(run.job)['credits']:,}"

    @display(description="each")
    def each(self, run: AwardRun) -> str:
        return f"{run.amount:,}"

    @display(description="due (UTC)")
    def due(self, run: AwardRun) -> str:
        return minute(run.due_at)

    @display(description="started (UTC)")
    def started(self, run: AwardRun) -> str:
        return minute(run.started_at)

    @display(description="job")
    def its_job(self, run: AwardRun) -> SafeString:
        link = reverse("admin:accounts_job_change", args=[run.job_id])
        return format_html(
            '<a href="{}" class="text-primary-600 underline dark:text-primary-400">{}</a>',
            link,
            run.job,
        )

    def get_urls(self) -> list[URLPattern]:
        run_due = path(
            "run-due/",
            self.admin_site.admin_view(self.run_due_view),
            name="ledger_awardrun_run-due",
        )
        return [run_due, *super().get_urls()]

    def run_due_view(self, request: HttpRequest) -> HttpResponse:
        """Say what is due and to how many, and ask."""
        back = reverse(LIST)
        page = ask(self, request, due_awards(timezone.now()), RunDueForm, act="run-due", back=back)
        return page or HttpResponseRedirect(back)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        at = timezone.now()
        terms = settings_at(at)
        due = due_awards(at)
        context = {
            "title": "Awards",
            "rules": rules(terms, at),
            "terms": terms,
            "due": due,
            "may_run": bool(due) and self.may_act(request, "run-due"),
            "may_see_settings": actor_of(request).may("ledger.view_creditsettings"),
        }
        return super().changelist_view(request, context | (extra_context or {}))


def rules(terms: CreditSettings, at: datetime) -> list[dict[str, Any]]:
    """Return each rule as it is in force: what it gives, to whom, and when it is due next."""
    period, due_at = next_due(at)
    next_run = f"{period:%Y-%m}, due {minute(due_at)} UTC"
    is_monthly = terms.sign_up_frequency == SignUpFrequency.MONTHLY
    return [
        {
            "name": "Role allotment",
            "credits": "by role",
            "link": reverse("admin:accounts_role_changelist"),
            "when": "When a user registers or is backfilled; the difference when their role is"
            " changed to one that brings more.",
        },
        {
            "name": "Sign-up credits",
            "credits": terms.sign_up_credits,
            "when": WHEN_SIGNED_UP[SignUpFrequency(terms.sign_up_frequency)],
            "next": next_run if terms.sign_up_credits and is_monthly else "",
        },
        {
            "name": "Referral",
            "credits": terms.referral_credits,
            "link": reverse("admin:ledger_referral_changelist"),
            "when": "To the referrer, when who they referred registers; at most"
            f" {terms.referral_monthly_limit:,} in a month.",
        },
        {
            "name": "Partner allotment",
            "credits": terms.partner_allotment,
            "when": "Every month, to everyone who is a partner when the run comes to them.",
            "next": next_run if terms.partner_allotment else "",
        },
    ]


@admin.register(Referral)
class ReferralAdmin(ReadOnlyAdmin):
    list_display = ["referrer", "referred", "result", "given", "month", "registered"]
    list_filter = [("outcome", ChoicesDropdownFilter), ("registered_at", RangeDateFilter)]
    list_select_related = ["referrer", "referred"]
    search_fields = ["referrer__email", "referred__email"]
    search_help_text = "E-mail of either"
    ordering = ["-pk"]
    sortable_by: ClassVar[list[str]] = []
    fieldsets = [
        (None, {"fields": ["referrer", "referred", "outcome", "given", "month", "registered"]}),
    ]

    class Media:
        css = {"all": ["ledger/staff.css"]}

    @display(
        description="outcome",
        label={"awarded": "success", "over_limit": "warning", "own_address": "danger"},
    )
    def result(self, referral: Referral) -> tuple[str, str]:
        return referral.outcome, referral.get_outcome_display().lower()

    @display(description="credits")
    def given(self, referral: Referral) -> str:
        return f"{referral.credits:,}"

    @display(description="month")
    def month(self, referral: Referral) -> str:
        return f"{referral.period:%Y-%m}"

    @display(description="registered (UTC)")
    def registered(self, referral: Referral) -> str:
        return minute(referral.registered_at)


leads_to(award_runs.KIND, lambda job: AwardRun.objects.filter(job=job.pk).first())

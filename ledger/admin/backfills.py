"""The pages of a backfill: what it would give, the question, how far it is, what it gave."""

from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from accounts.admin.approvals import waits
from accounts.choices import JobStatus
from accounts.models import Approval, Job, Role, User
from accounts.services.jobs import progress_of, summed
from creditsite.adminkit import ConfirmationForm, ModelAdmin, ask
from ledger.services import backfill
from ledger.services.backfill import Summary, Total

LIVE = {JobStatus.PENDING, JobStatus.RUNNING}
LIST = "admin:ledger_wallet_changelist"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a summary: a role, or all of them."""

    name: str
    found: int
    granted: int
    skipped: int
    credits: int


def lines_of(summary: Summary) -> list[Line]:
    """Return the lines of ``summary`` by role, and one of all; none where nobody was found."""
    names = dict(Role.objects.values_list("code", "name"))
    lines = [Line(names.get(code, code), **counts) for code, counts in summary.items()]
    if lines:
        counts = ("found", "granted", "skipped", "credits")
        lines.append(Line("All", *(sum(getattr(line, name) for line in lines) for name in counts)))
    return lines


@dataclass(frozen=True, slots=True)
class Preview:
    """A backfill as it would be now: of one role, or of all where ``role`` is ``None``."""

    role: str | None
    summary: Summary

    @property
    def total(self) -> Total:
        return backfill.total_of(self.summary)


class BackfillForm(ConfirmationForm):
    """Asks about the figures that it shows: if they have changed, it shows the fresh ones."""

    title = "Give credits to users who never had any"
    template = "admin/ledger/wallet/backfill.html"
    shown = forms.CharField(max_length=60, widget=forms.HiddenInput)

    class Media:
        css = {"all": ["ledger/staff.css"]}

    def __init__(self, data: Any = None, *, objects: Any, **kwargs: Any) -> None:
        super().__init__(data, objects=objects, **kwargs)
        self.fields["shown"].initial = self.figures

    @property
    def figures(self) -> str:
        return f"{self.object.total.credits} to {self.object.total.wallets}"

    def clean(self) -> None:
        super().clean()
        if self.cleaned_data.get("shown") != self.figures:
            self.errors.pop("confirmation", None)
            typed = {name: self.data[name] for name in self.data if name != "confirmation"}
            self.data = typed | {"shown": self.figures}
            raise ValidationError("What is due has changed meanwhile. These are the new figures.")

    @property
    def phrase(self) -> str:
        return backfill.phrase_of(self.object.total, timezone.now())

    @property
    def button(self) -> str:  # type: ignore[override]
        return "Ask for approval" if self.is_for_two else "Give them"

    @property
    def is_for_two(self) -> bool:
        return backfill.is_for_two(self.object.total, timezone.now())

    def lines(self) -> list[Line]:
        return lines_of(self.object.summary)

    def roles(self) -> list[tuple[str, str, bool]]:
        """Return the roles to choose from, each with the address of its preview."""
        known = [("", "All roles"), *Role.objects.order_by("name").values_list("code", "name")]
        return [
            (
                f"?{urlencode({'role': code})}" if code else "?",
                name,
                code == (self.object.role or ""),
            )
            for code, name in known
        ]

    def apply(self, *, actor: User, at: datetime) -> str | HttpResponseRedirect:
        done = backfill.run_backfill(
            role=self.object.role,
            actor=actor,
            reason=self.cleaned_data["reason"],
            at=at,
            idempotency_key=self.idempotency_key,
        )
        if isinstance(done, Approval):
            return waits(done)
        return HttpResponseRedirect(reverse("admin:ledger_wallet_backfill-run", args=[done.pk]))


class BackfillPages(ModelAdmin):
    """Adds the pages of backfills to those of wallets."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("backfill/", view(self.backfill_view), name="ledger_wallet_backfill"),
            path(
                "<path:object_id>/backfill-run/",
                view(self.backfill_run_view),
                name="ledger_wallet_backfill-run",
            ),
            path(
                "<path:object_id>/backfill-progress/",
                view(self.backfill_progress_view),
                name="ledger_wallet_backfill-progress",
            ),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = {"may_backfill": self.may_act(request, "backfill")}
        return super().changelist_view(request, may | (extra_context or {}))

    def backfill_view(self, request: HttpRequest) -> HttpResponse:
        """Say what a backfill would give now, and ask."""
        role = request.GET.get("role") or None
        if role is not None and not Role.objects.filter(code=role).exists():
            raise Http404
        summary = backfill.preview_backfill(at=timezone.now(), role=role, by_staff=True)
        preview = Preview(role, summary)
        back = reverse(LIST)
        page = ask(self, request, [preview], BackfillForm, act="backfill", back=back)
        return page or HttpResponseRedirect(back)

    def backfill_run_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say how far a backfill is, and what it gave once it is at its end."""
        job = self.backfill_job(object_id)
        progress = progress_of(job)
        results: Any = job.chunks.exclude(done_at=None).values_list("result", flat=True)
        nothing: dict[str, Any] = {}
        context = {
            **self.admin_site.each_context(request),
            "title": f"Backfill {job.pk}",
            "opts": self.model._meta,
            "media": self.media,
            "job": job,
            "state": str(job.status),
            "is_live": job.status in LIVE,
            "done": progress.done,
            "total": progress.total,
            "lines": lines_of(job.result or reduce(summed, results, nothing)),
        }
        return TemplateResponse(request, "admin/ledger/wallet/backfill_run.html", context)

    def backfill_progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.backfill_job(object_id)
        progress = progress_of(job)
        return JsonResponse(
            {"state": str(job.status), "done": progress.done, "total": progress.total}
        )

    def backfill_job(self, object_id: str) -> Job:
        is_number = object_id.isascii() and object_id.isdigit() and len(object_id) < 19
        jobs = Job.objects.filter(kind=backfill.KIND).select_related("created_by")
        job = jobs.filter(pk=object_id).first() if is_number else None
        if job is None:
            raise Http404
        return job

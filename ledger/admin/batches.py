from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin.links import leads_to
from accounts.models import Approval, Job, JobChunk
from creditsite.adminkit import (
    ChoicesDropdownFilter,
    DropdownFilter,
    PageAction,
    RangeDateFilter,
    actor_of,
    ask,
    display,
)
from creditsite.csvfiles import csv_lines
from creditsite.errors import CreditsiteError
from creditsite.recent import is_late, sign_in_again
from ledger.admin import batch_forms, batch_states
from ledger.admin.batch_states import LIVE, is_a_plan, job_is, state_of, takes
from ledger.admin.forms import LABELS
from ledger.admin.lists import BooksAdmin, LatestFirst, minute, two_lines
from ledger.admin.opening_forms import OpeningsForm
from ledger.admin.pages import ExplainingAdmin
from ledger.admin.selections import filter_of, in_words, selection_of
from ledger.choices import BatchKind
from ledger.figures import figure, signed
from ledger.models import Batch
from ledger.queries import batches as queries
from ledger.queries import openings
from ledger.services import batch_runs, batches
from ledger.services.batch_exports import export_rows
from ledger.services.batch_words import sentence_of

SAMPLE = 10
NEW: dict[str, type[batch_forms.NewBatchForm]] = {**batch_forms.NEW, "opening": OpeningsForm}


class StateFilter(DropdownFilter):
    """Batches by where they stand, which is where their job stands once there is one."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("plan", "To be confirmed"),
            ("waiting", "Waiting for approval"),
            ("running", "Running"),
            ("halted", "Paused or failed"),
            ("ended", "Done or cancelled"),
            ("discarded", "Discarded"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        match self.value():
            case "plan":
                return queryset.filter(status__in=batch_states.PLANS)
            case "waiting" | "discarded" as status:
                return queryset.filter(status=status)
            case "running":
                return queryset.filter(job__status__in=LIVE)
            case "halted":
                return queryset.filter(job__status__in=batch_states.HALTED)
            case "ended":
                return queryset.filter(job__status__in=batch_states.ENDED)
        return queryset


class BatchList(LatestFirst):
    """Says of the batches that run how far they are, in one query for a page of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        running = [batch.job_id for batch in self.result_list if job_is(batch, LIVE)]
        chunks = JobChunk.objects.filter(job__in=running).values("job")
        counted = chunks.annotate(done=Count("done_at"), total=Count("pk"))
        shares = {row["job"]: row["done"] * 100 // row["total"] for row in counted}
        for batch in self.result_list:
            batch.percent = shares.get(batch.job_id)


@admin.register(Batch)
class BatchAdmin(ExplainingAdmin, BooksAdmin):
    """What is done to many wallets at once: from the draft to the result, and back."""

    title = "Batches"
    list_display = ["when", "what", "state", "wallets", "credits", "made_by"]
    list_display_links = ["when", "what"]
    list_filter = [
        StateFilter,
        ("kind", ChoicesDropdownFilter),
        ("created_at", RangeDateFilter),
    ]
    list_select_related = ["maker", "job", "reverses"]
    list_before_template = None
    search_fields = ["reason", "maker__email"]
    search_help_text = "Number, words of the reason, e-mail of who made it"
    ordering = ["-pk"]
    page_actions = (
        PageAction(
            name="confirm",
            label="Confirm…",
            form_class=batch_forms.ConfirmForm,
            is_offered=lambda batch: batch_states.is_to_confirm(batch, timezone.now()),
            is_primary=True,
        ),
        PageAction(
            name="plan",
            label="Plan again…",
            form_class=batch_forms.PlanForm,
            is_offered=is_a_plan,
        ),
        PageAction(
            name="discard",
            label="Discard…",
            form_class=batch_forms.DiscardForm,
            is_offered=is_a_plan,
        ),
        PageAction(
            name="pause",
            label="Pause…",
            form_class=batch_forms.PauseForm,
            is_offered=lambda batch: job_is(batch, LIVE),
        ),
        PageAction(
            name="resume",
            label="Resume…",
            form_class=batch_forms.ResumeForm,
            is_offered=lambda batch: job_is(batch, batch_states.HALTED),
            is_primary=True,
        ),
        PageAction(
            name="cancel",
            label="Cancel the rest…",
            form_class=batch_forms.CancelForm,
            is_offered=lambda batch: job_is(batch, LIVE | batch_states.HALTED),
        ),
        PageAction(
            name="reverse",
            label="Reverse…",
            form_class=batch_forms.ReverseForm,
            is_offered=batch_states.is_reversible,
        ),
    )

    class Media:
        js = ["ledger/batch.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Batch]:
        return (
            super()
            .get_queryset(request)
            .select_related("maker", "job", "approval__checker", "reverses")
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BatchList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if term.isascii() and term.isdigit() and len(term) < 19:
            return queryset.filter(pk=int(term)), False
        return super().get_search_results(request, queryset, search_term)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.permission_of(request, "add"))

    def get_urls(self) -> list[URLPattern]:
        views = {
            "progress": self.progress_view,
            "left-out": partial(self.export_view, part="left-out"),
            "results": partial(self.export_view, part="results"),
            "tie-out": self.tie_out_view,
        }
        return [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"ledger_batch_{name}",
            )
            for name, view in views.items()
        ] + super().get_urls()

    # --- A new one --------------------------------------------------------------------------------
    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """
        Ask what to do and to whom, as the address says: ``kind`` is add, deduct or opening, ``of``
        is all, file or filter, which is that of the list of users.
        """
        form_class = NEW.get(request.GET.get("kind", ""))
        of = request.GET.get("of")
        if form_class is None or of not in form_class.of:
            return self.choose(request)
        back = reverse("admin:ledger_batch_changelist")
        selection: dict[str, Any] | None = {"of": "all"}
        if of == "file":
            selection = None
        elif of == "filter":
            selection = selection_of(filter_of(request))
            back = reverse("admin:ledger_wallet_changelist")
            try:
                queries.wallets_of(selection)
            except CreditsiteError as refusal:
                self.message_user(request, str(refusal), messages.ERROR)
                return HttpResponseRedirect(back)
        chosen = [batch_forms.Chosen(selection)]
        page = ask(self, request, chosen, form_class, act="plan", back=back)
        return page or HttpResponseRedirect(back)

    def choose(self, request: HttpRequest) -> HttpResponse:
        """Offer what there is to do, and to whom."""
        if request.method == "GET" and self.is_late(request, "add"):
            return sign_in_again(request)
        context = {
            **self.admin_site.each_context(request),
            "title": "New batch",
            "opts": self.model._meta,
            "media": forms.Media(css={"all": ["ledger/staff.css"]}),
            "trail": batch_states.trail(None, timezone.now()),
        }
        return TemplateResponse(request, "admin/ledger/batch/new.html", context)

    def offered(self, request: HttpRequest, instance: Any) -> list[dict[str, Any]]:
        """Leave planning and confirming to who made it."""
        is_maker = instance.maker_id == actor_of(request).pk
        acts = super().offered(request, instance)
        return [act for act in acts if is_maker or act["name"] not in {"plan", "confirm"}]

    # --- Its page ---------------------------------------------------------------------------------
    def explain(self, request: HttpRequest, instance: Batch) -> dict[str, Any]:
        now = timezone.now()
        progress = queries.progress_of(instance) if instance.job else None
        has_ended = job_is(instance, batch_states.ENDED)
        is_plan = is_a_plan(instance) and instance.planned_at is not None
        why_approval = batches.why_approval(instance, now) if is_plan else ""
        reversals = Batch.objects.filter(reverses=instance).select_related("job")
        reversal = reversals.order_by("pk").last()
        plan = instance.plan
        by_type = plan.get("by_type", {})
        return {
            "sentence": sentence_of(instance),
            "state": state_of(instance, now),
            "takes": takes(instance),
            "plan": plan,
            "by_type": [
                (LABELS[t], by_type[t]) for t in LABELS if len(by_type) > 1 and t in by_type
            ],
            "excluded_total": sum(plan.get("excluded", {}).values()),
            "progress_address": self.page_url(instance, "progress"),
            "may_export": self.may_act(request, "results"),
            "left_out_address": self.page_url(instance, "left-out"),
            "results_address": self.page_url(instance, "results"),
            "progress": progress,
            "has_ended": has_ended,
            "credits": progress.credits if progress and has_ended else plan.get("expected"),
            "wallets": progress.moved if progress and has_ended else plan.get("wallets"),
            "not_reached": progress.wallets_total - progress.wallets_done if progress else 0,
            "is_maker": instance.maker_id == actor_of(request).pk,
            "is_live": job_is(instance, LIVE),
            "why_approval": why_approval,
            "whom": in_words(instance.selection),
            "trail": batch_states.trail(instance, now, takes_two=bool(why_approval)),
            "items": instance.items.select_related("wallet__user", "wallet__team").order_by(
                "wallet_id", "credit_type"
            )[:SAMPLE],
            "left_out": self.sample(instance, at_run=False) if plan.get("excluded") else (),
            "refused": self.sample(instance, at_run=True) if progress and progress.skipped else (),
            "reversal": reversal,
            "reversal_state": state_of(reversal, now) if reversal else "",
            **self.tie_out(instance),
        }

    def tie_out(self, batch: Batch) -> dict[str, Any]:
        """Return, of opening balances, whether the file and the books agree."""
        if batch.kind != BatchKind.OPENING or batch.planned_at is None:
            return {}
        ties = openings.tie_out_of(batch)
        address = self.page_url(batch, "tie-out")
        return {"ties": ties, "ties_out": openings.ties_out(ties), "tie_out_address": address}

    def sample(self, batch: Batch, *, at_run: bool) -> QuerySet:
        """Return some of those left out: what the plan left out was written before the run."""
        rows = batch.exceptions.filter(is_at_run=at_run).select_related(
            "wallet__user", "wallet__team"
        )
        return rows.order_by("-id" if at_run else "id")[:SAMPLE]

    # --- What it answers beside pages -------------------------------------------------------------
    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answer how far a batch is, for the script of its page."""
        batch = self.found(request, object_id)
        if batch.job is None:
            return JsonResponse({"state": state_of(batch, timezone.now())})
        progress = queries.progress_of(batch)
        return JsonResponse(
            {
                "state": state_of(batch, timezone.now()),
                "done": progress.wallets_done,
                "total": progress.wallets_total,
                "credits": progress.credits,
                "skipped": progress.skipped,
            }
        )

    def export_view(self, request: HttpRequest, object_id: str, *, part: str) -> HttpResponse:
        """Answer with the rows of a batch as a file, to who signed in recently."""
        if request.method != "GET":
            return HttpResponseNotAllowed(["GET"])
        batch, now = self.found(request, object_id), timezone.now()
        if is_late(request, self.permission_of_act(request, part)):
            return sign_in_again(request)
        lines = export_rows(batch=batch, part=part, actor=actor_of(request), at=now)
        return as_file(batch, part, lines, now)

    def tie_out_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        batch = self.found(request, object_id)
        if batch.kind != BatchKind.OPENING:
            raise Http404
        rows = openings.tie_out_rows(openings.tie_out_of(batch))
        lines = csv_lines(openings.TIE_OUT_COLUMNS, rows)
        return as_file(batch, "tie-out", lines, timezone.now())

    def found(self, request: HttpRequest, object_id: str) -> Batch:
        batch: Any = self.get_object(request, object_id)
        if batch is None:
            raise Http404
        return batch

    # --- The list ---------------------------------------------------------------------------------
    @display(description="made (UTC)")
    def when(self, batch: Batch) -> str:
        return minute(batch.created_at)

    @display(description="what, and why")
    def what(self, batch: Batch) -> SafeString:
        return two_lines(f"{batch.pk}. {sentence_of(batch)}", batch.reason)

    @display(description="status", label=batch_states.COLOURS)
    def state(self, batch: Any) -> tuple[str, str]:
        state = state_of(batch, timezone.now())
        return state, state if batch.percent is None else f"{state} · {batch.percent} %"

    @display(description="wallets")
    def wallets(self, batch: Batch) -> str:
        return figure(batch.plan["wallets"]) if "wallets" in batch.plan else "–"

    @display(description="credits")
    def credits(self, batch: Batch) -> SafeString | str:
        if "expected" not in batch.plan:
            return "–"
        if takes(batch):
            return format_html('<span class="cs-taken">{}</span>', signed(-batch.plan["expected"]))
        return signed(batch.plan["expected"])

    @display(description="by")
    def made_by(self, batch: Batch) -> str:
        return str(batch.maker or "the system")


def batch_of(instance: Approval | Job) -> Batch | None:
    """Return the batch that an approval or a job is of."""
    return getattr(instance, "batch", None)


leads_to(batches.RUN, batch_of)
leads_to(batch_runs.KIND, batch_of)


def as_file(batch: Batch, name: str, lines: Iterable[str], at: datetime) -> HttpResponse:
    """Return lines about ``batch`` as a CSV file that is written while it is sent."""
    file_name = f"batch-{batch.pk}-{name}-{at:%Y%m%d-%H%M%S}.csv"
    response: Any = StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{file_name}"'},
    )
    return response

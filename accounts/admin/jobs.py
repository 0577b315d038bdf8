from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin.links import link_from
from accounts.models import Job, User
from accounts.services.jobs import cancel_job, pause_job, resume_job
from creditsite.adminkit import (
    ConfirmationForm,
    RangeDateFilter,
    ReadOnlyAdmin,
    action,
    confirm,
    display,
)


class MoveJobsForm(ConfirmationForm):
    move: ClassVar[Callable[..., Job]]
    moved: ClassVar[str]

    def changes(self) -> list[str]:
        return [f"{job}, now {job.get_status_display().lower()}" for job in self.objects]

    def apply(self, *, actor: User, at: datetime) -> str:
        for job in self.objects:
            self.move(job=job, actor=actor, reason=self.cleaned_data["reason"], at=at)
        return f"{self.moved} {len(self.objects)} jobs."


class PauseJobsForm(MoveJobsForm):
    title = "Pause jobs"
    move, moved = staticmethod(pause_job), "Paused"


class ResumeJobsForm(MoveJobsForm):
    title = "Resume jobs"
    move, moved = staticmethod(resume_job), "Resumed"


class CancelJobsForm(MoveJobsForm):
    title = "Cancel jobs"
    move, moved = staticmethod(cancel_job), "Cancelled"

    @property
    def phrase(self) -> str:
        return f"CANCEL {len(self.objects)}"


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "status", "progress", "created_by", "created_at", "finished_at"]
    list_filter = ["kind", "status", ("created_at", RangeDateFilter)]
    list_select_related = ["created_by"]
    ordering = ["-pk"]
    actions = ["pause_selected", "resume_selected", "cancel_selected"]
    fieldsets = [
        (None, {"fields": ["kind", "leads_to", "status", "progress", "result", "error"]}),
        ("Trace", {"fields": ["params", "created_by", "created_at", "started_at", "finished_at"]}),
    ]

    class Media:
        css = {"all": ["accounts/json.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        done = Count("chunks", filter=Q(chunks__done_at__isnull=False))
        return (
            super().get_queryset(request).annotate(chunks_done=done, chunks_total=Count("chunks"))
        )

    @display(description="progress")
    def progress(self, job: Any) -> SafeString:
        return format_html(
            '<progress value="{0}" max="{1}"></progress> {0} of {1}',
            job.chunks_done,
            job.chunks_total,
        )

    @display(description="page", empty_value="–")
    def leads_to(self, job: Job) -> SafeString | None:
        return link_from(job)

    @action(description="Pause selected jobs…")
    def pause_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=PauseJobsForm)

    @action(description="Resume selected jobs…")
    def resume_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=ResumeJobsForm)

    @action(description="Cancel selected jobs…")
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return confirm(self, request, queryset, form_class=CancelJobsForm)

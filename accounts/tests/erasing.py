"""Erasing somebody as staff do it: asked for, approved by a second person, worked by a job."""

from collections.abc import Mapping
from datetime import UTC, datetime

from accounts.models import Approval, Job, User
from accounts.services import approvals
from accounts.services.erasure import preview_erasure, request_erasure
from accounts.services.jobs import run_job
from accounts.tests.factories import StaffFactory

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REASON = "asked for in the letter of 3 May"


def asked_for(
    user: User, *, decided: Mapping[str, int] | None = None, at: datetime = AT
) -> Approval:
    """Ask for the erasure of ``user``; agree to whatever must be decided, unless told otherwise."""
    if decided is None:
        found = preview_erasure(user=user, at=at)
        decided = {decision.name: decision.amount for decision in found.decisions}
    return request_erasure(user=user, decided=decided, reason=REASON, actor=StaffFactory(), at=at)


def approved(approval: Approval, *, at: datetime = AT) -> Approval:
    return approvals.approve(approval=approval, checker=StaffFactory(), note="", at=at)


def erased(user: User, *, decided: Mapping[str, int] | None = None, at: datetime = AT) -> User:
    """Erase ``user`` and return the tombstone."""
    ended = approved(asked_for(user, decided=decided, at=at), at=at)
    assert (ended.status, ended.error) == ("executed", "")
    run_job(Job.objects.get(pk=ended.result["job"]), clock=lambda: at)
    return User.objects.get(pk=user.pk)

"""
The second pair of eyes: what one member of staff asks for, another approves.

A kind of request is registered by the app that can execute it. :func:`approve` is the one place
where an approval is executed, whatever door it was decided at.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.choices import ApprovalStatus
from accounts.errors import (
    ApprovalEnded,
    ApprovalNotWaiting,
    ConcernsYou,
    IdempotencyKeyReused,
    NotYourRequest,
    OwnRequest,
)
from accounts.models import Approval, User
from accounts.permissions import require, staff_may
from accounts.services import approval_mail
from audit import services as audit
from creditsite.errors import CreditsiteError, NotPermitted, Unavailable

DECIDE = "accounts.decide_approval"
Payload = Mapping[str, Any]


class Execute(Protocol):
    """Does what was asked, once, under the key of ``approval``; returns what came of it."""

    def __call__(
        self, *, payload: Payload, approval: Approval, at: datetime
    ) -> dict[str, Any] | None: ...


class Dropped(Protocol):
    """Is told that what ``approval`` asks for will not be done, in the transaction that ends it."""

    def __call__(self, *, approval: Approval, at: datetime) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalKind:
    """One kind of request, as the app that executes it registered it."""

    name: str
    permission: str
    execute: Execute
    describe: Callable[[Payload], str]
    concerns: Callable[[Payload, User], bool]
    state: Callable[[Payload, datetime], list[str]]
    dropped: Dropped | None


KINDS: dict[str, ApprovalKind] = {}


def approval_kind(
    name: str,
    *,
    permission: str,
    execute: Execute,
    describe: Callable[[Payload], str],
    concerns: Callable[[Payload, User], bool],
    state: Callable[[Payload, datetime], list[str]] = lambda payload, at: [],
    dropped: Dropped | None = None,
) -> None:
    """
    Register a kind of request, named "app.verb_noun".

    :param permission: what asking for it takes, and deciding on it beside "decide_approval".
    :param execute: does it, in the transaction of the approval; the books may refuse.
    :param describe: says it in a sentence for staff.
    :param concerns: whether it touches a wallet or account of a user's own.
    :param state: lines on what it touches, as that is now.
    :param dropped: hears of a request that ended otherwise than by being executed.
    """
    KINDS[name] = ApprovalKind(
        name=name,
        permission=permission,
        execute=execute,
        describe=describe,
        concerns=concerns,
        state=state,
        dropped=dropped,
    )


def hash_of(*, kind: str, maker_id: int, payload: Payload) -> str:
    """Return the SHA-256 of a request's canonical bytes, in hexadecimal."""
    text = json.dumps(
        ["creditsite approval 1", kind, maker_id, payload],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def is_as_asked(approval: Approval) -> bool:
    """Return whether the payload is still what its hash was made of."""
    found = hash_of(kind=approval.kind, maker_id=approval.maker_id, payload=approval.payload)
    return found == approval.payload_hash


# --- Asking ---------------------------------------------------------------------------------------
@transaction.atomic
def request_approval(
    *,
    kind: str,
    payload: Payload,
    maker: User,
    reason: str,
    at: datetime,
    about: User | None = None,
    caller: str | None = None,
    idempotency_key: str | None = None,
    fingerprint: uuid.UUID | None = None,
    tells_checkers: bool = True,
) -> Approval:
    """
    Ask for a second person; the same caller, key and request get the same approval.

    :param payload: numbers and codes that say what is to be done; no personal data, no floats.
    :param about: whose wallet or account it touches.
    :param caller: whose key it is; the maker's own when left out.
    :param fingerprint: tells requests apart; made of kind, payload and reason when left out.
    :param tells_checkers: false for who writes to those who may decide, and says more.
    :raises NotPermitted: ``maker`` may not do this even with a second person.
    :raises ConcernsYou: it touches a wallet or account of the maker's own.
    :raises IdempotencyKeyReused: the key was used for another request.
    """
    registered = KINDS[kind]
    require(maker, registered.permission)
    if registered.concerns(payload, maker):
        raise ConcernsYou
    payload_hash = hash_of(kind=kind, maker_id=maker.pk, payload=payload)
    fingerprint = fingerprint or uuid.uuid5(uuid.UUID(int=0), f"{payload_hash} {reason}")
    public_id = uuid.uuid4()
    approval, is_new = Approval.objects.get_or_create(
        caller=caller or f"user:{maker.pk}",
        key=idempotency_key or f"approval:{public_id}",
        defaults={
            "public_id": public_id,
            "kind": kind,
            "payload": payload,
            "payload_hash": payload_hash,
            "sentence": registered.describe(payload),
            "reason": reason,
            "maker": maker,
            "about": about,
            "fingerprint": fingerprint,
            "asked_at": at,
            "expires_at": at + timedelta(days=settings.APPROVAL_DAYS),
        },
    )
    if approval.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    if is_new:
        audit.record(
            "accounts.approval.asked",
            actor=maker,
            target=approval,
            at=at,
            reason=reason,
            after={"kind": kind, "payload": payload, "payload_hash": payload_hash},
            approval_id=approval.pk,
        )
        if tells_checkers:
            approval_mail.tell_checkers(approval, possible_checkers(approval))
    return approval


def approval_asked(
    *, caller: str, idempotency_key: str, fingerprint: uuid.UUID, at: datetime
) -> Approval | None:
    """
    Return the approval that waits for this same request, sent before under the same key.

    ``None``: nobody was asked, or it has been executed and the books know the key.

    :raises IdempotencyKeyReused: the key was used for another request.
    :raises ApprovalEnded: it ended otherwise than by being executed.
    """
    approval = Approval.objects.filter(caller=caller, key=idempotency_key).first()
    if approval is None:
        return None
    if approval.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    status = approval.status_at(at)
    if status == ApprovalStatus.EXECUTED:
        return None
    if status != ApprovalStatus.WAITING:
        raise ApprovalEnded(approval_id=str(approval.public_id), status=status)
    return approval


# --- Deciding -------------------------------------------------------------------------------------
def approve(*, approval: Approval, checker: User, note: str, at: datetime) -> Approval:
    """
    Approve what a colleague asked for, and do it; return the approval as it ended.

    It ends ``executed``; ``failed`` with the refusal if the books refuse it now, nothing half done;
    ``refused`` by the system if its maker may no longer do it.

    :raises NotPermitted: ``checker`` may not decide on it; that they tried is kept.
    :raises ApprovalNotWaiting: it was decided, withdrawn, or its time is over.
    :raises Unavailable: a service that it needs did not answer; it goes on waiting.
    """
    with _tries_recorded(approval, checker, at):
        kind, locked, checker = _decidable(approval, checker, at)
        if why_not := _void(kind, locked):
            return _end(locked, ApprovalStatus.REFUSED, actor=None, note=why_not, at=at)
        try:
            with transaction.atomic():
                result = kind.execute(payload=locked.payload, approval=locked, at=at)
        except Unavailable:
            raise
        except CreditsiteError as refusal:
            error = str(refusal)
            return _end(locked, ApprovalStatus.FAILED, actor=checker, note=note, error=error, at=at)
        return _end(
            locked, ApprovalStatus.EXECUTED, actor=checker, note=note, result=result or {}, at=at
        )


def refuse(*, approval: Approval, checker: User, note: str, at: datetime) -> Approval:
    """
    Refuse what a colleague asked for.

    :raises NotPermitted: ``checker`` may not decide on it; that they tried is kept.
    :raises ApprovalNotWaiting: it was decided, withdrawn, or its time is over.
    """
    with _tries_recorded(approval, checker, at):
        _, locked, checker = _decidable(approval, checker, at)
        return _end(locked, ApprovalStatus.REFUSED, actor=checker, note=note, at=at)


@transaction.atomic
def withdraw(*, approval: Approval, maker: User, note: str, at: datetime) -> Approval:
    """
    Take back what one asked for.

    :raises NotYourRequest: somebody else asked for it.
    :raises ApprovalNotWaiting: it was decided, withdrawn, or its time is over.
    """
    locked = _locked(approval)
    if locked.maker_id != maker.pk:
        raise NotYourRequest
    _refuse_ended(locked, at)
    return _end(locked, ApprovalStatus.WITHDRAWN, actor=maker, note=note, at=at)


@transaction.atomic
def expire_approvals(*, at: datetime) -> int:
    """End what nobody decided in time; return how many."""
    waiting = Approval.objects.filter(status=ApprovalStatus.WAITING, expires_at__lte=at)
    late = waiting.select_for_update(no_key=True, skip_locked=True, of=("self",))
    ended = [
        _end(approval, ApprovalStatus.EXPIRED, actor=None, note="", at=at)
        for approval in late.select_related("maker").order_by("pk")
    ]
    return len(ended)


def refuse_to_let_decide(kind: ApprovalKind, approval: Approval, checker: User) -> None:
    """
    Refuse a ``checker`` who may not decide on ``approval``, superusers included.

    :raises NotPermitted: their staff groups do not allow it.
    :raises OwnRequest: they asked for it.
    :raises ConcernsYou: it touches a wallet or account of their own.
    """
    require(checker, DECIDE)
    require(checker, kind.permission)
    if approval.maker_id == checker.pk:
        raise OwnRequest
    if kind.concerns(approval.payload, checker):
        raise ConcernsYou


def _decidable(
    approval: Approval, checker: User, at: datetime
) -> tuple[ApprovalKind, Approval, User]:
    """Lock ``approval`` and read ``checker`` anew; refuse if they may not decide on it now."""
    locked, kind = _locked(approval), KINDS[approval.kind]
    # Not what the caller's object remembers of their groups.
    checker = User.objects.get(pk=checker.pk)
    refuse_to_let_decide(kind, locked, checker)
    _refuse_ended(locked, at)
    return kind, locked, checker


def _locked(approval: Approval) -> Approval:
    """Return the row as it is now; who else decides on it waits until this transaction ends."""
    rows = Approval.objects.select_for_update(no_key=True, of=("self",)).select_related("maker")
    return rows.get(pk=approval.pk)


def _refuse_ended(approval: Approval, at: datetime) -> None:
    status = approval.status_at(at)
    if status != ApprovalStatus.WAITING:
        raise ApprovalNotWaiting(status=status)


def _void(kind: ApprovalKind, approval: Approval) -> str:
    """Say why nobody can approve it any more, if so."""
    if not staff_may(approval.maker, kind.permission):
        return "Who asked for it may no longer do this."
    if not is_as_asked(approval):
        return "What would be done is not what was asked for."
    return ""


@contextmanager
def _tries_recorded(approval: Approval, checker: User, at: datetime) -> Iterator[None]:
    """Run the block as one transaction; that ``checker`` was not let is kept though it is not."""
    try:
        with transaction.atomic():
            yield
    except NotPermitted as denial:
        with transaction.atomic():
            audit.record(
                "accounts.approval.denied",
                actor=checker,
                target=approval,
                at=at,
                reason=str(denial),
                approval_id=approval.pk,
            )
        raise


def _end(
    approval: Approval,
    status: ApprovalStatus,
    *,
    actor: User | None,
    note: str,
    at: datetime,
    result: dict[str, Any] | None = None,
    error: str = "",
) -> Approval:
    approval.status, approval.decided_at, approval.note = status, at, note
    approval.checker = None if status == ApprovalStatus.WITHDRAWN else actor
    approval.result, approval.error = result, error
    approval.save(update_fields=["status", "decided_at", "note", "checker", "result", "error"])
    told = {"error": error} if error else {"result": result} if result else {}
    audit.record(
        f"accounts.approval.{status}",
        actor=actor,
        target=approval,
        at=at,
        reason=note,
        before={"status": ApprovalStatus.WAITING},
        after={"status": status, **told},
        approval_id=approval.pk,
    )
    kind = KINDS.get(approval.kind)
    if status != ApprovalStatus.EXECUTED and kind and kind.dropped:
        kind.dropped(approval=approval, at=at)
    if status != ApprovalStatus.WITHDRAWN:
        approval_mail.tell_maker(approval)
    return approval


# --- Looking --------------------------------------------------------------------------------------
def is_in(status: ApprovalStatus, at: datetime) -> Q:
    """Return the condition of being in ``status`` at ``at``, though nobody booked the expiry."""
    late = Q(status=ApprovalStatus.WAITING, expires_at__lte=at)
    if status == ApprovalStatus.EXPIRED:
        return Q(status=status) | late
    return Q(status=status) & ~late


def waiting_for(user: User, at: datetime) -> QuerySet[Approval]:
    """
    Return what ``user`` may decide on at ``at``, as far as the rows tell.

    That a wallet is of a team they share is asked when they decide.
    """
    if not staff_may(user, DECIDE):
        return Approval.objects.none()
    kinds = [kind.name for kind in KINDS.values() if staff_may(user, kind.permission)]
    waiting = Approval.objects.filter(is_in(ApprovalStatus.WAITING, at))
    return waiting.filter(kind__in=kinds).exclude(maker=user).exclude(about=user)


def possible_checkers(approval: Approval) -> list[User]:
    """Return who may decide on ``approval``."""
    kind = KINDS[approval.kind]
    staff = User.objects.filter(is_staff=True, is_active=True).exclude(pk=approval.maker_id)
    return [
        user
        for user in staff.order_by("pk")
        if staff_may(user, DECIDE)
        and staff_may(user, kind.permission)
        and not kind.concerns(approval.payload, user)
    ]


def erase_text(*, approvals: QuerySet[Approval], at: datetime) -> int:
    """Erase what people wrote in ``approvals``; what was asked, by whom and when, stays."""
    return approvals.filter(text_erased_at=None).update(text_erased_at=at)

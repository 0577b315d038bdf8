"""
Erasing a person: everything that names them goes, the books and the record stay and still verify.

Asked for, decided by a second person, settled at once, and then erased by a job: one transaction,
so that a worker may be killed at any instant and the job be run again.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import F

from accounts import tasks
from accounts.errors import DecisionMissing, ErasureBlocked, NamesThePerson
from accounts.models import Approval, Erasure, Job, User
from accounts.models.users import ERASED_DOMAIN, new_referral_code
from accounts.permissions import require
from accounts.personal_data import KEEPERS, Decision
from accounts.services import approvals
from accounts.services.approvals import Payload, approval_kind
from accounts.services.jobs import create_job, enqueue, job_kind
from audit import services as audit
from creditsite.errors import Conflict

KIND = "accounts.erasure"
PERMISSION = "accounts.erase_user"


@dataclass(frozen=True)
class Preview:
    """What erasing a user would do, as the page says it and the code does it."""

    obstacles: list[str]
    decisions: list[Decision]
    erases: dict[str, int]
    keeps: list[str]


def preview_erasure(*, user: User, at: datetime) -> Preview:
    return Preview(
        obstacles=[line for keeper in KEEPERS for line in keeper.obstacles(user, at)],
        decisions=[each for keeper in KEEPERS for each in keeper.decisions(user, at)],
        erases={kind: n for keeper in KEEPERS for kind, n in keeper.erases(user).items() if n},
        keeps=[line for keeper in KEEPERS for line in keeper.keeps(user)],
    )


@transaction.atomic
def request_erasure(
    *,
    user: User,
    decided: Mapping[str, int],
    reason: str,
    actor: User,
    at: datetime,
    idempotency_key: str | None = None,
) -> Approval:
    """
    Ask a second person to have the personal data of ``user`` erased.

    :param decided: what was agreed to, by name of the decision, up to which amount.
    :raises NotPermitted: ``actor`` may not.
    :raises NamesThePerson: the reason, which is kept, does.
    :raises ErasureBlocked: something stands in the way; says what.
    :raises DecisionMissing: something is not decided, or is more by now than what was.
    :raises Conflict: the user is erased already.
    """
    require(actor, PERMISSION)
    if any(word in reason.lower() for word in words_of(user)):
        raise NamesThePerson
    _refuse(user, decided, at)
    return approvals.request_approval(
        kind=KIND,
        payload={"user_id": user.pk, "decided": dict(decided)},
        maker=actor,
        about=user,
        reason=reason,
        idempotency_key=idempotency_key,
        at=at,
    )


def _refuse(user: User, decided: Mapping[str, int], at: datetime) -> None:
    """Refuse while something stands in the way of erasing ``user``, or is not decided."""
    if user.is_erased:
        raise Conflict("This user has been erased already.")
    found = preview_erasure(user=user, at=at)
    if found.obstacles:
        raise ErasureBlocked(found.obstacles)
    for decision in found.decisions:
        if decided.get(decision.name, 0) < decision.amount:
            raise DecisionMissing(decision.sentence)


def begin_erasure(*, payload: Payload, approval: Approval, at: datetime) -> dict[str, Any]:
    """
    Settle what goes on for the user, shut them out, and queue the erasure, which nothing stops.

    It is what :func:`approvals.approve` executes.

    :raises ErasureBlocked: something stands in the way; says what.
    :raises DecisionMissing: something is not decided, or is more by now than what was.
    :raises Conflict: the user is erased already.
    """
    user = User.objects.select_for_update(no_key=True).get(pk=payload["user_id"])
    _refuse(user, payload["decided"], at)
    _settle(user, payload["decided"], approval.maker, at)
    job = create_job(
        kind=KIND,
        params={"user_id": user.pk, "reason": approval.reason, "approval_id": approval.pk},
        chunks=[(user.pk, user.pk + 1)],
        created_by=approval.maker,
    )
    enqueue(job)
    return {"job": job.pk}


def _settle(user: User, decided: Mapping[str, int], actor: User | None, at: datetime) -> None:
    for keeper in KEEPERS:
        keeper.settle(user=user, decided=decided, actor=actor, at=at)


def erase_chunk(*, job: Job, lower: int, upper: int, at: datetime) -> dict[str, int]:
    """Erase the user whom ``job`` is about."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
    erase_user(
        user=User.objects.get(pk=job.params["user_id"]),
        reason=job.params["reason"],
        actor=job.created_by,
        approval_id=job.params["approval_id"],
        at=at,
    )
    return {"users": 1}


@transaction.atomic
def erase_user(
    *, user: User, reason: str, actor: User | None, at: datetime, approval_id: int | None = None
) -> None:
    """
    Erase what names ``user``, everywhere, and leave a tombstone. Erasing again changes nothing.

    It is settled before: this asks nobody. See :func:`begin_erasure`.
    """
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if user.is_erased:
        return
    words, identity = words_of(user), user.identity
    targets = {target for keeper in KEEPERS for target in keeper.audit_targets(user)}
    for keeper in reversed(KEEPERS):  # Those above still find their way by what is below.
        keeper.erase(user=user, words=words, at=at)
    audit.erase_text(actor_ids=[user.pk], targets=targets, words=words, at=at)
    _bury(user)
    Erasure.objects.create(user_id=user.pk, identity=identity, erased_at=at)
    audit.record(
        "accounts.user.erased",
        actor=actor,
        target=user,
        at=at,
        reason=reason,
        approval_id=approval_id,
    )
    transaction.on_commit(tasks.list_erasures.delay, robust=True)


def _bury(user: User) -> None:
    """Turn the row into a tombstone: the books and the record point at it."""
    user.email = f"erased-{user.pk}@{ERASED_DOMAIN}"
    # Not by save(), which would make the identity anew; what was given once is kept by the old one.
    User.objects.filter(pk=user.pk).update(
        email=user.email,
        identity=uuid.uuid4(),
        name="",
        password=make_password(None),
        role=None,
        is_active=False,
        is_partner=False,
        is_agent=False,
        referral_code=new_referral_code(),
        referrer=None,
        last_login=None,
        token_version=F("token_version") + 1,
    )
    user.refresh_from_db()


def words_of(user: User) -> set[str]:
    return {word.lower() for keeper in KEEPERS for word in keeper.words(user)}


# --- The second person ----------------------------------------------------------------------------
def describe(payload: Payload) -> str:
    """Say what was asked for by number: sentences are frozen, and sent to colleagues by e-mail."""
    decided = [f"{name.replace('_', ' ')}: {n:,}" for name, n in payload["decided"].items() if n]
    return "; ".join([f"Erase the personal data of user {payload['user_id']}", *decided]) + "."


def state(payload: Payload, at: datetime) -> list[str]:
    """Say who it is, and what stands in the way now."""
    user = User.objects.get(pk=payload["user_id"])
    return [f"User {user.pk} is {user}", *preview_erasure(user=user, at=at).obstacles]


def register() -> None:
    """Let a second person approve erasures, and workers do them."""
    approval_kind(
        KIND,
        permission=PERMISSION,
        execute=begin_erasure,
        describe=describe,
        concerns=lambda payload, user: payload["user_id"] == user.pk,
        state=state,
    )
    job_kind(KIND)(erase_chunk)


# --- The list outside of the database -------------------------------------------------------------
@transaction.atomic
def list_erasures(*, at: datetime) -> int:
    """
    Append erasures to ``ERASURE_LIST_FILE`` that are not there yet; return how many.

    A crash in between appends them again, which harms nobody.
    """
    new = list(Erasure.objects.select_for_update(skip_locked=True).filter(listed_at=None))
    if not new or not settings.ERASURE_LIST_FILE:
        return 0
    lines = [
        json.dumps(
            {
                "user_id": erasure.user_id,
                "identity": str(erasure.identity),
                "erased_at": erasure.erased_at.isoformat(),
            }
        )
        for erasure in new
    ]
    path = Path(settings.ERASURE_LIST_FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    Erasure.objects.filter(pk__in=[erasure.pk for erasure in new]).update(listed_at=at)
    return len(new)


def read_list(path: Path) -> Iterator[tuple[int, uuid.UUID]]:
    """Yield the user id and the keyed hash of each line; a last line cut off by a crash is left."""
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            entry = json.loads(line)
            yield entry["user_id"], uuid.UUID(entry["identity"])


@transaction.atomic
def replay_erasure(*, user_id: int, identity: uuid.UUID, at: datetime) -> bool:
    """
    Erase a user again whom a backup brought back; return whether there was anything to do.

    Forfeits and writes off whatever the backup brought back: that was decided when it was asked.

    :raises Conflict: the number is that of another person, so the list is of another database.
    :raises ErasureBlocked: something stands in the way; says what.
    """
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None or user.is_erased:
        return False
    if user.identity != identity:
        raise Conflict(f"User {user_id} is somebody else than who was erased under this number.")
    found = preview_erasure(user=user, at=at)
    if found.obstacles:
        raise ErasureBlocked(found.obstacles)
    decided = {decision.name: decision.amount for decision in found.decisions}
    _settle(user, decided, None, at)
    erase_user(user=user, reason="Erased before the backup was restored.", actor=None, at=at)
    return True

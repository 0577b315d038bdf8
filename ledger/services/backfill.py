"""
Giving every active user who never had a grant what registering brings: allotment, sign-up credits.

Under the same unique keys as registration, so nobody is given twice, whatever is killed and run
again. Each chunk is a range of user ids and one statement: nothing of it passes through Python.

What a member of staff runs leaves out every wallet that staff own or may spend from; what the
system runs does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Min

from accounts.choices import JobStatus
from accounts.models import Approval, Job, Role, User
from accounts.permissions import require
from accounts.services import jobs
from accounts.services.approvals import approval_kind, request_approval
from audit import services as audit
from creditsite.errors import Conflict
from ledger.choices import AwardRule
from ledger.periods import period_of
from ledger.queries.settings import settings_at
from ledger.services import awards

KIND = "backfill"
PERMISSION = "ledger.run_backfill"
CHUNK = 10_000

# The users of the chunk that are found, and whether they ever had a grant. LATERAL … OFFSET 0: only
# ever an index probe for each user, even if planned while the ledger was empty.
FOUND = """
    SELECT u.id, u.identity, u.is_staff, r.code AS role, r.allotment, w.id AS wallet_id,
           g.wallet_id IS NULL AND r.allotment > 0 AND w.status IS DISTINCT FROM 'closed' AS is_due
    FROM accounts_user u JOIN accounts_role r ON r.id = u.role_id
    LEFT JOIN LATERAL (SELECT id, status FROM ledger_wallet x WHERE x.user_id = u.id OFFSET 0) w ON true
    LEFT JOIN LATERAL (SELECT wallet_id FROM ledger_grant x WHERE x.wallet_id = w.id LIMIT 1) g ON true
    WHERE u.id >= %(lower)s AND u.id < %(upper)s AND u.is_active
      AND (%(role)s::text IS NULL OR r.code = %(role)s)
      AND (NOT %(by_staff)s OR NOT u.is_staff AND u.id <> ALL (ARRAY(
          SELECT t.owner_id FROM accounts_team t JOIN accounts_teammembership m ON m.team_id = t.id
          JOIN accounts_user s ON s.id = m.user_id WHERE s.is_staff AND t.owner_id IS NOT NULL)))
"""
OPEN_WALLETS = f"""
    SELECT ledger_open_wallets(ARRAY(SELECT id FROM ({FOUND}) AS found WHERE wallet_id IS NULL AND is_due), '{{}}')
"""
POST = f"""
    WITH found AS MATERIALIZED ({FOUND}),
    due AS MATERIALIZED (
        SELECT wallet_id, role, is_staff, allotment::bigint AS amount, ledger_key('system', 'allotment:' || identity) AS key,
               ledger_key('system', 'sign_up:' || identity || %(suffix)s) AS sign_up_key
        FROM found WHERE is_due
    ),
    posted AS MATERIALIZED (
        SELECT p.wallet_id, p.outcome FROM (
            SELECT array_agg(wallet_id ORDER BY wallet_id) AS wallets, array_agg(amount ORDER BY wallet_id) AS amounts,
                   array_agg(key ORDER BY wallet_id) AS keys FROM due
        ) AS x, LATERAL ledger_post(
            x.wallets, x.amounts, x.keys, x.keys, NULL, 'award', 'allotment', 100::smallint, '', NULL, NULL,
            ROW('award', NULL, NULL, %(at)s, NULL, %(actor)s, 'system', NULL, NULL, '', NULL, NULL, '', '', '', NULL)::ledger_header
        ) AS p WHERE x.wallets IS NOT NULL
    ),
    signed_up AS MATERIALIZED (
        SELECT p.wallet_id, p.amount FROM (
            SELECT array_agg(wallet_id ORDER BY wallet_id) AS wallets, array_agg(%(sign_up)s::bigint) AS amounts,
                   array_agg(sign_up_key ORDER BY wallet_id) AS keys
            FROM due JOIN posted USING (wallet_id) WHERE outcome = 'done' AND NOT is_staff AND %(sign_up)s > 0
        ) AS x, LATERAL ledger_post(
            x.wallets, x.amounts, x.keys, x.keys, NULL, 'award', 'sign_up', 100::smallint, '', %(expires_at)s, NULL,
            ROW('award', NULL, NULL, %(at)s, NULL, %(actor)s, 'system', NULL, NULL, '', NULL, NULL,
                %(reference)s, 'Sign-up credits', '', NULL)::ledger_header
        ) AS p WHERE x.wallets IS NOT NULL AND p.outcome = 'done'
    )
    SELECT f.role, count(*), count(p.wallet_id), coalesce(sum(f.allotment) FILTER (WHERE p.wallet_id IS NOT NULL), 0)
                                                 + coalesce(sum(s.amount), 0)
    FROM found f LEFT JOIN posted p ON f.is_due AND p.wallet_id = f.wallet_id AND p.outcome = 'done'
    LEFT JOIN signed_up s ON s.wallet_id = p.wallet_id
    GROUP BY f.role
"""
SUMMARY = f"""
    SELECT role, count(*), count(*) FILTER (WHERE is_due AND NOT is_known),
           coalesce(sum(allotment + CASE WHEN is_staff OR has_signed_up THEN 0 ELSE %(sign_up)s END)
                    FILTER (WHERE is_due AND NOT is_known), 0)
    FROM (SELECT found.*, EXISTS (
              SELECT 1 FROM ledger_credittransaction t WHERE t.key = ledger_key('system', 'allotment:' || found.identity)
          ) AS is_known, EXISTS (
              SELECT 1 FROM ledger_credittransaction t
              WHERE t.key = ledger_key('system', 'sign_up:' || found.identity || %(suffix)s)
          ) AS has_signed_up FROM ({FOUND}) AS found) AS found
    GROUP BY role
"""

Summary = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Total:
    """What a backfill gives in all: whole credits, to so many wallets."""

    wallets: int
    credits: int


def total_of(summary: Summary) -> Total:
    counts = summary.values()
    return Total(sum(each["granted"] for each in counts), sum(each["credits"] for each in counts))


def _summary(rows: list[tuple[str, int, int, int]]) -> Summary:
    return {
        role: {
            "found": found,
            "granted": granted,
            "skipped": found - granted,
            "credits": int(credits),
        }
        for role, found, granted, credits in sorted(rows)
    }


def backfill_chunk(*, job: Job, lower: int, upper: int, at: datetime) -> Mapping[str, Any]:
    """Give the users with ids in ``[lower, upper)`` what is due to them; return a summary by role."""
    parameters = sign_up_parameters(at) | {
        "lower": lower,
        "upper": upper,
        "role": job.params["role"],
        "at": at,
        "actor": job.created_by_id,
        "by_staff": job.created_by_id is not None,
    }
    with connection.cursor() as cursor:
        cursor.execute(OPEN_WALLETS, parameters)
        # A statement of its own, so that it sees the wallets just opened.
        cursor.execute(POST, parameters)
        return _summary(cursor.fetchall())


def sign_up_parameters(at: datetime) -> dict[str, Any]:
    """Return what the statements must know of the sign-up credits that come with registering."""
    terms = settings_at(at)
    return {
        "sign_up": terms.sign_up_credits,
        "suffix": awards.sign_up_suffix(terms, at),
        "reference": awards.reference_of(AwardRule.SIGN_UP, period_of(at, terms.time_zone)),
        "expires_at": awards.expiry_of(terms.award_expiry_days, at),
    }


def register() -> None:
    """Make backfill a kind of job, and one of approvals."""
    jobs.job_kind(KIND)(backfill_chunk)
    approval_kind(
        PERMISSION,
        permission=PERMISSION,
        execute=execute_backfill,
        describe=describe_backfill,
        concerns=lambda payload, user: False,  # No wallet of staff is in it.
        state=state_of_backfill,
    )


def preview_backfill(*, at: datetime, role: str | None = None, by_staff: bool = False) -> Summary:
    """Return what a backfill would do at ``at``, by role: found, granted, skipped, credits."""
    parameters = sign_up_parameters(at) | {
        "lower": 0,
        "upper": 2**62,
        "role": role,
        "by_staff": by_staff,
    }
    with connection.cursor() as cursor:
        cursor.execute(SUMMARY, parameters)
        return _summary(cursor.fetchall())


def phrase_of(total: Total, at: datetime) -> str:
    """Return what is to be typed to give that much; nothing for little."""
    if total.credits < settings_at(at).typed_confirmation_from:
        return ""
    return f"GIVE {total.credits:,} TO {total.wallets:,} USERS"


def is_for_two(total: Total, at: datetime) -> bool:
    """Return whether giving that much takes a second person."""
    limits = settings_at(at)
    return (
        total.credits > limits.approval_batch_credits_above
        or total.wallets > limits.approval_batch_wallets_above
    )


@transaction.atomic
def run_backfill(
    *, role: str | None, actor: User, reason: str, at: datetime, idempotency_key: str
) -> Job | Approval:
    """
    Give every active user (of ``role``) without a grant their allotment, by whatever workers run.

    Where that is much, a second person is asked first; they approve what it gives at most.

    :raises NotPermitted: ``actor`` may not run backfills.
    :raises Conflict: nobody is due anything, or such a backfill is not at its end yet.
    """
    require(actor, PERMISSION)
    total = total_of(preview_backfill(at=at, role=role, by_staff=True))
    if not total.wallets:
        raise Conflict("Nobody is due anything: all who are found had credits before.")
    if is_for_two(total, at):
        return request_approval(
            kind=PERMISSION,
            payload={"role": role, "wallets": total.wallets, "credits": total.credits},
            maker=actor,
            reason=reason,
            at=at,
            idempotency_key=idempotency_key,
        )
    return _start(role=role, actor=actor, reason=reason, at=at)


def execute_backfill(*, payload: Mapping[str, Any], approval: Approval, at: datetime) -> Any:
    """
    Start what was approved.

    :raises Conflict: it would give more than that by now.
    """
    role = payload["role"]
    total = total_of(preview_backfill(at=at, role=role, by_staff=True))
    if total.wallets > payload["wallets"] or total.credits > payload["credits"]:
        raise Conflict(
            f"It would give {total.credits:,} credits to {total.wallets:,} users by now, which is"
            " more than was asked for."
        )
    job = _start(
        role=role, actor=approval.maker, reason=approval.reason, at=at, approval_id=approval.pk
    )
    return {"job": job.pk}


def describe_backfill(payload: Mapping[str, Any]) -> str:
    role = f" of the role {payload['role']}" if payload["role"] else ""
    return (
        f"Give users{role} who never had credits what registering brings: {payload['credits']:,}"
        f" credits to {payload['wallets']:,} users"
    )


def state_of_backfill(payload: Mapping[str, Any], at: datetime) -> list[str]:
    total = total_of(preview_backfill(at=at, role=payload["role"], by_staff=True))
    return [f"As of now, {total.credits:,} credits are due to {total.wallets:,} users."]


def _start(*, role: str | None, actor: User, **told: Any) -> Job:
    """Make the job and wake a worker for it."""
    unfinished = Job.objects.filter(
        kind=KIND, params__role=role, status__in=[JobStatus.PENDING, JobStatus.RUNNING]
    )
    if (job := unfinished.order_by("pk").first()) is not None:
        raise Conflict(f"Job {job.pk} is such a backfill, and is not at its end yet.")
    job = create_backfill(role=role, actor=actor, **told)
    jobs.enqueue(job)
    return job


@transaction.atomic
def create_backfill(
    *,
    role: str | None,
    actor: User | None,
    at: datetime,
    chunk: int = CHUNK,
    lower: int = 0,
    reason: str = "",
    approval_id: int | None = None,
) -> Job:
    """
    Make the job that gives every active user (of ``role``) without a grant their allotment.

    ``accounts.services.jobs.run_job`` works it, here or in any number of workers. ``lower`` leaves
    out users with ids below it. Staff come by :func:`run_backfill`, which asks a second person.

    :raises NotPermitted: ``actor`` may not run backfills.
    :raises Role.DoesNotExist: there is no role of that code.
    """
    require(actor, PERMISSION)
    if role is not None:
        Role.objects.get(code=role)
    ids = User.objects.filter(role__isnull=False).aggregate(first=Min("pk"), last=Max("pk"))
    first, last = max(ids["first"] or 0, lower), ids["last"] or -1
    job = jobs.create_job(
        kind=KIND,
        params={"role": role},
        chunks=((lower, lower + chunk) for lower in range(first, last + 1, chunk)),
        created_by=actor,
    )
    audit.record(
        "ledger.backfill.run",
        actor=actor,
        target=job,
        at=at,
        reason=reason,
        after={"role": role},
        approval_id=approval_id,
    )
    return job

"""
Giving every active user who never had a grant their role's allotment.

Under the same unique keys as registration, so nobody is given twice, whatever is killed and run
again. Each chunk is a range of user ids and one statement: nothing of it passes through Python.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Min

from accounts.models import Job, Role, User
from accounts.services import jobs
from audit import services as audit

KIND = "backfill"
CHUNK = 10_000

# The users of the chunk that are found, and whether they ever had a grant. LATERAL … OFFSET 0: only
# ever an index probe for each user, even if planned while the ledger was empty.
FOUND = """
    SELECT u.id, u.identity, r.code AS role, r.allotment, w.id AS wallet_id,
           g.wallet_id IS NULL AND r.allotment > 0 AND w.status IS DISTINCT FROM 'closed' AS is_due
    FROM accounts_user u JOIN accounts_role r ON r.id = u.role_id
    LEFT JOIN LATERAL (SELECT id, status FROM ledger_wallet x WHERE x.user_id = u.id OFFSET 0) w ON true
    LEFT JOIN LATERAL (SELECT wallet_id FROM ledger_grant x WHERE x.wallet_id = w.id LIMIT 1) g ON true
    WHERE u.id >= %(lower)s AND u.id < %(upper)s AND u.is_active
      AND (%(role)s::text IS NULL OR r.code = %(role)s)
"""
OPEN_WALLETS = f"""
    SELECT ledger_open_wallets(ARRAY(SELECT id FROM ({FOUND}) AS found WHERE wallet_id IS NULL AND is_due), '{{}}')
"""
POST = f"""
    WITH found AS MATERIALIZED ({FOUND}),
    due AS MATERIALIZED (
        SELECT wallet_id, role, allotment::bigint AS amount, ledger_key('system', 'allotment:' || identity) AS key
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
    )
    SELECT f.role, count(*), count(*) FILTER (WHERE p.outcome = 'done'),
           coalesce(sum(f.allotment) FILTER (WHERE p.outcome = 'done'), 0)
    FROM found f LEFT JOIN posted p ON f.is_due AND p.wallet_id = f.wallet_id AND p.outcome = 'done'
    GROUP BY f.role
"""
SUMMARY = f"""
    SELECT role, count(*), count(*) FILTER (WHERE is_due AND NOT is_known), coalesce(sum(allotment) FILTER (WHERE is_due AND NOT is_known), 0)
    FROM (SELECT found.*, EXISTS (
              SELECT 1 FROM ledger_credittransaction t WHERE t.key = ledger_key('system', 'allotment:' || found.identity)
          ) AS is_known FROM ({FOUND}) AS found) AS found
    GROUP BY role
"""

Summary = dict[str, dict[str, int]]


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
    parameters = {
        "lower": lower,
        "upper": upper,
        "role": job.params["role"],
        "at": at,
        "actor": job.created_by_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(OPEN_WALLETS, parameters)
        # A statement of its own, so that it sees the wallets just opened.
        cursor.execute(POST, parameters)
        return _summary(cursor.fetchall())


def register() -> None:
    """Make backfill a kind of job."""
    jobs.job_kind(KIND)(backfill_chunk)


def preview_backfill(*, role: str | None = None) -> Summary:
    """Return what a backfill would do now, by role: found, granted, skipped, credits."""
    with connection.cursor() as cursor:
        cursor.execute(SUMMARY, {"lower": 0, "upper": 2**62, "role": role})
        return _summary(cursor.fetchall())


@transaction.atomic
def create_backfill(
    *, role: str | None, actor: User | None, at: datetime, chunk: int = CHUNK, lower: int = 0
) -> Job:
    """
    Make the job that gives every active user (of ``role``) without a grant their allotment.

    ``accounts.services.jobs.run_job`` works it, here or in any number of workers. ``lower`` leaves
    out users with ids below it.

    :raises Role.DoesNotExist: there is no role of that code.
    """
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
    audit.record("ledger.backfill.run", actor=actor, target=job, at=at, after={"role": role})
    return job

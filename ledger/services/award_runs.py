"""
What is given every month: one run for each rule and month, in chunks of users.

Each wallet has it once for its rule and period, under a unique key. A chunk is a range of user ids
and two statements; nothing of it passes through Python.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Min

from accounts.models import Job, User
from accounts.permissions import require
from accounts.services import jobs
from audit import services as audit
from creditsite.errors import Conflict
from ledger.choices import AwardRule, CreditType
from ledger.models import AwardRun
from ledger.queries.awards import DueAward, due_awards, figures_of
from ledger.services.awards import expiry_of, reference_of, suffix_of

KIND = "awards"
# Small, because these wallets are in use: a spend waits for the chunk that its wallet is in.
CHUNK = 1_000

# The users of the chunk whom a run is for, and whether it is due to them: not if their identity had
# it, nor if their wallet had that month's under another address, maybe when they registered.
# LATERAL … OFFSET 0: only ever an index probe for each user, even if planned while it was empty.
FOUND = """
    SELECT u.id, w.id AS wallet_id, k.key,
           w.status IS DISTINCT FROM 'closed' AND t.id IS NULL AND g.id IS NULL AS is_due
    FROM accounts_user u
    LEFT JOIN LATERAL (SELECT id, status FROM ledger_wallet x WHERE x.user_id = u.id OFFSET 0) w ON true
    CROSS JOIN LATERAL (SELECT ledger_key('system', {key}) AS key OFFSET 0) k
    LEFT JOIN LATERAL (SELECT id FROM ledger_credittransaction x WHERE x.key = k.key OFFSET 0) t ON true
    LEFT JOIN LATERAL (
        SELECT x.id FROM ledger_grant x JOIN ledger_entry e ON e.grant_id = x.id
        JOIN ledger_credittransaction given ON given.id = e.transaction_id
        WHERE x.wallet_id = w.id AND x.effective_at >= %(since)s AND x.source = %(rule)s
          AND given.caller = 'system' AND given.reference_id = %(reference)s LIMIT 1
    ) g ON true
    WHERE u.id >= %(lower)s AND u.id < %(upper)s AND u.is_active AND u.date_joined <= %(due_at)s AND {condition}
"""
FOUND_BY_RULE = {
    AwardRule.SIGN_UP: FOUND.format(
        key="'sign_up:' || u.identity || %(suffix)s", condition="NOT u.is_staff"
    ),
    AwardRule.PARTNER_ALLOTMENT: FOUND.format(
        key="'partner_allotment:' || u.id || %(suffix)s", condition="u.is_partner"
    ),
}
OPEN_WALLETS = """
    SELECT ledger_open_wallets(ARRAY(SELECT id FROM ({found}) AS found WHERE wallet_id IS NULL AND is_due), '{{}}')
"""
POST = """
    WITH due AS MATERIALIZED (SELECT wallet_id, key FROM ({found}) AS found WHERE is_due)
    SELECT count(*) FROM (
        SELECT array_agg(wallet_id ORDER BY wallet_id) AS wallets, array_agg(%(amount)s::bigint) AS amounts,
               array_agg(key ORDER BY wallet_id) AS keys FROM due
    ) AS x, LATERAL ledger_post(
        x.wallets, x.amounts, x.keys, x.keys, NULL, %(credit_type)s, %(rule)s, 100::smallint, '', %(expires_at)s, NULL,
        ROW(%(kind)s, NULL, NULL, %(at)s, NULL, NULL, 'system', NULL, NULL, '', NULL, NULL,
            %(reference)s, %(description)s, '', NULL)::ledger_header
    ) AS p WHERE x.wallets IS NOT NULL AND p.outcome = 'done'
"""
COUNT = "SELECT count(*) FROM ({found}) AS found WHERE is_due"
CREDIT_TYPE = {
    AwardRule.SIGN_UP: CreditType.AWARD,
    AwardRule.PARTNER_ALLOTMENT: CreditType.PARTNER,
}


@transaction.atomic
def run_due_awards(*, actor: User | None, at: datetime, reason: str = "") -> list[AwardRun]:
    """
    Start a run for each award that is due at ``at``, the oldest first, and queue their jobs.

    However many do so at once, there is one run for a rule and period.

    :raises NotPermitted: ``actor`` may not run awards.
    :raises Conflict: a member of staff asks, and nothing is due.
    """
    require(actor, "ledger.run_awards")
    runs = [run for award in due_awards(at) if (run := _start(award, actor, at))]
    if actor is not None:
        if not runs:
            raise Conflict("Nothing is due that is not running already.")
        for run in runs:
            audit.record("ledger.awards.started", actor=actor, target=run, at=at, reason=reason)
    return runs


def _start(award: DueAward, actor: User | None, at: datetime) -> AwardRun | None:
    """Make the run of ``award`` and its job; ``None`` if somebody else did meanwhile."""
    made: dict[str, Any] = {
        "due_at": award.at,
        "amount": award.amount,
        "expiry_days": award.terms.award_expiry_days,
        "started_at": at,
        "job": lambda: _create_job(award, actor),  # called only if there is none yet
    }
    run, is_new = AwardRun.objects.get_or_create(
        rule=award.rule, period=award.period, defaults=made
    )
    if not is_new:
        return None
    jobs.enqueue(run.job)
    return run


def _create_job(award: DueAward, actor: User | None) -> Job:
    ids = User.objects.aggregate(first=Min("pk"), last=Max("pk"))
    first, last = ids["first"] or 0, ids["last"] or -1
    return jobs.create_job(
        kind=KIND,
        params={"rule": award.rule, "period": f"{award.period:%Y-%m}"},
        chunks=((lower, lower + CHUNK) for lower in range(first, last + 1, CHUNK)),
        created_by=actor,
    )


def award_chunk(*, job: Job, lower: int, upper: int, at: datetime) -> Mapping[str, Any]:
    """Give the users with ids in ``[lower, upper)`` what the run of ``job`` is to give them."""
    run = AwardRun.objects.get(job=job)
    found = FOUND_BY_RULE[AwardRule(run.rule)]
    parameters = {
        **_parameters(AwardRule(run.rule), run.period, run.due_at),
        "lower": lower,
        "upper": upper,
        "amount": run.amount,
        "at": at,
        "expires_at": expiry_of(run.expiry_days, at),
    }
    with connection.cursor() as cursor:
        cursor.execute(OPEN_WALLETS.format(found=found), parameters)
        # A statement of its own, so that it sees the wallets just opened.
        cursor.execute(POST.format(found=found), parameters)
        (users,) = cursor.fetchone()
    return {"users": users, "credits": users * run.amount}


def preview_award(award: DueAward) -> int:
    """Return how many users a run of ``award`` would give to now."""
    parameters = _parameters(award.rule, award.period, award.at) | {"lower": 0, "upper": 2**62}
    with connection.cursor() as cursor:
        cursor.execute(COUNT.format(found=FOUND_BY_RULE[award.rule]), parameters)
        return int(cursor.fetchone()[0])


def _parameters(rule: AwardRule, period: date, due_at: datetime) -> dict[str, Any]:
    credit_type = CREDIT_TYPE[rule]
    return {
        "rule": rule.value,
        "kind": credit_type.value,  # A grant's kind of transaction is named as its type.
        "credit_type": credit_type.value,
        "suffix": suffix_of(period),
        "reference": reference_of(rule, period),
        "description": f"{rule.label} for {period:%Y-%m}",
        # Months begin up to a day earlier than in UTC.
        "since": datetime.combine(period, time(), tzinfo=UTC) - timedelta(days=1),
        "due_at": due_at,
    }


def record_run(*, job: Job, at: datetime) -> None:
    """Record what a run gave, once its job is done or cancelled."""
    run = AwardRun.objects.get(job=job)
    audit.record(
        "ledger.awards.given",
        actor=None,
        target=run,
        at=at,
        after={"amount": run.amount, "status": job.status, **figures_of(job)},
    )


def register() -> None:
    """Make the runs of awards a kind of job."""
    jobs.job_kind(KIND, ended=record_run)(award_chunk)

"""
Running a batch: chunk by chunk, each a range of wallet ids and one statement of the engine's.

What was done to a wallet is known by a key of batch, wallet and type, so nothing is done to it
twice, whatever is killed and run again. What the books refuse by then is kept with its reason.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from accounts.models import Job
from accounts.services import jobs
from audit import services as audit
from ledger import errors
from ledger.choices import BatchKind, BatchStatus, GrantSource, ShortPolicy
from ledger.models import Batch
from ledger.queries.batches import KEY, OPENING_KEY, progress_of
from ledger.queries.settings import settings_at
from ledger.services import batch_mail
from ledger.services.batch_plans import STAFF_WALLETS, hash_of, ranges_of

KIND = "batch"
# As long as a chunk takes, the spends of its wallets wait: some 30 ms. The engine adds and deducts
# for all of them at once, and goes one by one through what is reversed or has a note of its own.
CHUNK = 500
SLOW_CHUNK = 50
WHY = {
    "closed": "the wallet is closed",
    "too_large": "would be above the largest balance",
    "insufficient": "has less than that",
    "conflict": "entered before",
    "already_reversed": "reversed already",
    "not_reversible": "was paid for: it is refunded, not reversed",
    "unknown": "there is no such wallet",
}
NOTHING = {BatchKind.DEDUCT: "has none", BatchKind.REVERSAL: "nothing of it is left"}

# The items of the chunk that were not refused before, and those of them that are not done: what was
# done is left in peace, where the engine would lock its wallet to say so. OFFSET 0: only ever an
# index probe for each, even if planned while the table was empty.
ITEM = """
    item AS MATERIALIZED (
        SELECT x.*, {fingerprint} AS fingerprint, t.id IS NOT NULL AS is_done FROM (
            SELECT i.batch_id, i.wallet_id, i.credit_type, i.amount, i.paid_minor, i.currency, i.note, i.line, i.reverses_id,
                   {key} AS key
            FROM ledger_batchitem i {user}
            WHERE i.batch_id = %(batch)s AND i.wallet_id >= %(lower)s AND i.wallet_id < %(upper)s
              AND (i.wallet_id, i.credit_type) NOT IN (
                  SELECT wallet_id, credit_type FROM ledger_batchexception
                  WHERE batch_id = %(batch)s AND wallet_id >= %(lower)s AND wallet_id < %(upper)s AND is_at_run)
            OFFSET 0) x
        LEFT JOIN LATERAL (SELECT id FROM ledger_credittransaction t
                           WHERE t.key = x.key AND t.fingerprint = {fingerprint} OFFSET 0) t ON true
    ), todo AS (SELECT * FROM item WHERE NOT is_done)"""
USER = """
    JOIN ledger_wallet w ON w.id = i.wallet_id AND w.id >= %(lower)s AND w.id < %(upper)s
    LEFT JOIN accounts_user u ON u.id = w.user_id"""
# One call of the engine for all that is alike but for wallet and amount.
ALIKE = """
    SELECT credit_type, currency, note, array_agg(wallet_id ORDER BY wallet_id) AS wallets,
           array_agg(amount ORDER BY wallet_id) AS amounts, array_agg(key ORDER BY wallet_id) AS keys,
           array_agg(fingerprint ORDER BY wallet_id) AS fingerprints, array_agg(paid_minor ORDER BY wallet_id) AS paid
    FROM todo GROUP BY credit_type, currency, note ORDER BY credit_type, currency, note"""
HEADER = """
    ROW({kind}, {key}, {fingerprint}, %(at)s, NULL, %(actor)s, %(caller)s, NULL, NULL, '', NULL, NULL, %(reference)s,
        CASE WHEN x.note = '' THEN %(reason)s ELSE x.note END, '', NULL)::ledger_header"""
MANY = HEADER.format(kind="{kind}", key="NULL", fingerprint="NULL")
ADD = f"""
    SELECT x.wallets[p.ord] AS wallet_id, x.credit_type, p.outcome, p.amount
    FROM ({ALIKE}) AS x, LATERAL ledger_post(
        x.wallets, x.amounts, x.keys, x.fingerprints, x.paid, x.credit_type, %(source)s, 100::smallint, x.currency, %(expires_at)s,
        CASE WHEN x.currency = '' THEN %(largest)s::bigint END, {MANY.format(kind="x.credit_type")}) AS p"""
DEDUCT = f"""
    SELECT x.wallets[p.ord] AS wallet_id, x.credit_type, p.outcome, -p.amount AS amount
    FROM ({ALIKE}) AS x, LATERAL ledger_draw(
        x.wallets, x.amounts, x.keys, x.fingerprints, ARRAY[x.credit_type], NULL, NULL, %(short)s, true,
        NULL, NULL, NULL, NULL, NULL, NULL, {MANY.format(kind="'adjustment'")}) AS p"""
ONE = HEADER.format(kind="'reversal'", key="x.key", fingerprint="x.fingerprint")
IN_ORDER = "(SELECT * FROM todo ORDER BY wallet_id, credit_type) AS x"
TAKE_BACK = f"""
    SELECT x.wallet_id, x.credit_type, p.outcome, -p.amount AS amount
    FROM {IN_ORDER}, LATERAL ledger_take_back(x.reverses_id, true, {ONE}) AS p"""
RESTORE = f"""
    SELECT x.wallet_id, x.credit_type, p.outcome, p.amount
    FROM {IN_ORDER}, LATERAL ledger_restore(x.reverses_id, NULL, %(grace)s, {ONE}) AS p"""
CHUNK_OF = """
    WITH {item}, moved AS MATERIALIZED ({move}),
    refused AS (
        INSERT INTO ledger_batchexception (
            batch_id, wallet_id, line, credit_type, amount, paid_minor, currency, note, is_at_run, why)
        SELECT %(batch)s, wallet_id, line, credit_type, item.amount, paid_minor, currency, note, true,
               coalesce(%(why)s::jsonb ->> outcome, outcome)
        FROM item JOIN moved USING (wallet_id, credit_type) WHERE outcome NOT IN ('done', 'replayed')
        ORDER BY wallet_id, credit_type
    )
    SELECT coalesce(outcome, 'replayed'), count(*), sum(moved.amount), sum(item.amount)
    FROM item LEFT JOIN moved USING (wallet_id, credit_type) GROUP BY outcome
"""
# Where a chunk takes more than one call, each locks its wallets in order: so all at once before.
LOCK = """
    SELECT ledger_lock_wallet(wallet_id) FROM (
        SELECT DISTINCT wallet_id FROM ledger_batchitem
        WHERE batch_id = %(batch)s AND wallet_id >= %(lower)s AND wallet_id < %(upper)s ORDER BY wallet_id) AS x
"""
STAFF_SINCE = f"""
    INSERT INTO ledger_batchexception (
        batch_id, wallet_id, line, credit_type, amount, paid_minor, currency, note, is_at_run, why)
    SELECT i.batch_id, i.wallet_id, i.line, i.credit_type, i.amount, i.paid_minor, i.currency, i.note, true, 'of staff'
    FROM ({STAFF_WALLETS}) AS staff JOIN ledger_batchitem i ON i.batch_id = %s AND i.wallet_id = staff.id
"""


def register() -> None:
    """Make batches a kind of job."""
    jobs.job_kind(KIND, ended=record_end, control="ledger.control_batch")(run_chunk)


def start(batch: Batch, at: datetime, *, approval_id: int | None = None) -> Batch:
    """
    Make the job of ``batch``, which is locked, and wake a worker.

    :raises PlanChanged: its plan is not what was hashed.
    :raises InvalidAmount: what it adds would have expired.
    """
    if hash_of(batch, batch.plan) != batch.plan_hash:
        raise errors.PlanChanged
    if batch.expires_at is not None and batch.expires_at <= at:
        raise errors.InvalidAmount("The credits would have expired by now.")
    is_slow = batch.kind == BatchKind.REVERSAL or has_lines(batch)
    batch.job = jobs.create_job(
        kind=KIND,
        params={"batch": batch.pk, "left_out": {}},
        chunks=ranges_of(batch, SLOW_CHUNK if is_slow else CHUNK),
        created_by=batch.maker,
    )
    batch.status = BatchStatus.STARTED
    batch.confirmed_at = batch.confirmed_at or at
    batch.save(update_fields=["status", "confirmed_at", "job"])
    # Plans leave out the wallets of staff; somebody may have become staff since.
    with connection.cursor() as cursor:
        cursor.execute(STAFF_SINCE, [batch.pk])
        if cursor.rowcount:
            batch.job.params["left_out"] = {"of staff": cursor.rowcount}
            batch.job.save(update_fields=["params"])
    audit.record(
        "ledger.batch.started",
        actor=batch.maker,
        target=batch,
        at=at,
        reason=batch.reason,
        after={"plan_hash": batch.plan_hash, "plan": batch.plan},
        approval_id=approval_id,
    )
    jobs.enqueue(batch.job)
    batch_mail.tell_started(batch)
    return batch


def has_lines(batch: Batch) -> bool:
    """Return whether its items are lines of a file, each perhaps with a note or money of its own."""
    return batch.selection["of"] == "csv"


def run_chunk(*, job: Job, lower: int, upper: int, at: datetime) -> Mapping[str, Any]:
    """
    Do what the batch of ``job`` plans to wallets with ids in ``[lower, upper)``; return counts.

    :raises BatchNotInState: it is not this job that the batch was started with.
    """
    # Kept with the job that is worked: what a batch is to do never changes once it has started.
    batch = getattr(job, "batch", None)
    if batch is None:
        raise errors.BatchNotInState(verb="run by this job", status="another's")
    why = WHY | {"nothing": NOTHING.get(BatchKind(batch.kind), "")}
    parameters = {
        "batch": batch.pk,
        "lower": lower,
        "upper": upper,
        "at": at,
        "actor": batch.maker_id,
        "caller": f"batch:{batch.pk}",
        "reference": str(batch.public_id),
        "reason": batch.reason,
        "expires_at": batch.expires_at,
        "largest": batch.plan["largest_balance"],
        "source": GrantSource.OPENING if batch.kind == BatchKind.OPENING else GrantSource.BATCH,
        "short": "take" if batch.policy == ShortPolicy.TAKE else "refuse",
        "why": json.dumps(why),
    }
    if batch.kind == BatchKind.REVERSAL:
        parameters["grace"] = timedelta(days=settings_at(at).grace_days)
    with connection.cursor() as cursor:
        # See docs/decisions/batches-wait-for-the-disk-once.md.
        cursor.execute("SET LOCAL synchronous_commit = off")
        if has_lines(batch):
            cursor.execute(LOCK, parameters)
        cursor.execute(_statement(batch), parameters)
        return _counts(cursor.fetchall(), why)


def _statement(batch: Batch) -> str:
    is_opening = batch.kind == BatchKind.OPENING
    item = ITEM.format(
        key=OPENING_KEY if is_opening else KEY,
        # An opening balance is entered once whichever batch it is of, and each has its print.
        fingerprint=KEY.replace("i.", "x.") if is_opening else "x.key",
        user=USER if is_opening else "",
    )
    if batch.reverses is not None:
        move = RESTORE if batch.reverses.kind == BatchKind.DEDUCT else TAKE_BACK
    else:
        move = DEDUCT if batch.kind == BatchKind.DEDUCT else ADD
    return CHUNK_OF.format(item=item, move=move)


def _counts(rows: list[tuple[Any, ...]], why: Mapping[str, str]) -> dict[str, Any]:
    """Return the counts of a chunk, of which those of a job are the sums."""
    counts = {"items": 0, "moved": 0, "credits": 0, "short": 0, "repeated": 0, "skipped": 0}
    reasons: dict[str, int] = {}
    for outcome, count, moved, asked in rows:
        counts["items"] += count
        match outcome:
            case "done":
                counts["moved"] += count
                counts["credits"] += int(moved)
                counts["short"] += int(asked - moved)
            case "replayed":
                counts["repeated"] += count
            case _:
                counts["skipped"] += count
                reasons[why.get(outcome, outcome)] = count
    return {**counts, "why": reasons}


def record_end(*, job: Job, at: datetime) -> None:
    """Record that a batch is done or cancelled, with what it did, and tell."""
    batch = Batch.objects.select_related("job").get(pk=job.params["batch"])
    if batch.job_id != job.pk:
        return
    progress = progress_of(batch)
    audit.record(
        "ledger.batch.ended",
        actor=None,
        target=batch,
        at=at,
        after={
            "status": progress.status,
            "wallets": progress.moved,
            "skipped": progress.skipped,
            "credits": progress.credits,
        },
    )
    batch_mail.tell_finished(batch)

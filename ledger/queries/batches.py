"""Whom a batch is for, how far it is, and what came of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from accounts.choices import JobStatus
from accounts.models import Role
from creditsite.errors import InvalidRequest
from creditsite.text import clean_text
from ledger.choices import BatchKind, WalletStatus
from ledger.models import Batch, Wallet
from ledger.queries.wallets import indebted, of_partners, owned_by

ROWS_AT_A_TIME = 2_000
LONGEST_ID = 18
YES_OR_NO = {"yes": True, "no": False}


# --- Whom it is for -------------------------------------------------------------------------------
def wallets_of(selection: Mapping[str, Any]) -> QuerySet[Wallet]:
    """
    Return the wallets that ``selection`` names: of all users, or those that a filter finds.

    A filter is what stands in the address of the list of users. What it does not know is refused,
    since to leave it out would be to find more.

    :raises InvalidRequest: there is no such filter, or its value makes no sense.
    """
    match selection:
        case {"of": "all"}:
            return Wallet.objects.filter(user__isnull=False)
        case {"of": "filter", "query": {**query}} if query:
            wallets: QuerySet[Wallet] = Wallet.objects.all()
            for name, value in query.items():
                wallets = _filtered(wallets, str(name), str(value))
            return wallets
    raise InvalidRequest("Choose all users, or filter them.")


def _filtered(wallets: QuerySet[Wallet], name: str, value: str) -> QuerySet[Wallet]:
    match name:
        case "q" if value.strip():
            return wallets.filter(owned_by(clean_text(value, max=254)))
        case "status__exact" if value in WalletStatus:
            return wallets.filter(status=value)
        case "user__role__id__exact" if Role.objects.filter(pk__in=_ids(value)).count() == 1:
            return wallets.filter(user__role__in=_ids(value))
        case "partner" if value in YES_OR_NO:
            return of_partners(wallets, YES_OR_NO[value])
        case "debt" if value in YES_OR_NO:
            return indebted(wallets, YES_OR_NO[value])
        case "id__in":
            return wallets.filter(pk__in=_ids(value))
    raise InvalidRequest(f"Users cannot be chosen by {name[:40]} {value[:40]!r}.")


def _ids(value: str) -> list[int]:
    ids = value.split(",")
    if not all(each.isascii() and each.isdigit() and len(each) <= LONGEST_ID for each in ids):
        raise InvalidRequest(f"{value[:40]!r} is no list of ids.")
    return [int(each) for each in ids]


# --- How far it is --------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class BatchProgress:
    """
    How far a batch is.

    ``wallets_done`` of ``wallets_total`` have been dealt with, ``skipped`` among them; ``moved``
    counts the others, and ``credits`` what moved. ``reasons`` says why how many were skipped.
    """

    status: str
    wallets_done: int = 0
    wallets_total: int = 0
    moved: int = 0
    credits: int = 0
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    error: str = ""


CHUNKS = """
    SELECT coalesce(sum((result->>'items')::bigint), 0)::bigint, coalesce(sum((result->>'moved')::bigint), 0)::bigint,
           coalesce(sum((result->>'credits')::bigint), 0)::bigint, coalesce(sum((result->>'skipped')::bigint), 0)::bigint
    FROM accounts_jobchunk WHERE job_id = %s AND done_at IS NOT NULL
"""
REASONS = """
    SELECT why, sum(n::bigint)::bigint FROM accounts_jobchunk, jsonb_each_text(result->'why') AS x(why, n)
    WHERE job_id = %s AND done_at IS NOT NULL GROUP BY why ORDER BY why
"""


def progress_of(batch: Batch) -> BatchProgress:
    """Return how far ``batch`` is by now; chunks that are being worked are not counted yet."""
    total = batch.plan.get("items", 0)
    if batch.job is None:
        return BatchProgress(status=batch.status, wallets_total=total)
    batch.job.refresh_from_db()
    with connection.cursor() as cursor:
        cursor.execute(CHUNKS, [batch.job.pk])
        items, moved, credits, skipped = cursor.fetchone()
        cursor.execute(REASONS, [batch.job.pk])
        reasons = dict(cursor.fetchall())
    for why, count in batch.job.params["left_out"].items():
        reasons[why] = reasons.get(why, 0) + count
        items, skipped = items + count, skipped + count
    return BatchProgress(
        status=batch.job.status,
        wallets_done=items,
        wallets_total=total,
        moved=moved,
        credits=credits,
        skipped=skipped,
        reasons=reasons,
        error=batch.job.error if batch.job.status == JobStatus.FAILED else "",
    )


# --- What came of it ------------------------------------------------------------------------------
RESULT_COLUMNS = [
    "line",
    "owner",
    "credit type",
    "credits asked for",
    "credits moved",
    "result",
    "transaction",
    "note",
]
# By pages of the primary key, so that a million rows are neither sorted nor kept.
RESULTS = """
    SELECT i.wallet_id, i.credit_type, i.line, coalesce(u.email, team.name), i.amount, coalesce(abs(t.amount), 0),
           CASE WHEN t.id IS NOT NULL THEN 'done' ELSE coalesce(e.why, 'not done') END, t.id, i.note
    FROM (SELECT * FROM ledger_batchitem WHERE batch_id = %(batch)s AND (wallet_id, credit_type) > (%(wallet)s, %(type)s)
          ORDER BY wallet_id, credit_type LIMIT %(limit)s) i
    JOIN ledger_wallet w ON w.id = i.wallet_id
    LEFT JOIN accounts_user u ON u.id = w.user_id
    LEFT JOIN accounts_team team ON team.id = w.team_id
    LEFT JOIN LATERAL (SELECT * FROM ledger_credittransaction x WHERE x.key = {key} AND x.fingerprint = {fingerprint} OFFSET 0) t ON true
    LEFT JOIN ledger_batchexception e
           ON e.batch_id = i.batch_id AND e.wallet_id = i.wallet_id AND e.credit_type = i.credit_type AND e.is_at_run
    ORDER BY i.wallet_id, i.credit_type
"""
# How the books know what a batch did to a wallet; see ledger.services.batch_runs.
CALLER = "'batch:' || i.batch_id"
KEY = f"ledger_key({CALLER}, i.wallet_id || ':' || i.credit_type)"
OPENING_KEY = "ledger_key('opening', u.identity || ':' || i.credit_type)"


def results(batch: Batch) -> Iterator[tuple[Any, ...]]:
    """Yield a row of ``RESULT_COLUMNS`` for each line of the plan of ``batch``."""
    key = OPENING_KEY if batch.kind == BatchKind.OPENING else KEY
    sql = RESULTS.format(key=key, fingerprint=KEY)
    parameters = {"batch": batch.pk, "wallet": 0, "type": "", "limit": ROWS_AT_A_TIME}
    while rows := _rows(sql, parameters):
        for _, credit_type, line, owner, asked, moved, result, transaction, note in rows:
            yield line, owner, credit_type, asked, moved, result, transaction, note
        parameters |= {"wallet": rows[-1][0], "type": rows[-1][1]}


LEFT_OUT_COLUMNS = ["line", "owner", "credit type", "credits asked for", "why", "note"]
LEFT_OUT = """
    SELECT e.id, e.line, coalesce(u.email, team.name), e.credit_type, e.amount, e.why, e.note
    FROM (SELECT * FROM ledger_batchexception WHERE batch_id = %(batch)s AND id > %(id)s ORDER BY id LIMIT %(limit)s) e
    LEFT JOIN ledger_wallet w ON w.id = e.wallet_id
    LEFT JOIN accounts_user u ON u.id = w.user_id
    LEFT JOIN accounts_team team ON team.id = w.team_id
    WHERE NOT e.is_at_run ORDER BY e.id
"""


def left_out(batch: Batch) -> Iterator[tuple[Any, ...]]:
    """Yield a row of ``LEFT_OUT_COLUMNS`` for each wallet or line that the plan leaves out."""
    parameters = {"batch": batch.pk, "id": 0, "limit": ROWS_AT_A_TIME}
    while rows := _rows(LEFT_OUT, parameters):
        yield from (row[1:] for row in rows)
        parameters |= {"id": rows[-1][0]}


def _rows(sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()

"""
Planning a batch: what it will do to whom, who is left out and why, frozen under a hash.

All of it happens in the database: a plan for a million wallets brings a few figures to Python.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any

from django.db import connection

from creditsite.money import digits_of
from ledger.choices import BatchKind, CreditType, ShortPolicy
from ledger.models import Batch
from ledger.queries.batches import KEY, OPENING_KEY, wallets_of
from ledger.queries.settings import settings_at
from ledger.services.batch_files import BatchRow
from ledger.services.batch_words import phrase_for
from ledger.services.posting import LARGEST_AMOUNT

ROWS_AT_A_TIME = 5_000
UNKNOWN_USER = "there is no user with this e-mail"
SAME_USER = "the same user is on an earlier line"
BAD_AMOUNT = f"an amount is 1 to {LARGEST_AMOUNT:,} credits"

# The wallets that staff own or may spend from.
STAFF_WALLETS = """
    SELECT w.id FROM accounts_user u JOIN ledger_wallet w ON w.user_id = u.id WHERE u.is_staff
    UNION
    SELECT w.id FROM accounts_teammembership m JOIN accounts_user u ON u.id = m.user_id AND u.is_staff
    JOIN accounts_team t ON t.id = m.team_id JOIN ledger_wallet w ON w.team_id = t.id OR w.user_id = t.owner_id
"""
OPEN_WALLETS = """
    SELECT ledger_open_wallets(ARRAY(
        SELECT u.id FROM accounts_user u
        WHERE {whom} AND NOT EXISTS (SELECT 1 FROM ledger_wallet w WHERE w.user_id = u.id)), '{{}}')
"""
OPEN_FOR_ALL = OPEN_WALLETS.format(whom="u.is_active AND NOT u.is_staff")
OPEN_FOR_FILE = OPEN_WALLETS.format(whom="u.email = ANY (%(emails)s::text[])")

# --- The lines of a file --------------------------------------------------------------------------
KEEP_ROWS = """
    WITH found AS (
        SELECT r.*, w.id AS wallet_id FROM unnest(
            %(lines)s::int[], %(emails)s::text[], %(types)s::text[], %(amounts)s::bigint[], %(paid)s::bigint[],
            %(currencies)s::text[], %(notes)s::text[], %(whys)s::text[]
        ) AS r(line, email, credit_type, amount, paid_minor, currency, note, why)
        LEFT JOIN accounts_user u ON u.email = r.email AND r.why = ''
        LEFT JOIN ledger_wallet w ON w.user_id = u.id
    ), kept AS (
        INSERT INTO ledger_batchitem (batch_id, wallet_id, credit_type, amount, paid_minor, currency, line, note)
        SELECT DISTINCT ON (wallet_id, credit_type) %(batch)s, wallet_id, credit_type, amount, paid_minor, currency, line, note
        FROM found WHERE wallet_id IS NOT NULL ORDER BY wallet_id, credit_type, line
        ON CONFLICT DO NOTHING RETURNING line, credit_type
    )
    INSERT INTO ledger_batchexception (batch_id, line, credit_type, amount, paid_minor, currency, note, is_at_run, why)
    SELECT %(batch)s, line, credit_type, amount, paid_minor, currency, note, false,
           CASE WHEN why <> '' THEN why WHEN wallet_id IS NULL THEN %(unknown)s ELSE %(same)s END
    FROM found WHERE (line, credit_type) NOT IN (SELECT line, credit_type FROM kept) ORDER BY line
"""


def keep_rows(batch: Batch, rows: Iterable[BatchRow]) -> None:
    """Keep what the lines of a file say, for ``batch`` to be planned from."""
    rows = iter(rows)
    with connection.cursor() as cursor:
        while some := list(islice(rows, ROWS_AT_A_TIME)):
            emails = [row.email for row in some]
            whys = [row.why or ("" if _is_amount(row.amount) else BAD_AMOUNT) for row in some]
            cursor.execute(OPEN_FOR_FILE, {"emails": emails})
            cursor.execute(
                KEEP_ROWS,
                {
                    "batch": batch.pk,
                    "lines": [row.line for row in some],
                    "emails": emails,
                    "types": [row.credit_type or batch.credit_type for row in some],
                    "amounts": [row.amount for row in some],
                    "paid": [row.paid_minor for row in some],
                    "currencies": [row.currency for row in some],
                    "notes": [row.note for row in some],
                    "whys": whys,
                    "unknown": UNKNOWN_USER,
                    "same": SAME_USER,
                },
            )


def _is_amount(amount: int | None) -> bool:
    return amount is not None and 1 <= amount <= LARGEST_AMOUNT


# --- Who is in it, and who is left out ------------------------------------------------------------
# What an earlier plan found is read anew, if it came from a file, and forgotten.
CANDIDATES_OF_FILE = """
    item AS (DELETE FROM ledger_batchitem WHERE batch_id = %(batch)s RETURNING *),
    left_out AS (DELETE FROM ledger_batchexception WHERE batch_id = %(batch)s AND wallet_id IS NOT NULL RETURNING *),
    candidate AS (
        SELECT wallet_id, credit_type, amount, paid_minor, currency, line, note, NULL::uuid AS reverses_id FROM item
        UNION ALL
        SELECT wallet_id, credit_type, amount, paid_minor, currency, line, note, NULL FROM left_out
    )"""
FORGET = [
    "DELETE FROM ledger_batchitem WHERE batch_id = %(batch)s",
    "DELETE FROM ledger_batchexception WHERE batch_id = %(batch)s",
]
CANDIDATES_OF_SELECTION = """
    candidate AS (
        SELECT selected.wallet_id, %(credit_type)s::text AS credit_type, %(amount)s::bigint AS amount, 0::bigint AS paid_minor,
               ''::text AS currency, NULL::int AS line, ''::text AS note, NULL::uuid AS reverses_id
        FROM ({selection}) AS selected(wallet_id)
    )"""
CANDIDATES_OF_BATCH = """
    candidate AS (
        SELECT i.wallet_id, i.credit_type, abs(t.amount) AS amount, 0::bigint AS paid_minor, ''::text AS currency, i.line, ''::text AS note,
               t.id AS reverses_id
        FROM ledger_batchitem i JOIN ledger_wallet w ON w.id = i.wallet_id LEFT JOIN accounts_user u ON u.id = w.user_id
        JOIN LATERAL (SELECT * FROM ledger_credittransaction x WHERE x.key = {key} AND x.fingerprint = {fingerprint} OFFSET 0) t ON true
        WHERE i.batch_id = %(reverses)s
    )"""
# What is spendable of the type: neither expired nor frozen nor held.
FREE = """
    CASE WHEN w.held = 0 AND (w.recount_at IS NULL OR w.recount_at > %(at)s)
         THEN CASE i.credit_type WHEN 'award' THEN w.award WHEN 'partner' THEN w.partner ELSE w.purchase END
         ELSE (SELECT coalesce(sum(g.remaining - g.held), 0) FROM ledger_grant g
               WHERE g.wallet_id = w.id AND g.is_open AND g.credit_type = i.credit_type
               AND NOT g.is_frozen AND (g.expires_at IS NULL OR g.expires_at > %(at)s)) END"""
HAS = (
    "CASE i.credit_type WHEN 'award' THEN w.award WHEN 'partner' THEN w.partner ELSE w.purchase END"
)
# What is left of the grant that is taken back, or not given back yet of what was taken.
LEFT_OF_GRANT = """
    (SELECT CASE WHEN EXISTS (SELECT 1 FROM ledger_credittransaction x WHERE x.reverses_id = i.reverses_id) THEN -1
                 WHEN g.paid_minor > 0 THEN -2 ELSE g.remaining - g.held END
     FROM ledger_entry e JOIN ledger_grant g ON g.id = e.grant_id WHERE e.transaction_id = i.reverses_id)"""
LEFT_TO_GIVE = """
    coalesce(nullif(
        (SELECT -sum(e.amount) FROM ledger_entry e WHERE e.transaction_id = i.reverses_id)
        - (SELECT coalesce(sum(r.amount), 0) FROM ledger_restoration r WHERE r.original_id = i.reverses_id), 0), -1)"""
CLOSED = "WHEN w.status = 'closed' THEN 'the wallet is closed'"
INACTIVE = "WHEN NOT u.is_active THEN 'the user is not active'"
TOO_LARGE = "WHEN i.has + i.amount > %(largest)s AND i.paid_minor = 0 THEN 'would be above the largest balance'"
ENTERED = f"WHEN EXISTS (SELECT 1 FROM ledger_credittransaction t WHERE t.key = {OPENING_KEY}) THEN 'entered before'"
LESS = "WHEN i.has < i.amount THEN 'has less than that'"
NONE = "WHEN i.has = 0 THEN 'has none'"
REVERSED = """
    WHEN i.has = -1 THEN 'reversed already' WHEN i.has = -2 THEN 'was paid for: it is refunded, not reversed'
    WHEN i.has = 0 THEN 'nothing of it is left'"""
SHORT = {"", "has less than that", "has none", "nothing of it is left"}
JUDGE = """
    WITH staff AS MATERIALIZED ({staff}),
    {candidates},
    known AS (SELECT i.*, {has} AS has FROM candidate i JOIN ledger_wallet w ON w.id = i.wallet_id),
    judged AS MATERIALIZED (
        SELECT i.*, CASE WHEN i.wallet_id IN (SELECT id FROM staff) THEN 'of staff' {refusals} ELSE '' END AS why
        FROM known i JOIN ledger_wallet w ON w.id = i.wallet_id LEFT JOIN accounts_user u ON u.id = w.user_id
    ), kept AS (
        INSERT INTO ledger_batchitem (batch_id, wallet_id, credit_type, amount, paid_minor, currency, line, note, reverses_id)
        SELECT %(batch)s, wallet_id, credit_type, amount, paid_minor, currency, line, note, reverses_id
        FROM judged WHERE why = '' ORDER BY wallet_id, credit_type
    ), refused AS (
        INSERT INTO ledger_batchexception (batch_id, wallet_id, line, credit_type, amount, paid_minor, currency, note, is_at_run, why)
        SELECT %(batch)s, wallet_id, line, credit_type, amount, paid_minor, currency, note, false, why
        FROM judged WHERE why <> '' ORDER BY wallet_id, credit_type
    )
    SELECT why, credit_type, currency, count(*), sum(amount), sum(paid_minor),
           count(*) FILTER (WHERE has < amount), coalesce(sum(amount - greatest(has, 0)) FILTER (WHERE has < amount), 0)
    FROM judged GROUP BY why, credit_type, currency ORDER BY 1, 2, 3
"""
# What is wrong with a line may quote it: of many such reasons the most frequent are told.
LINES_LEFT_OUT = """
    SELECT CASE WHEN place <= 20 THEN why ELSE 'for other reasons' END, sum(n)::bigint FROM (
        SELECT why, count(*) AS n, row_number() OVER (ORDER BY count(*) DESC, why) AS place
        FROM ledger_batchexception WHERE batch_id = %(batch)s AND wallet_id IS NULL GROUP BY why) AS counted
    GROUP BY 1 ORDER BY 1
"""
WALLETS = "SELECT count(*) FROM (SELECT DISTINCT wallet_id FROM ledger_batchitem WHERE batch_id = %(batch)s) AS x"


def make_plan(batch: Batch, at: datetime) -> dict[str, Any]:
    """Write the items of ``batch``, a draft, and who is left out; return its figures."""
    settings = settings_at(at)
    parameters = {
        "batch": batch.pk,
        "at": at,
        "credit_type": batch.credit_type,
        "amount": batch.amount,
        "largest": settings.largest_balance,
        "reverses": batch.reverses_id,
    }
    has, refusals = _rules(batch)
    with connection.cursor() as cursor:
        # Hundreds of thousands of rows may take longer than a page may wait for a statement.
        cursor.execute("SET LOCAL statement_timeout = 0")
        candidates, more = _candidates(batch)
        if batch.selection["of"] != "csv":
            for statement in FORGET:
                cursor.execute(statement, parameters)
        if batch.selection["of"] == "all":
            cursor.execute(OPEN_FOR_ALL)
        sql = JUDGE.format(
            staff=STAFF_WALLETS, candidates=candidates, has=has, refusals=" ".join(refusals)
        )
        cursor.execute(sql, parameters | more)
        rows = cursor.fetchall()
        cursor.execute(LINES_LEFT_OUT, parameters)
        lines = dict(cursor.fetchall())
        cursor.execute(WALLETS, parameters)
        (wallets,) = cursor.fetchone()
    plan = _figures(batch, rows, lines) | {"wallets": wallets}
    plan["largest_balance"] = settings.largest_balance
    plan["cost"] = _cost(plan["expected"], settings.recovery_cost, settings.recovery_currency)
    is_large = plan["credits"] >= settings.typed_confirmation_from
    return plan | {"phrase": phrase_for(batch, plan) if is_large and plan["items"] else ""}


def _candidates(batch: Batch) -> tuple[str, dict[str, Any]]:
    """Return the SQL of who may be in ``batch``, and its parameters."""
    if batch.reverses is not None:
        key = OPENING_KEY if batch.reverses.kind == BatchKind.OPENING else KEY
        return CANDIDATES_OF_BATCH.format(key=key, fingerprint=KEY), {}
    if batch.selection["of"] == "csv":
        return CANDIDATES_OF_FILE, {}
    sql, values = wallets_of(batch.selection).order_by().values("pk").query.sql_with_params()
    names = [f"selected_{number}" for number in range(len(values))]
    left = iter(names)
    sql = re.sub(r"%s", lambda _: f"%({next(left)})s", sql)
    return CANDIDATES_OF_SELECTION.format(selection=sql), dict(zip(names, values, strict=True))


def _rules(batch: Batch) -> tuple[str, list[str]]:
    """Return the SQL of what a wallet has that matters, and of what leaves it out."""
    if batch.reverses is not None:
        has = LEFT_TO_GIVE if batch.reverses.kind == BatchKind.DEDUCT else LEFT_OF_GRANT
        return has, [REVERSED]
    if batch.kind == BatchKind.OPENING:
        return HAS, [CLOSED, ENTERED, TOO_LARGE]
    if batch.kind == BatchKind.ADD:
        return HAS, [CLOSED, INACTIVE, TOO_LARGE]
    return FREE, [CLOSED, INACTIVE, NONE if batch.policy == ShortPolicy.TAKE else LESS]


def _figures(
    batch: Batch, rows: list[tuple[Any, ...]], lines_left_out: dict[str, int]
) -> dict[str, Any]:
    takes = batch.kind in {BatchKind.DEDUCT, BatchKind.REVERSAL}
    by_type = dict.fromkeys(CreditType.values, 0)
    paid: dict[str, int] = {}
    excluded = dict(lines_left_out)
    items = expected = short = shortfall = 0
    for why, credit_type, currency, count, credits, paid_minor, has_less, missing in rows:
        if takes and why in SHORT:
            short, shortfall = short + has_less, shortfall + int(missing)
        if why:
            excluded[why] = excluded.get(why, 0) + count
            continue
        items += count
        expected += int(credits) - (int(missing) if takes else 0)
        by_type[credit_type] += int(credits)
        if currency:
            paid[currency] = paid.get(currency, 0) + int(paid_minor)
    return {
        "items": items,
        "credits": sum(by_type.values()),
        "expected": expected,
        "by_type": {name: credits for name, credits in by_type.items() if credits},
        "paid_minor": paid,
        "would_fall_below": short,
        "shortfall": shortfall,
        "excluded": excluded,
    }


def _cost(credits: int, cost: Decimal, currency: str) -> dict[str, str]:
    smallest = Decimal(1).scaleb(-digits_of(currency.lower()))
    return {"amount": str((credits * cost).quantize(smallest)), "currency": currency}


# --- The hash -------------------------------------------------------------------------------------
# Item by item in order, ten thousand ids of wallets at a time, so that no text of all is made.
ITEMS = """
    SELECT encode(sha256(coalesce(string_agg(digest, ''::bytea ORDER BY part), ''::bytea)), 'hex') FROM (
        SELECT wallet_id / 10000 AS part, sha256(convert_to(string_agg(
                   concat_ws(':', wallet_id, credit_type, amount, paid_minor, currency, coalesce(reverses_id::text, ''), note),
                   chr(10) ORDER BY wallet_id, credit_type), 'UTF8')) AS digest
        FROM ledger_batchitem WHERE batch_id = %s GROUP BY 1) AS parts
"""


def hash_of(batch: Batch, plan: dict[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of what ``batch`` asks, of ``plan`` and of every item."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(ITEMS, [batch.pk])
        (items,) = cursor.fetchone()
    told = [
        "creditsite batch 1",
        str(batch.public_id),
        batch.kind,
        batch.credit_type,
        batch.amount,
        batch.policy,
        batch.expires_at and batch.expires_at.astimezone(UTC).isoformat(),
        batch.reason,
        batch.maker_id,
        batch.selection,
        batch.reverses_id,
        plan,
        items,
    ]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def ranges_of(batch: Batch, size: int) -> Iterator[tuple[int, int]]:
    """Yield the half-open ranges of wallet ids that part the items of ``batch`` by ``size``."""
    with connection.cursor() as cursor:
        cursor.execute(RANGES, {"batch": batch.pk, "size": size})
        bounds = sorted({bound for (bound,) in cursor.fetchall()})
    return pairwise(bounds)


RANGES = """
    SELECT min(wallet_id) FROM (
        SELECT wallet_id, (row_number() OVER (ORDER BY wallet_id, credit_type) - 1) / %(size)s AS part
        FROM ledger_batchitem WHERE batch_id = %(batch)s) AS x
    GROUP BY part
    UNION ALL SELECT max(wallet_id) + 1 FROM ledger_batchitem WHERE batch_id = %(batch)s
"""

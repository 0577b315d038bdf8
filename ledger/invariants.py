"""
What must be true of the books at every commit, each as a query for the rows that break it.

PostgreSQL enforces what it can (CHECKs, unique keys, triggers); this looks at everything again,
from the rows up. ``check_ledger`` runs it, and so does every test when it ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from django.db import connection

from ledger.choices import TransactionKind

# In each query {x} limits the alias x to the wallets asked for.
CHECKS = {
    "A wallet's balances are the sums of its open grants": """
        SELECT w.id, format('%%s/%%s/%%s held %%s, grants say %%s/%%s/%%s held %%s', w.award, w.partner, w.purchase, w.held,
                            coalesce(g.award, 0), coalesce(g.partner, 0), coalesce(g.purchase, 0), coalesce(g.held, 0))
        FROM ledger_wallet w LEFT JOIN (
            SELECT wallet_id, sum(remaining) FILTER (WHERE credit_type = 'award') AS award,
                   sum(remaining) FILTER (WHERE credit_type = 'partner') AS partner,
                   sum(remaining) FILTER (WHERE credit_type = 'purchase') AS purchase, sum(held) AS held
            FROM ledger_grant g WHERE is_open {g} GROUP BY 1) g ON g.wallet_id = w.id
        WHERE (w.award, w.partner, w.purchase, w.held)
              <> (coalesce(g.award, 0), coalesce(g.partner, 0), coalesce(g.purchase, 0), coalesce(g.held, 0)) {w}""",
    "A wallet's balances are the sums of its entries": """
        SELECT w.id, format('%%s/%%s/%%s, entries say %%s/%%s/%%s', w.award, w.partner, w.purchase, e.award, e.partner, e.purchase)
        FROM ledger_wallet w LEFT JOIN (
            SELECT wallet_id, sum(amount) FILTER (WHERE credit_type = 'award') AS award,
                   sum(amount) FILTER (WHERE credit_type = 'partner') AS partner,
                   sum(amount) FILTER (WHERE credit_type = 'purchase') AS purchase
            FROM ledger_entry e WHERE true {e} GROUP BY 1) e ON e.wallet_id = w.id
        WHERE (w.award, w.partner, w.purchase) <> (coalesce(e.award, 0), coalesce(e.partner, 0), coalesce(e.purchase, 0)) {w}""",
    "A wallet's debt is the sum of its debts": """
        SELECT w.id, format('%%s, debts say %%s', w.debt, coalesce(d.owed, 0))
        FROM ledger_wallet w
        LEFT JOIN (SELECT wallet_id, sum(outstanding) AS owed FROM ledger_debt d WHERE is_open {d} GROUP BY 1) d ON d.wallet_id = w.id
        WHERE w.debt <> coalesce(d.owed, 0) {w}""",
    "A wallet's transactions are numbered without a gap up to its version": """
        SELECT w.id, format('version %%s, %%s transactions up to no. %%s', w.version, coalesce(t.n, 0), coalesce(t.last, 0))
        FROM ledger_wallet w
        LEFT JOIN (SELECT wallet_id, count(*) AS n, max(number) AS last, min(number) AS first
                   FROM ledger_credittransaction t WHERE true {t} GROUP BY 1) t ON t.wallet_id = w.id
        WHERE (w.version, w.version, least(w.version, 1)) <> (coalesce(t.n, 0), coalesce(t.last, 0), coalesce(t.first, 0)) {w}""",
    "A wallet is recounted no later than a grant stops being spendable": """
        SELECT w.id, format('recount_at %%s', w.recount_at)
        FROM ledger_wallet w WHERE EXISTS (
            SELECT 1 FROM ledger_grant g WHERE g.wallet_id = w.id AND g.is_open AND g.remaining > g.held
            AND coalesce(w.recount_at, 'infinity') > CASE WHEN g.is_frozen THEN 'epoch' ELSE g.expires_at END) {w}""",
    "A transaction continues the balance and the clock of the one before": """
        SELECT t.wallet_id, format('no. %%s', number) FROM (
            SELECT wallet_id, number, balance_after, amount, recorded_at,
                   lag(balance_after, 1, 0::bigint) OVER earlier AS before, lag(recorded_at) OVER earlier AS recorded_before
            FROM ledger_credittransaction t WHERE true {t} WINDOW earlier AS (PARTITION BY wallet_id ORDER BY number)) t
        WHERE balance_after <> before + amount OR recorded_at < recorded_before""",
    "A transaction's figures are the sums of its entries": """
        SELECT t.wallet_id, format('no. %%s', t.number) FROM ledger_credittransaction t LEFT JOIN (
            SELECT transaction_id, coalesce(sum(amount) FILTER (WHERE credit_type = 'award'), 0) AS award,
                   coalesce(sum(amount) FILTER (WHERE credit_type = 'partner'), 0) AS partner,
                   coalesce(sum(amount) FILTER (WHERE credit_type = 'purchase'), 0) AS purchase
            FROM ledger_entry e WHERE true {e} GROUP BY 1) e ON e.transaction_id = t.id
        WHERE (t.award, t.partner, t.purchase) <> (coalesce(e.award, 0), coalesce(e.partner, 0), coalesce(e.purchase, 0)) {t}""",
    "A transaction's debt is the sum of its debt entries": """
        SELECT t.wallet_id, format('no. %%s', t.number) FROM ledger_credittransaction t
        LEFT JOIN (SELECT transaction_id, sum(amount) AS debt FROM ledger_debtentry e WHERE true {e} GROUP BY 1) e ON e.transaction_id = t.id
        WHERE t.debt <> coalesce(e.debt, 0) {t}""",
    "A transaction is of a known kind, and its sign fits": """
        SELECT t.wallet_id, format('no. %%s: %%s %%s', t.number, t.kind, t.amount) FROM ledger_credittransaction t
        WHERE (NOT t.kind = ANY (%(kinds)s)
               OR t.kind IN ('award', 'partner', 'purchase', 'allocation', 'reinstatement', 'refund') AND t.amount < 0
               OR t.kind IN ('usage', 'expiry', 'clawback', 'debt_repayment', 'void', 'write_off') AND t.amount > 0) {t}""",
    "A transaction's text is what its digest was made of": """
        SELECT t.wallet_id, format('no. %%s', t.number) FROM ledger_credittransaction t
        WHERE (t.text_salt IS NOT NULL AND t.text_digest IS DISTINCT FROM
               ledger_text_digest(t.text_salt, t.reference_id, t.description, t.project, t.metadata)
               OR t.text_salt IS NULL AND ((t.reference_id, t.description, t.project) <> ('', '', '') OR t.metadata IS NOT NULL)) {t}""",
    "A charge is its quantities at the prices it names, rounded up once": """
        SELECT t.wallet_id, format('no. %%s: %%s', t.number, t.amount)
        FROM ledger_credittransaction t CROSS JOIN LATERAL (
            -- A quotient of numerics has an end, a third has none: a billionth of a credit either way is no break.
            SELECT ceil(sum(part) - 1e-9) AS least, ceil(sum(part) + 1e-9) AS most, count(p.id) AS known
            FROM unnest(t.price_ids, t.quantities) AS l(price_id, quantity) LEFT JOIN ledger_featureprice p ON p.id = l.price_id,
                 LATERAL (SELECT CASE WHEN p.is_flat THEN p.unit_price ELSE p.unit_price * l.quantity / p.per END AS part) AS x) c
        WHERE t.price_ids IS NOT NULL AND (c.known <> cardinality(t.price_ids)
              OR (t.debt - t.amount BETWEEN CASE WHEN t.hold_id IS NULL THEN c.least ELSE 1 END AND c.most) IS NOT TRUE) {t}""",
    "A grant's remaining credits are the sum of its entries": """
        SELECT g.wallet_id, format('grant %%s: %%s, entries say %%s', g.id, g.remaining, e.moved) FROM ledger_grant g
        LEFT JOIN (SELECT grant_id, sum(amount) AS moved, max(amount) AS posted FROM ledger_entry e WHERE true {e} GROUP BY 1) e
               ON e.grant_id = g.id
        WHERE (g.remaining <> coalesce(e.moved, 0) OR e.posted IS DISTINCT FROM g.amount) {g}""",
    "A grant's consumed credits are what use took, less what was given back": """
        SELECT g.wallet_id, format('grant %%s: %%s, entries say %%s', g.id, g.consumed, coalesce(e.taken, 0)) FROM ledger_grant g
        LEFT JOIN (SELECT e.grant_id, sum(-e.amount - coalesce(r.given, 0)) AS taken
                   FROM ledger_entry e JOIN ledger_credittransaction t ON t.id = e.transaction_id
                   LEFT JOIN (SELECT original_id, position, sum(amount) AS given FROM ledger_restoration r WHERE true {r} GROUP BY 1, 2) r
                          ON r.original_id = e.transaction_id AND r.position = e.position
                   WHERE t.kind IN ('usage', 'expiry', 'debt_repayment') {e} GROUP BY 1) e ON e.grant_id = g.id
        WHERE g.consumed <> coalesce(e.taken, 0) {g}""",
    "What a grant carried over is in the grants that carry it on": """
        SELECT g.wallet_id, format('grant %%s', g.id) FROM ledger_grant g
        LEFT JOIN (SELECT carried_from_id, sum(amount) AS amount, sum(paid_minor) AS paid FROM ledger_grant g
                   WHERE carried_from_id IS NOT NULL {g} GROUP BY 1) c ON c.carried_from_id = g.id
        WHERE (g.carried, g.carried_minor) <> (coalesce(c.amount, 0), coalesce(c.paid, 0)) {g}""",
    "A grant's returned money is the sum of its returns": """
        SELECT g.wallet_id, format('grant %%s: %%s, returns say %%s', g.id, g.returned_minor, coalesce(m.returned, 0)) FROM ledger_grant g
        LEFT JOIN (SELECT grant_id, sum(amount_minor) AS returned FROM ledger_moneyreturn m WHERE true {m} GROUP BY 1) m ON m.grant_id = g.id
        WHERE g.returned_minor <> coalesce(m.returned, 0) {g}""",
    "A grant's held credits are what open holds pin": """
        SELECT g.wallet_id, format('grant %%s: %%s, holds say %%s', g.id, g.held, coalesce(a.pinned, 0)) FROM ledger_grant g
        LEFT JOIN (SELECT grant_id, sum(pinned) AS pinned FROM ledger_holdallocation a WHERE true {a} GROUP BY 1) a ON a.grant_id = g.id
        WHERE (g.held <> coalesce(a.pinned, 0) OR g.pending > g.held OR g.clawback_target - g.clawed > g.held) {g}""",
    "A hold pins its amount while open, and nothing after": """
        SELECT h.wallet_id, format('hold %%s', h.id) FROM ledger_hold h
        LEFT JOIN (SELECT hold_id, sum(pinned) AS pinned, sum(amount) AS amount FROM ledger_holdallocation a WHERE true {a} GROUP BY 1) a
               ON a.hold_id = h.id
        WHERE (a.amount IS DISTINCT FROM h.amount OR a.pinned <> CASE WHEN h.status = 'open' THEN h.amount ELSE 0 END) {h}""",
    "A hold's capture is its one transaction": """
        SELECT h.wallet_id, format('hold %%s', h.id) FROM ledger_hold h
        LEFT JOIN (SELECT hold_id, count(*) AS n, -sum(amount) AS taken FROM ledger_credittransaction t
                   WHERE hold_id IS NOT NULL {t} GROUP BY 1) t ON t.hold_id = h.id
        WHERE (h.captured <> coalesce(t.taken, 0) OR t.n > 1) {h}""",
    "A debt is the sum of its entries": """
        SELECT d.wallet_id, format('debt %%s: %%s, entries say %%s', d.id, d.outstanding, e.moved) FROM ledger_debt d
        LEFT JOIN (SELECT debt_id, sum(amount) AS moved FROM ledger_debtentry e WHERE true {e} GROUP BY 1) e ON e.debt_id = d.id
        WHERE d.outstanding IS DISTINCT FROM e.moved {d}""",
    "What is given back never exceeds, line by line, what was taken": """
        SELECT r.wallet_id, format('transaction %%s line %%s: %%s given back of %%s', r.original_id, r.position, r.given, coalesce(l.taken, 0))
        FROM (SELECT original_id, position, min(wallet_id) AS wallet_id, sum(amount) AS given FROM ledger_restoration r
              WHERE true {r} GROUP BY 1, 2) r
        LEFT JOIN LATERAL (
            SELECT -e.amount AS taken FROM ledger_entry e WHERE e.transaction_id = r.original_id AND e.position = r.position
            UNION ALL SELECT d.amount FROM ledger_debtentry d WHERE d.transaction_id = r.original_id AND r.position = 0) l ON true
        WHERE r.given > coalesce(l.taken, 0)""",
    "An open grant that is voided is held": """
        SELECT g.wallet_id, format('grant %%s', g.id) FROM ledger_grant g
        WHERE g.is_open AND g.voided_at IS NOT NULL AND g.remaining > g.held {g}""",
}


FURTHER: dict[str, str] = {}


def add_checks(checks: Mapping[str, str]) -> None:
    """Have these run, too: of who stands above the books, and keeps what must tie with them."""
    FURTHER.update(checks)


def all_checks() -> dict[str, str]:
    """Return the checks of the books, and then those of who stands above them."""
    return CHECKS | FURTHER


@dataclass(frozen=True)
class Finding:
    """What one check found: the rows that break it, as sentences, and how long it took."""

    check: str
    violations: list[str]
    seconds: float


def findings(wallet_ids: Sequence[int] | None = None) -> Iterator[Finding]:
    """Run each check over all wallets, or over those of ``wallet_ids``."""
    for check, sql in all_checks().items():
        limits = dict.fromkeys("wgetdrahmps", "")
        if wallet_ids is not None:
            limits = {alias: f"AND {alias}.wallet_id = ANY (%(wallets)s)" for alias in limits}
            limits["w"] = "AND w.id = ANY (%(wallets)s)"
        started = perf_counter()
        with connection.cursor() as cursor:
            cursor.execute(
                sql.format(**limits),
                {"wallets": list(wallet_ids or ()), "kinds": TransactionKind.values},
            )
            rows = cursor.fetchall()
        yield Finding(
            check, [f"wallet {wallet}: {what}" for wallet, what in rows], perf_counter() - started
        )


def violations(wallet_ids: Sequence[int] | None = None) -> Iterator[str]:
    """Yield each break of the books as a sentence; nothing when they are sound."""
    for finding in findings(wallet_ids):
        for violation in finding.violations:
            yield f"{finding.check}: {violation}"

"""Stripe against the books over some time: page by page, in windows, with bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.db.models import Count, Q

from billing import gateway
from billing.choices import BreakKind, Effect, RefundStatus
from billing.models import Break, Payment, PaymentEffect, StripeEvent
from billing.queries.differences import (
    DISPUTE_EFFECTS,
    NOT_SENT,
    Difference,
    books_of,
    is_suspect,
    orphans,
)
from billing.services.breaks import keep_break
from billing.services.examination import QUIET, examine, keep, payment_named
from billing.stripe_objects import BalanceMovement
from creditsite.money import format_money
from ledger.choices import TransactionKind
from ledger.models import Entry, Grant

WINDOW = timedelta(days=1)
ROWS = 500
SALES = [TransactionKind.PURCHASE, TransactionKind.ALLOCATION]
# By what the books have noted of an object, it is known that its money moved.
COLUMNS = {
    "charge": "charged",
    "refund": "refunded",
    "refund_failure": "refunded",
    "dispute": "disputed",
    "dispute_reversal": "disputed",
    "payout": "paid_out",
}
Row = TypeVar("Row")
Figures = dict[str, dict[str, int]]


def pages(rows: Iterable[Row], size: int = gateway.PAGE) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while page := list(islice(remaining, size)):
        yield page


def windows(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield days, or what is left of one, from the first to the last; Stripe counts seconds."""
    begins = since.replace(microsecond=0)
    while begins < until:
        ends = min(begins + WINDOW, until.replace(microsecond=0) + timedelta(seconds=1))
        yield begins, ends
        begins = ends


class Comparison:
    """
    One comparison of Stripe with the books, window by window, the earliest first.

    What a list of Stripe's or a row of ours makes suspect is read whole and compared again
    (`examination`), so a list that is a little old makes no break. In memory are the ids of two
    windows, and those that are suspect.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.payments = self.under_way = 0
        self.figures: Figures = {}
        self.seen: set[str] = set()
        self.examined: set[str] = set()
        self.before: tuple[datetime, datetime] | None = None

    # --- A window ---------------------------------------------------------------------------------
    def compare(self, begins: datetime, ends: datetime) -> None:
        """
        Compare what was made in [``begins``, ``ends``); may be tried again.

        :raises PaymentsUnavailable: Stripe did not answer.
        """
        seen: set[str] = set()
        suspects: set[str] = set()
        for page in pages(gateway.list_payment_intents(begins, ends)):
            seen |= {intent.id for intent in page}
            known = books_of({intent.id: payment_named(intent) for intent in page})
            at = self.clock()
            suspects |= {i.id for i in page if is_suspect(known.get(i.id), i, at)}
        suspects |= refunds_unlike_ours(begins, ends) | disputes_unlike_ours(begins, ends)
        suspects |= taxes_unlike_ours(begins, ends)
        suspects |= keep_unknown_invoices(begins, ends, self.clock())
        if self.before:
            suspects |= set(unseen(*self.before, self.seen | seen))
        figures = moved(begins, ends)
        self.examine(suspects)
        self.payments += len(seen)
        add(self.figures, figures)
        self.before, self.seen = (begins, ends), seen

    def examine(self, intents: Iterable[str]) -> None:
        for some in pages(sorted(set(intents))):
            findings = [examine(intent_id, self.clock()) for intent_id in some]
            self.under_way += keep(findings, self.clock())
            self.examined |= set(some)

    # --- What is of no window ---------------------------------------------------------------------
    def finish(self, since: datetime, until: datetime) -> None:
        """Look at what no list of Stripe's shows, and again at the breaks of before."""
        if self.before:
            self.examine(unseen(*self.before, self.seen))
        for some in pages(unsettled(), ROWS):
            self.examine(set(some) - self.examined)
        for grants in pages(sold_without_payment(since), ROWS):
            self.examine(set(keep_sold_without_payment(grants, self.clock())) - self.examined)
        keep_foreign(since, until, self.clock())
        for some in pages(open_breaks(), ROWS):
            self.examine(set(some) - self.examined)
        forget_known_after_all(self.clock())


def unseen(begins: datetime, ends: datetime, seen: set[str]) -> Iterator[str]:
    """Yield our payments of a window that were paid, as we say, and were not in Stripe's lists."""
    ours = Payment.objects.filter(
        created_at__gte=begins, created_at__lt=ends, paid_at__isnull=False, intent_id__isnull=False
    )
    for intent_id in ours.values_list("intent_id", flat=True).iterator(chunk_size=ROWS):
        if intent_id not in seen:
            yield intent_id


def refunds_unlike_ours(begins: datetime, ends: datetime) -> set[str]:
    """Return the payments of the refunds that are not noted as they are."""
    found = set()
    for page in pages(gateway.list_refunds(begins, ends)):
        noted = noted_of(refund.id for refund in page)
        for refund in page:
            effect = Effect.REFUND_FAILED if refund.status in NOT_SENT else Effect.REFUNDED
            if noted.get((refund.id, effect)) != refund.amount_minor and refund.payment_intent:
                found.add(refund.payment_intent)
    return found


def disputes_unlike_ours(begins: datetime, ends: datetime) -> set[str]:
    found = set()
    for page in pages(gateway.list_disputes(begins, ends)):
        noted = noted_of(dispute.id for dispute in page)
        for dispute in page:
            effect = DISPUTE_EFFECTS.get(dispute.status)
            is_noted = effect is None or noted.get((dispute.id, effect)) == dispute.amount_minor
            if not is_noted and dispute.payment_intent:
                found.add(dispute.payment_intent)
    return found


def noted_of(object_ids: Iterable[str]) -> dict[tuple[str, str], int]:
    rows = PaymentEffect.objects.filter(object_id__in=list(object_ids))
    return {(row.object_id, row.effect): row.amount_minor for row in rows}


def taxes_unlike_ours(begins: datetime, ends: datetime) -> set[str]:
    """Return the payments whose checkout was paid with another tax than is booked."""
    found = set()
    for page in pages(gateway.list_checkouts(begins, ends)):
        paid = {s.id: s for s in page if s.is_paid and s.mode == "payment" and s.payment_intent}
        ours = Payment.objects.filter(session_id__in=paid).values_list("session_id", "tax_minor")
        found |= {str(paid[id].payment_intent) for id, tax in ours if paid[id].tax_minor != tax}
    return found


def keep_unknown_invoices(begins: datetime, ends: datetime, at: datetime) -> set[str]:
    """
    Return the payments of invoices that are paid and not known here.

    Of those that were paid without money, a break is kept: there is no payment to look at.
    """
    found = set()
    for page in pages(gateway.list_invoices(begins, ends)):
        paid = {invoice.id: invoice for invoice in page if invoice.status == "paid"}
        ours = Payment.objects.filter(invoice_id__in=paid, paid_at__isnull=False)
        known = set(ours.values_list("invoice_id", flat=True))
        for invoice in paid.values():
            if invoice.id in known:
                continue
            if invoice.payment_intent:
                found.add(invoice.payment_intent)
            elif invoice.subscription and (invoice.paid_at or invoice.created_at) < at - QUIET:
                total = format_money(invoice.total_minor, invoice.currency)
                says = f"{total}, paid by the customer's balance."
                unknown = Difference(BreakKind.INVOICE, invoice.id, says, "Nothing is known of it.")
                keep_lone_break(unknown, at)
    return found


def unsettled() -> Iterator[str]:
    """Yield the payments of which something is to come, however old they are."""
    disputed = Payment.objects.filter(is_disputed=True)
    going = [RefundStatus.WAITING, RefundStatus.PENDING]
    refunded = Payment.objects.filter(refunds__status__in=going)
    for rows in (disputed, refunded):
        yield from rows.exclude(intent_id=None).values_list("intent_id", flat=True).iterator()


def open_breaks() -> Iterator[str]:
    rows = Break.objects.filter(gone_at=None).exclude(intent_id="").order_by("intent_id")
    yield from rows.values_list("intent_id", flat=True).distinct().iterator()


# --- Grants that nobody paid for ------------------------------------------------------------------
def sold_without_payment(since: datetime) -> Iterator[Grant]:
    """Yield the grants sold from then on, by their ids, that no payment stands for."""
    grants = orphans(Grant.objects.filter(pk__gte=first_id(since)))
    yield from grants.order_by("pk").iterator(chunk_size=ROWS)


def first_id(at: datetime) -> UUID:
    """Return the lowest of the time-ordered ids that are made from an instant on."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def keep_sold_without_payment(grants: list[Grant], at: datetime) -> list[str]:
    """Keep a break for each grant that refers to no payment; return what the others refer to."""
    entries = Entry.objects.filter(
        grant__in=grants, amount__gt=0, transaction__kind__in=SALES
    ).values_list("grant_id", "transaction__reference_id")
    references = dict(entries)
    about = Q(intent_id__in=references.values()) | Q(invoice_id__in=references.values())
    known = Payment.objects.filter(about).exclude(intent_id=None)
    intents = {name: row.intent_id for row in known for name in (row.intent_id, row.invoice_id)}
    for grant in grants:
        if references.get(grant.pk) not in intents:
            difference = Difference(
                BreakKind.NO_PAYMENT,
                str(grant.pk),
                "Nothing is known of a payment for it.",
                f"{grant.amount:,} credits were given in wallet {grant.wallet_id}.",
            )
            keep_lone_break(difference, at)
    return [str(intents[name]) for name in references.values() if name in intents]


def keep_lone_break(difference: Difference, at: datetime) -> None:
    """Keep a break that is of no payment."""
    known = Break.objects.filter(
        kind=difference.kind, object_id=difference.object_id, gone_at=None
    ).first()
    keep_break(known, difference, "", None, at)


def forget_known_after_all(at: datetime) -> None:
    """Say that breaks are gone of grants and invoices for which there is a payment by now."""
    lone = Break.objects.filter(gone_at=None)
    unpaid = lone.filter(kind=BreakKind.NO_PAYMENT).values_list("object_id", flat=True)
    grants = Grant.objects.filter(pk__in=[UUID(id) for id in unpaid])
    still = orphans(grants).values_list("pk", flat=True)
    known = [str(pk) for pk in grants.exclude(pk__in=still).values_list("pk", flat=True)]
    invoices = lone.filter(kind=BreakKind.INVOICE).values_list("object_id", flat=True)
    paid = Payment.objects.filter(invoice_id__in=list(invoices), paid_at__isnull=False)
    known += paid.values_list("invoice_id", flat=True)
    lone.filter(object_id__in=known).update(gone_at=at)


# --- What is not ours -----------------------------------------------------------------------------
def keep_foreign(since: datetime, until: datetime, at: datetime) -> None:
    """Keep a break for each other account or mode that events or our key are of."""
    ours, is_live = gateway.our_account(), gateway.is_live()
    found = []
    account = gateway.account_id()
    if ours and account != ours:
        says = f"The key belongs to {account}."
        found.append(Difference(BreakKind.FOREIGN, account, says, f"STRIPE_ACCOUNT is {ours}."))
    events = StripeEvent.objects.filter(received_at__gte=since, received_at__lt=until)
    known = ["", *([ours] if ours else [])]
    foreign = events.filter(~Q(livemode=is_live) | ~Q(account__in=known))
    for row in foreign.values("account", "livemode").annotate(count=Count("pk")):
        mode = "live" if row["livemode"] else "test"
        of = row["account"] or "our account"
        says = f"Events of {of} in {mode} mode."
        booked = f"Our mode is {'live' if is_live else 'test'}; events came that were not of it."
        found.append(Difference(BreakKind.FOREIGN, f"{of} {mode}", says, booked))
    for difference in found:
        keep_lone_break(difference, at)
    still = [difference.object_id for difference in found]
    gone = Break.objects.filter(kind=BreakKind.FOREIGN, gone_at=None).exclude(object_id__in=still)
    gone.update(gone_at=at)


# --- How the money ties ---------------------------------------------------------------------------
def moved(begins: datetime, ends: datetime) -> Figures:
    """
    Return what moved at Stripe by day and currency, and what of it the books have noted.

    In the currency that was paid in; ``fees`` and ``net`` are in that of the account.
    """
    figures: Figures = {}
    for page in pages(gateway.list_balance_movements(begins, ends)):
        objects = {movement.source for movement in page if movement.source}
        noted = {id: amount for (id, _), amount in noted_of(objects).items()}
        intents = {movement.payment_intent for movement in page if movement.payment_intent}
        noted |= dict(
            Payment.objects.filter(intent_id__in=intents).values_list("intent_id", "charged_minor")
        )
        for movement in page:
            count(figures, movement, noted)
    return figures


def count(figures: Figures, movement: BalanceMovement, noted: Mapping[str, int]) -> None:
    day = f"{movement.created_at:%Y-%m-%d}"
    column = COLUMNS.get(movement.category, "other")
    paid_in = figures.setdefault(f"{day} {movement.source_currency}", {})
    held_in = figures.setdefault(f"{day} {movement.currency}", {})
    plus(paid_in, column, movement.source_minor or movement.amount_minor)
    plus(held_in, "fees", movement.fee_minor)
    plus(held_in, "net", movement.net_minor)
    if column in {"charged", "refunded", "disputed"}:
        about = movement.payment_intent if column == "charged" else movement.source
        amount = noted.get(about or "", 0)
        plus(paid_in, f"{column}_here", amount if movement.source_minor >= 0 else -amount)


def plus(row: dict[str, int], name: str, amount: int) -> None:
    row[name] = row.get(name, 0) + amount


def add(figures: Figures, more: Figures) -> None:
    for name, row in more.items():
        for column, amount in row.items():
            plus(figures.setdefault(name, {}), column, amount)

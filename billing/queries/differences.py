"""How one payment as Stripe has it differs from the books; reads rows, and moves nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet, Sum

from billing.choices import (
    BreakKind,
    Effect,
    PaymentStatus,
    PromisedMove,
    RefundStatus,
    ReviewKind,
)
from billing.models import Payment, PaymentEffect, PromisedMoney, ReviewItem, Slice
from billing.models import Refund as AskedRefund
from billing.queries.payments import share
from billing.services.returns import DECIDING, NOT_SENT
from billing.services.returns import EFFECTS as DISPUTE_EFFECTS
from billing.stripe_objects import CheckoutSession, Dispute, PaymentIntent, Refund
from creditsite.money import format_money
from ledger.choices import CreditType, GrantSource
from ledger.models import Grant

# So long a refund that staff asked for may take to be at Stripe.
LATE_REFUND = timedelta(hours=1)
REFUND_EFFECTS = {Effect.REFUNDED, Effect.REFUND_FAILED}
HELD_BACK = {ReviewKind.UNKNOWN, ReviewKind.MISMATCH, ReviewKind.CLOSED}


@dataclass(frozen=True)
class Difference:
    """One thing that differs; ``object_id`` is what it is about, the rest is for people."""

    kind: BreakKind
    object_id: str
    stripe_says: str
    books_say: str


@dataclass(frozen=True)
class AtStripe:
    """What Stripe has on a payment; ``intent`` is ``None`` where it has none."""

    intent: PaymentIntent | None
    refunds: Sequence[Refund] = ()
    disputes: Sequence[Dispute] = ()
    session: CheckoutSession | None = None


@dataclass
class Books:
    """
    What the books have on a payment: its row, grants, what was noted, what staff asked for.

    ``more`` are grants that were given for it besides. ``months`` are those of an invoice, and
    ``promised`` the sums of what moved the money that is not in their grants yet.
    """

    payment: Payment
    lot: list[Grant] = field(default_factory=list)
    more: list[Grant] = field(default_factory=list)
    months: list[Slice] = field(default_factory=list)
    promised: dict[str, int] = field(default_factory=dict)
    bonus: list[Grant] = field(default_factory=list)
    effects: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[AskedRefund] = field(default_factory=list)
    is_reviewed: bool = False

    def ids_of(self, kinds: Iterable[str]) -> set[str]:
        """Return the objects that did one of these things."""
        wanted = set(kinds)
        return {object_id for object_id, effect in self.effects if effect in wanted}


def paid_for(books: Books) -> int:
    """Return the money, without tax, that the grant of a payment carries; or is to carry."""
    if books.payment.invoice_id or not books.lot:
        return books.payment.net_minor
    return books.lot[0].paid_minor


# --- Reading the books ----------------------------------------------------------------------------
def books_of(intents: Mapping[str, str]) -> dict[str, Books]:
    """
    Return what the books have on these intents, by their ids.

    :param intents: each with the public id of the payment that it says it is for, or nothing.
    """
    for_ours = {public_id: intent for intent, public_id in intents.items() if public_id}
    rows = Payment.objects.filter(
        Q(intent_id__in=list(intents)) | Q(intent_id=None, public_id__in=list(for_ours))
    ).select_related("grant", "redemption__grant")
    found = {
        row.intent_id or for_ours[str(row.public_id)]: Books(row, lot=alone(row.grant))
        for row in rows
    }
    for books in found.values():
        redemption = books.payment.redemption
        books.bonus = alone(redemption.grant) if redemption else []
    fill(list(found.values()))
    return found


def alone(grant: Grant | None) -> list[Grant]:
    return [grant] if grant else []


def fill(all_books: Sequence[Books]) -> None:
    by_payment = {books.payment.pk: books for books in all_books}
    for effect in PaymentEffect.objects.filter(payment__in=by_payment):
        at = effect.object_id, effect.effect
        by_payment[effect.payment_id].effects[at] = effect.amount_minor
    for refund in AskedRefund.objects.filter(payment__in=by_payment):
        by_payment[refund.payment_id].asked.append(refund)
    held_back = ReviewItem.objects.filter(payment__in=by_payment, kind__in=HELD_BACK)
    for payment_id in held_back.values_list("payment_id", flat=True):
        by_payment[payment_id].is_reviewed = True
    fill_months(by_payment)
    add_carried([lot for books in all_books for lot in (books.lot, books.bonus)])


def fill_months(by_payment: Mapping[int, Books]) -> None:
    """Read the months of those that are of an invoice; their grants are its lot, newest first."""
    ids = [pk for pk, books in by_payment.items() if books.payment.invoice_id]
    months = Slice.objects.filter(payment__in=ids).select_related("grant")
    for month in months.order_by("payment_id", "-posted_at", "-number"):
        books = by_payment[month.payment_id]
        books.months.append(month)
        books.lot += alone(month.grant)
    moved = PromisedMoney.objects.filter(payment__in=ids).values_list("payment_id", "move")
    for pk, move, minor in moved.annotate(minor=Sum("amount_minor")).order_by("payment_id"):
        by_payment[pk].promised[move] = minor


def add_carried(lots: Sequence[list[Grant]]) -> None:
    """Add to each lot what was carried over from its grants, and from those."""
    latest = {grant.pk: lot for lot in lots for grant in lot if grant.carried}
    while latest:
        wallets = {lot[0].wallet_id for lot in latest.values()}
        carried = Grant.objects.filter(wallet__in=wallets, carried_from__in=latest)
        following: dict[UUID, list[Grant]] = {}
        for grant in carried.order_by("effective_at", "pk"):
            lot = latest[grant.carried_from_id]  # type: ignore[index]
            lot.append(grant)
            following[grant.pk] = lot
        latest = following


def add_more(books: Books) -> None:
    """Find the grants that were posted for the same payment, and that nothing stands for."""
    payment = books.payment
    if payment.wallet_id:
        references = [id for id in (payment.intent_id, payment.invoice_id) if id]
        books.more = list(
            orphans(Grant.objects.filter(wallet=payment.wallet_id)).filter(
                entries__amount__gt=0, entries__transaction__reference_id__in=references
            )
        )


def orphans(grants: QuerySet[Grant]) -> QuerySet[Grant]:
    """Return those of ``grants`` that were sold, and that no payment stands for."""
    of_plans = Q(source=GrantSource.PLAN, credit_type=CreditType.PURCHASE, slice=None)
    return grants.filter(Q(source=GrantSource.PACKAGE, payment=None) | of_plans)


# --- Comparing ------------------------------------------------------------------------------------
def is_suspect(books: Books | None, intent: PaymentIntent, at: datetime) -> bool:
    """Return whether a payment must be read whole, by what a list of Stripe's says of it."""
    if books is None or books.payment.paid_at is None or not intent.received_minor:
        return bool(intent.received_minor or (books and books.payment.paid_at))
    payment = books.payment
    disputes = books.ids_of(DISPUTE_EFFECTS.values())
    sent = sum(
        amount
        for (id, effect), amount in books.effects.items()
        if effect == Effect.REFUNDED and (id, Effect.REFUND_FAILED) not in books.effects
    )
    return (
        not (sent == payment.refunded_minor == intent.refunded_minor)
        or bool(disputes) != intent.is_disputed
        or any(paid_otherwise(books, intent, None))
        or any(given_otherwise(books, intent, payment.returned_minor))
        or any(asked_otherwise(books, at))
    )


def differences(
    books: Books | None, found: AtStripe, intent_id: str, at: datetime
) -> list[Difference]:
    """Return how the books differ from all that Stripe has on one payment."""
    intent = found.intent
    if books is None or books.payment.paid_at is None:
        return list(unreceived(books, intent))
    payment = books.payment
    if intent is None or not intent.received_minor:
        status = f"It is {intent.status}." if intent else "There is no such payment."
        booked = f"{money(payment.charged_minor, payment)} came in; it is {payment.status}."
        return [Difference(BreakKind.NOT_PAID, intent_id, status, booked)]
    returned = [
        *refunded_otherwise(books, found.refunds),
        *disputed_otherwise(books, found.disputes),
    ]
    return [
        *paid_otherwise(books, intent, found.session),
        *returned,
        *(() if returned else counted_otherwise(payment, found)),
        *asked_otherwise(books, at),
        *given_otherwise(books, intent, sent_back(found)),
        *given_again(books),
    ]


def money(minor: int, of: Payment | PaymentIntent | Refund | Dispute) -> str:
    return format_money(minor, of.currency)


def unreceived(books: Books | None, intent: PaymentIntent | None) -> Iterator[Difference]:
    if intent is None or not intent.received_minor:
        return
    paid = f"{money(intent.received_minor, intent)} came in from {intent.customer or 'a guest'}."
    if books is None:
        yield Difference(BreakKind.UNKNOWN, intent.id, paid, "Nothing is known of it.")
        return
    status = books.payment.status
    kind = BreakKind.ENDED if status == PaymentStatus.ENDED else BreakKind.NOT_CREDITED
    yield Difference(kind, intent.id, paid, f"Nothing came in; it is {status}.")


def paid_otherwise(
    books: Books, intent: PaymentIntent, session: CheckoutSession | None
) -> Iterator[Difference]:
    """Yield how the money that came in differs: amount, currency, who, tax."""
    payment = books.payment
    paid, booked = money(intent.received_minor, intent), money(payment.charged_minor, payment)
    if intent.currency != payment.currency:
        yield Difference(BreakKind.CURRENCY, intent.id, f"{paid}.", f"{booked}.")
    elif intent.received_minor != payment.charged_minor:
        yield Difference(BreakKind.AMOUNT, intent.id, f"{paid}.", f"{booked}.")
    elif payment.status == PaymentStatus.CREDITED:
        yield from taxed_otherwise(books, intent, session)
    if payment.customer_id and intent.customer != payment.customer_id:
        who = intent.customer or "A guest"
        yield Difference(
            BreakKind.CUSTOMER, intent.id, f"{who} paid.", f"{payment.customer_id} was to pay."
        )


def taxed_otherwise(
    books: Books, intent: PaymentIntent, session: CheckoutSession | None
) -> Iterator[Difference]:
    """Yield how the tax differs from that of the checkout, or else from what is left of the sum."""
    payment = books.payment
    tax = session.tax_minor if session else payment.charged_minor - paid_for(books)
    if payment.tax_minor != tax:
        yield Difference(
            BreakKind.TAX,
            intent.id,
            f"{money(tax, payment)} of tax.",
            f"{money(payment.tax_minor, payment)} of tax.",
        )


def given_again(books: Books) -> Iterator[Difference]:
    for grant in books.more:
        yield Difference(
            BreakKind.DOUBLE,
            str(grant.pk),
            f"{books.payment.intent_id} was paid once.",
            f"{grant.amount:,} credits were given for it besides, in grant {grant.pk}.",
        )


def given_otherwise(
    books: Books, intent: PaymentIntent, returned_minor: int
) -> Iterator[Difference]:
    """Yield how what was given for the money differs: grant, bonus, clawback, freezing, review."""
    payment = books.payment
    if payment.status == PaymentStatus.SUSPENDED:
        if not books.is_reviewed:
            paid = f"{money(intent.received_minor, intent)} came in."
            said = "It is held back, and no matter for review was ever opened."
            yield Difference(BreakKind.UNREVIEWED, intent.id, paid, said)
        return
    bought, given = bought_and_given(books, intent)
    if bought != given:
        kind = BreakKind.SLICES if payment.invoice_id else BreakKind.GRANT
        yield Difference(kind, intent.id, f"Paid for: {'; '.join(bought)}.", f"{'; '.join(given)}.")
        return
    yield from clawed_otherwise(books, intent, returned_minor)
    frozen = [g for g in books.lot + books.bonus if g.remaining and g.is_frozen]
    loose = [g for g in books.lot + books.bonus if g.remaining and not g.is_frozen]
    if wrong := loose if payment.is_disputed else frozen:
        state = "decided" if payment.is_disputed else "not decided any more"
        credits = sum(g.remaining for g in wrong)
        yield Difference(
            BreakKind.FROZEN,
            intent.id,
            f"A chargeback is {state}.",
            f"{credits:,} credits are {'not ' if payment.is_disputed else ''}frozen.",
        )


def bought_and_given(books: Books, intent: PaymentIntent) -> tuple[list[str], list[str]]:
    """Return what a credited payment bought, and what its grants are, in the same words."""
    if books.payment.invoice_id:
        return promised_and_given(books)
    payment, redemption = books.payment, books.payment.redemption
    same = payment.currency != intent.currency  # That is said already.
    bought = [
        f"{payment.credits:,} credits for {money(payment.net_minor, payment)}"
        f" in wallet {payment.wallet_id}"
    ]
    given = [
        f"{g.amount:,} credits for"
        f" {format_money(g.paid_minor, payment.currency if same else g.currency)}"
        f" in wallet {g.wallet_id}"
        for g in books.lot[:1]
    ]
    if redemption and redemption.credits:
        bought.append(f"a bonus of {redemption.credits:,}")
        given += [f"a bonus of {g.amount:,}" for g in books.bonus[:1]]
    return bought, given


def promised_and_given(books: Books) -> tuple[list[str], list[str]]:
    """Return the same of the months that an invoice paid for."""
    payment = books.payment
    bought = [f"{payment.credits:,} credits for {money(payment.net_minor, payment)}"]
    allotted = sum(month.paid_minor for month in books.months)
    open_minor = sum(books.promised.values())
    taken_minor = -books.promised.get(PromisedMove.RETURNED, 0)
    in_all = sum(month.credits for month in books.months)
    given = [
        f"{in_all:,} credits for {money(allotted + open_minor + taken_minor, payment)}"
        if books.months
        else f"{payment.credits:,} credits for {money(open_minor + taken_minor, payment)}"
    ]
    for month in books.months:
        if month.grant:
            name = f"month {month.number}"
            bought.append(in_wallet(name, month.credits, month.paid_minor, month, payment))
            grant = month.grant
            given.append(in_wallet(name, grant.amount, grant.paid_minor, grant, payment))
    return bought, given


def in_wallet(name: str, credits: int, minor: int, where: Slice | Grant, payment: Payment) -> str:
    return f"{name}: {credits:,} for {money(minor, payment)} in wallet {where.wallet_id}"


def clawed_otherwise(
    books: Books, intent: PaymentIntent, returned_minor: int
) -> Iterator[Difference]:
    """
    Yield how what was taken back follows neither from what went back nor from our counter of it.

    Where these two differ that is a break of its own.
    """
    payment, charged = books.payment, intent.received_minor
    voided = sum(month.voided for month in books.months)
    taken_minor = -books.promised.get(PromisedMove.RETURNED, 0)
    booked = [
        voided + sum(g.clawback_target for g in books.lot),
        taken_minor + sum(g.returned_minor for g in books.lot),
        *([sum(g.clawback_target for g in books.bonus)] if books.bonus else []),
    ]
    by_stripe = to_be_clawed(books, returned_minor, charged)
    if booked not in (by_stripe, to_be_clawed(books, payment.returned_minor, charged)):
        back = f"{money(returned_minor, payment)} of {money(charged, payment)} went back"
        yield Difference(
            BreakKind.CLAWBACK,
            intent.id,
            f"{back}: {in_words(by_stripe, payment)}.",
            f"{in_words(booked, payment)}.",
        )


def to_be_clawed(books: Books, returned_minor: int, charged_minor: int) -> list[int]:
    part = min(returned_minor, charged_minor), charged_minor
    wholes = [books.payment.credits, books.payment.net_minor]
    return [share(whole, *part) for whole in [*wholes, *(g.amount for g in books.bonus[:1])]]


def sent_back(found: AtStripe) -> int:
    """Return what of a payment went back, by Stripe's account."""
    refunded = sum(r.amount_minor for r in found.refunds if r.status not in NOT_SENT)
    return refunded + sum(d.amount_minor for d in found.disputes if d.status == "lost")


def in_words(clawed: Sequence[int], payment: Payment) -> str:
    credits, minor, *bonus = clawed
    more = f", {bonus[0]:,} of the bonus" if bonus else ""
    return f"{credits:,} credits and {money(minor, payment)} without tax{more}"


# --- Refunds and disputes -------------------------------------------------------------------------
def refunded_otherwise(books: Books, refunds: Sequence[Refund]) -> Iterator[Difference]:
    for refund in refunds:
        effect = Effect.REFUND_FAILED if refund.status in NOT_SENT else Effect.REFUNDED
        says = f"{money(refund.amount_minor, refund)}, {refund.status}."
        noted = noted_of(books, refund.id, REFUND_EFFECTS)
        if not noted:
            unknown = "Nothing is known of it."
            yield Difference(BreakKind.REFUND_MISSING, refund.id, says, unknown)
        elif (refund.id, effect) not in books.effects or stands_otherwise(books, refund):
            booked = ", ".join(sorted(Effect(name).label for name in noted))
            yield Difference(BreakKind.REFUND_STATE, refund.id, says, f"{booked}.")
        elif set(noted.values()) != {refund.amount_minor}:
            booked = " and ".join(money(each, books.payment) for each in sorted(noted.values()))
            yield Difference(BreakKind.REFUND_AMOUNT, refund.id, says, f"{booked}.")
    known = books.ids_of(REFUND_EFFECTS) | {a.refund_id for a in books.asked if a.refund_id}
    for id in sorted(known - {refund.id for refund in refunds}):
        amounts = sorted(set(noted_of(books, id, REFUND_EFFECTS).values()))
        booked = " and ".join(money(each, books.payment) for each in amounts) or "It was sent"
        yield Difference(
            BreakKind.REFUND_UNKNOWN, id, "There is no such refund.", f"{booked}, refunded."
        )


def noted_of(books: Books, id: str, kinds: Iterable[str]) -> dict[str, int]:
    """Return the amount of each thing of these kinds that an object did."""
    wanted = set(kinds)
    return {
        effect: amount
        for (object_id, effect), amount in books.effects.items()
        if object_id == id and effect in wanted
    }


def stands_otherwise(books: Books, refund: Refund) -> bool:
    """Return whether a refund that staff asked for is said to have ended otherwise."""
    has_failed = refund.status in NOT_SENT
    return any(
        (asked.status == RefundStatus.FAILED) != has_failed
        for asked in books.asked
        if asked.refund_id == refund.id
    )


def disputed_otherwise(books: Books, disputes: Sequence[Dispute]) -> Iterator[Difference]:
    for dispute in disputes:
        effect = DISPUTE_EFFECTS.get(dispute.status)
        if effect is None:
            continue
        says = f"{money(dispute.amount_minor, dispute)}, {dispute.status.replace('_', ' ')}."
        noted = noted_of(books, dispute.id, DISPUTE_EFFECTS.values())
        if not noted:
            unknown = "Nothing is known of it."
            yield Difference(BreakKind.DISPUTE_MISSING, dispute.id, says, unknown)
        elif effect not in noted:
            booked = ", ".join(sorted(Effect(name).label for name in noted))
            yield Difference(BreakKind.DISPUTE_STATE, dispute.id, says, f"{booked}.")
        elif noted[effect] != dispute.amount_minor:
            booked = money(noted[effect], books.payment)
            yield Difference(BreakKind.DISPUTE_AMOUNT, dispute.id, says, f"{booked}.")
    known = books.ids_of(DISPUTE_EFFECTS.values())
    for id in sorted(known - {dispute.id for dispute in disputes}):
        yield Difference(
            BreakKind.DISPUTE_UNKNOWN, id, "There is no such dispute.", "It is noted here."
        )


def counted_otherwise(payment: Payment, found: AtStripe) -> Iterator[Difference]:
    """Yield how the counters differ from refunds and disputes that are all known here."""
    refunded = sum(r.amount_minor for r in found.refunds if r.status not in NOT_SENT)
    lost = sum(d.amount_minor for d in found.disputes if d.status == "lost")
    is_disputed = any(d.status in DECIDING for d in found.disputes)
    returned = min(refunded + lost, payment.charged_minor)
    expected = refunded, lost, returned, is_disputed
    booked = (
        payment.refunded_minor,
        payment.charged_back_minor,
        payment.returned_minor,
        payment.is_disputed,
    )
    if expected != booked:
        yield Difference(
            BreakKind.RETURNED,
            payment.intent_id or "",
            counters(expected, payment),
            counters(booked, payment),
        )


def counters(figures: tuple[int, int, int, bool], payment: Payment) -> str:
    refunded, lost, returned, is_disputed = figures
    return (
        f"{money(refunded, payment)} refunded, {money(lost, payment)} charged back,"
        f" {money(returned, payment)} in all"
        f"{'; a chargeback is being decided' if is_disputed else ''}."
    )


def asked_otherwise(books: Books, at: datetime) -> Iterator[Difference]:
    """Yield the refunds that staff asked for long ago and Stripe has not got."""
    for asked in books.asked:
        if asked.status == RefundStatus.WAITING and asked.asked_at < at - LATE_REFUND:
            yield Difference(
                BreakKind.REFUND_LATE,
                f"refund:{asked.pk}",
                "It is not there.",
                f"{money(asked.amount_minor, books.payment)}, asked for"
                f" {asked.asked_at:%Y-%m-%d %H:%M} UTC, {asked.tries} tries.",
            )

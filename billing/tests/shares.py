"""Revenue share as plain Python over raw rows of the books, and months locked for tests of it."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

from accounts.models import User
from accounts.services.users import change_agent
from accounts.tests.factories import StaffFactory
from billing.models import ErasedReferral, ShareLine, ShareMonth, ShareStatement, ShareTerm
from billing.services import shares
from billing.services.share_payouts import pay_share
from billing.services.share_statements import make_due_statements
from ledger.models import CreditTransaction, Entry, Feature, FeaturePrice, Wallet
from ledger.money_rule import recognised_minor
from ledger.queries.usage_revenue import first_of_next
from ledger.queries.wallets import wallet_of
from ledger.services import figures, posting
from ledger.services.charges import charge_for
from ledger.services.posting import Posting
from ledger.tests.books import START, buy, header, spend
from ledger.tests.factories import CustomerFactory, priced_feature, quantities
from ledger.tests.figures import RawBooks, in_force
from ledger.tests.test_figures import roll_to

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
IN_JANUARY, IN_FEBRUARY, IN_MARCH = (datetime(2026, m, 10, tzinfo=UTC) for m in (1, 2, 3))
AFTER = datetime(2026, 6, 3, tzinfo=UTC)
# payee, kind, currency, user, feature code, percent
Key = tuple[int, str, str, int | None, str | None, Decimal]


def lock_months(at: datetime) -> list[date]:
    """Add up all that was recorded, and lock the months that are over at ``at``."""
    if CreditTransaction.objects.exists():
        roll_to()
    return figures.lock_months(at=at)


def make_months(at: datetime) -> list[ShareMonth]:
    lock_months(at)
    return make_due_statements(at=at)


def told(month: date) -> dict[Key, int]:
    """Return the basis of each line of a month's statements."""
    lines = ShareLine.objects.filter(statement__month=month).select_related("statement", "feature")
    return {
        (
            line.statement.payee_id,
            line.statement.kind,
            line.statement.currency,
            line.user_id,
            line.feature.code if line.feature else None,
            line.percent,
        ): line.basis_minor
        for line in lines
    }


class NaiveShares(RawBooks):
    """What every use was worth at the end of a day, by reading everything."""

    def basis(self, month: date) -> tuple[dict[Key, int], dict[str, int], dict[str, int]]:
        """Return what a month adds: shares, revenue by use, and of that by repaid debts."""
        before, after = month - timedelta(days=1), first_of_next(month) - timedelta(days=1)
        shares: dict[Key, int] = defaultdict(int)
        used: dict[str, int] = defaultdict(int)
        repaid: dict[str, int] = defaultdict(int)
        for sign, last in ((-1, before), (1, after)):
            for entry, minor in self.worth(last):
                currency = self.grants[entry.grant_id].currency
                used[currency] += sign * minor
                if self.transactions[entry.transaction_id].kind != "usage":
                    repaid[currency] += sign * minor
                    continue
                for key, part in self.shares_of(entry, minor):
                    shares[key] += sign * part
        return {key: minor for key, minor in shares.items() if minor}, used, repaid

    def worth(self, last: date) -> Iterator[tuple[Entry, int]]:
        """Yield each use and debt repaid with its revenue at the end of ``last``."""
        given_back: dict[Any, int] = defaultdict(int)
        for back in self.restorations:
            if self.days[back.transaction_id] <= last:
                given_back[back.original_id, back.position] += back.amount
        money: dict[Any, list[int]] = {}
        born: dict[Any, date] = {}
        for day, _, grant, _ in self.moves():
            born.setdefault(grant.pk, day)
            money.setdefault(grant.pk, [grant.paid_minor, 0, grant.amount])
        for grant in self.grants.values():
            if grant.carried_from_id and born[grant.pk] <= last:
                money[grant.carried_from_id][0] -= grant.paid_minor
                money[grant.carried_from_id][2] -= grant.amount
        for each in self.returns:
            if self.days[each.transaction_id] <= last:
                money[each.grant_id][1] += each.amount_minor
        upto: dict[Any, int] = defaultdict(int)
        for entry in self.entries:
            tx, grant = self.transactions[entry.transaction_id], self.grants[entry.grant_id]
            is_use = tx.kind in ("usage", "debt_repayment") and entry.amount < 0
            if not is_use or self.days[tx.pk] > last or not grant.paid_minor:
                continue
            paid, returned, amount = money[grant.pk]
            rule = {"paid_minor": paid, "returned_minor": returned, "amount": amount}
            was = recognised_minor(**rule, consumed=upto[grant.pk])
            upto[grant.pk] += -entry.amount - given_back[tx.pk, entry.position]
            yield entry, recognised_minor(**rule, consumed=upto[grant.pk]) - was

    def shares_of(self, entry: Entry, minor: int) -> Iterator[tuple[Key, int]]:
        tx = self.transactions[entry.transaction_id]
        at, currency = tx.recorded_at, self.grants[entry.grant_id].currency
        settings = in_force(at)
        payer = Wallet.objects.get(pk=tx.wallet_id).user_id
        own = {payer, tx.actor_id}
        kept = ErasedReferral.objects.filter(user=payer or 0).first()
        agent = kept.referrer_id if kept else payer and User.objects.get(pk=payer).referrer_id
        percent = settings.agent_revenue_share
        if percent and agent and agent not in own and self.term(at, payee=agent, feature=None):
            yield (agent, "agent", currency, payer, None, percent), minor
        percent = settings.partner_revenue_share
        for code, part in self.parts_of(tx, minor) if percent else ():
            term = self.term(at, feature__code=code)
            if term and term.payee_id not in own:
                yield (term.payee_id, "partner", currency, None, code, percent), part

    def term(self, at: datetime, **whose: Any) -> ShareTerm | None:
        terms = [t for t in ShareTerm.objects.filter(**whose) if t.since <= at]
        return next((t for t in terms if t.until is None or at < t.until), None)

    def parts_of(self, tx: Any, minor: int) -> Iterator[tuple[str, int]]:
        codes = tx.feature.split("+")
        if len(codes) == 1:
            yield tx.feature, minor
            return
        costs = []
        for price_id, quantity in zip(tx.price_ids, tx.quantities, strict=True):
            price = FeaturePrice.objects.get(pk=price_id)
            units = 1 if price.is_flat else Fraction(quantity) / price.per
            costs.append(Fraction(price.unit_price) * units)
        upto = Fraction(0)
        for code, cost in zip(codes, costs, strict=True):
            was = floor(minor * upto / sum(costs))
            upto += cost
            yield code, floor(minor * upto / sum(costs)) - was


def statement_of(payee: User, month: date | None = None, **more: Any) -> ShareStatement:
    found = ShareStatement.objects.filter(payee=payee, **more)
    return found.get(month=month) if month else found.get()


def agent(at: datetime = START) -> User:
    user = CustomerFactory()
    change_agent(user=user, is_agent=True, actor=StaffFactory(), reason="they asked for it", at=at)
    return user


def partner(**more: Any) -> User:
    return CustomerFactory(is_partner=True, **more)


def owned_feature(owner: User, code: str = "report", **price: Any) -> Feature:
    feature = priced_feature(code, 1, **price)
    shares.assign_feature(feature=feature, partner=owner, reason="theirs", actor=None, at=START)
    return feature


def wallet_of_referred(referrer: User) -> int:
    return wallet_of(CustomerFactory(referrer=referrer)).pk


def use(
    wallet: int,
    amount: int,
    at: datetime,
    *,
    feature: str = "",
    actor: User | None = None,
    **units: object,
) -> Posting:
    """Spend so much, or on so many units of features, as ``actor``."""
    more: dict[str, Any] = {"feature": feature}
    if units:
        charge = charge_for(quantities(**units), at=at)
        amount = charge.amount
        more = {
            "feature": charge.feature,
            "price_ids": charge.price_ids,
            "quantities": charge.quantities,
        }
    asked = header("usage", at, actor_id=actor and actor.pk, **more)
    return posting.draw(payers=[wallet], amount=amount, header=asked)


def pay(statement: ShareStatement, at: datetime = AFTER, **more: Any) -> Any:
    given = {"reference": "TR-1", "paid_on": at.date(), "reason": "the month is over"}
    given |= {"actor": None, "caller": "test", "idempotency_key": f"pay {statement.pk}"}
    return pay_share(statement=statement, at=at, **given | more)


def earned_in_january(earned_minor: int = 80, referrer: User | None = None) -> ShareStatement:
    """Return the statement of an agent at 10 %, who earned so much."""
    referrer = referrer or agent()
    wallet = wallet_of_referred(referrer)
    buy(wallet, 100, earned_minor * 10)
    spend(wallet, 100, IN_JANUARY)
    make_months(AFTER)
    return statement_of(referrer, JANUARY)

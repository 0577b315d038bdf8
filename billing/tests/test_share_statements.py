"""What agents and partners earn, against plain Python over the rows of the books."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from time import perf_counter
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import User
from accounts.services.erasure import erase_user
from accounts.services.users import change_agent
from accounts.tests.factories import StaffFactory, UserFactory
from billing import tasks
from billing.errors import FiguresDiffer, MonthNotOver
from billing.models import ShareMonth, SharePayout, ShareStatement, ShareTerm
from billing.services import share_statements, shares
from billing.services.share_payouts import why_not
from billing.services.share_statements import make_due_statements, make_statements
from billing.tests.shares import (
    AFTER,
    FEBRUARY,
    IN_FEBRUARY,
    IN_JANUARY,
    IN_MARCH,
    JANUARY,
    MARCH,
    NaiveShares,
    agent,
    lock_months,
    make_months,
    owned_feature,
    partner,
    pay,
    statement_of,
    told,
    use,
    wallet_of_referred,
)
from creditsite.testing import race
from ledger.choices import CreditType, GrantSource
from ledger.models import Feature, Wallet
from ledger.queries.figures import money_moved
from ledger.queries.usage_revenue import first_of_next
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.charges import charge_for
from ledger.services.posting import DrawRequest
from ledger.tests import test_state_machine
from ledger.tests.books import (
    DAY,
    MICROSECOND,
    START,
    award,
    buy,
    claw_back,
    grant_of,
    header,
    new_wallet,
    reinstate,
    reverse,
    spend,
)
from ledger.tests.factories import (
    CustomerFactory,
    priced_feature,
    quantities,
    set_credit_settings,
)
from ledger.tests.test_figures import History
from ledger.tests.test_state_machine import LedgerMachine

HISTORIES = int(os.environ.get("SHARE_HISTORIES", 3))
STEPS = 200
# What must have happened in some history, so that it was really compared.
EVERYTHING = {
    *("agent", "partner", "above zero", "below zero", "two features", "a payer", "repaid"),
    *("paid out", "carried forward", "of an earlier month"),
}

pytestmark = pytest.mark.django_db


def figures(month: date, currency: str = "usd") -> dict[str, int]:
    return ShareMonth.objects.get(month=month).figures[currency]


@pytest.fixture(autouse=True)
def ten_and_twenty_percent(db):
    set_credit_settings(
        agent_revenue_share=Decimal(10), partner_revenue_share=Decimal(20), changed_at=START - DAY
    )


class TestAnAgentEarns:
    def test_of_what_users_they_referred_spend_of_purchased_credits(self):
        referrer = agent()
        wallet, stranger = wallet_of_referred(referrer), new_wallet()
        for each in (wallet, stranger):
            buy(each, 100, 1_000)
            spend(each, 80, IN_JANUARY)
        made = make_months(AFTER)
        assert [each.month for each in made][:1] == [JANUARY]
        statement = statement_of(referrer)
        assert (statement.opening_minor, statement.earned_minor) == (0, 80)
        (line,) = statement.lines.all()
        assert (line.user_id, line.basis_minor, line.percent) == (
            Wallet.objects.get(pk=wallet).user_id,
            800,
            Decimal(10),
        )
        assert figures(JANUARY) == {
            "used": 1_600,
            "repaid": 0,
            "agents": 800,
            "agents_earned": 80,
            "partners": 0,
            "partners_earned": 0,
        }

    def test_nothing_of_awards_unfunded_credits_and_breakage(self):
        wallet = wallet_of_referred(agent())
        award(wallet, 50)
        buy(wallet, 30, 0)
        buy(wallet, 100, 1_000, expires_at=IN_JANUARY + DAY)
        spend(wallet, 90, IN_JANUARY)  # What expires first: 90 of the paid ones.
        posting.expire(at=IN_JANUARY + 2 * DAY, limit=10)
        spend(wallet, 80, IN_JANUARY + 3 * DAY)
        make_months(AFTER)
        assert [*told(JANUARY).values()] == [900]

    def test_nothing_of_what_they_spend_themselves_from_the_pool_of_who_they_referred(self):
        referrer = agent()
        wallet = wallet_of_referred(referrer)
        buy(wallet, 100, 1_000)
        spend(wallet, 10, IN_JANUARY)
        use(wallet, 20, IN_JANUARY, actor=referrer)
        make_months(AFTER)
        assert [*told(JANUARY).values()] == [100]

    def test_by_the_percentage_in_force_when_it_was_spent(self):
        referrer = agent()
        wallet = wallet_of_referred(referrer)
        buy(wallet, 100, 1_000)
        first = spend(wallet, 30, IN_JANUARY)
        set_credit_settings(agent_revenue_share=Decimal("12.5"), changed_at=IN_JANUARY + DAY)
        spend(wallet, 30, IN_JANUARY + 2 * DAY)
        set_credit_settings(agent_revenue_share=Decimal(0), changed_at=IN_FEBRUARY)
        spend(wallet, 40, IN_FEBRUARY)
        reverse(first, at=IN_MARCH)
        make_months(AFTER)
        by_percent = {key[-1]: basis for key, basis in told(JANUARY).items()}
        assert by_percent == {Decimal(10): 300, Decimal("12.5"): 300}
        assert statement_of(referrer, JANUARY).earned_minor == 30 + 38  # 67.5, rounded once
        assert told(FEBRUARY) == {}
        assert {key[-1]: basis for key, basis in told(MARCH).items()} == {Decimal(10): -300}

    def test_of_what_was_spent_while_they_were_an_agent(self):
        referrer, staff = agent(at=IN_JANUARY), StaffFactory()
        wallet = wallet_of_referred(referrer)
        buy(wallet, 100, 1_000)
        spend(wallet, 10, IN_JANUARY - MICROSECOND)
        spend(wallet, 20, IN_JANUARY)
        args = {"user": referrer, "actor": staff, "reason": "as agreed with them"}
        change_agent(**args, is_agent=False, at=IN_JANUARY + DAY)
        spend(wallet, 30, IN_JANUARY + DAY)
        change_agent(**args, is_agent=True, at=IN_JANUARY + 2 * DAY)
        spend(wallet, 40, IN_JANUARY + 2 * DAY)
        make_months(AFTER)
        assert [*told(JANUARY).values()] == [200 + 400]

    def test_in_each_currency_by_itself(self):
        referrer = agent()
        wallet = wallet_of_referred(referrer)
        buy(wallet, 10, 1_000)
        posting.post_grant(
            wallet=wallet,
            amount=10,
            credit_type=CreditType.PURCHASE,
            source=GrantSource.PACKAGE,
            paid_minor=500,
            currency="jpy",
            header=header("purchase"),
        )
        spend(wallet, 20, IN_JANUARY)
        make_months(AFTER)
        earned = ShareStatement.objects.values_list("currency", "earned_minor")
        assert {*earned} == {("usd", 100), ("jpy", 50)}

    def test_is_rounded_once_for_a_statement(self):
        referrer = agent()
        for _ in range(7):
            wallet = wallet_of_referred(referrer)
            buy(wallet, 1, 3)
            spend(wallet, 1, IN_JANUARY)
        make_months(AFTER)
        statement = statement_of(referrer)
        assert statement.earned_minor == 2  # 10 % of 21
        assert sorted(statement.lines.values_list("earned_minor", flat=True)) == [0] * 5 + [1] * 2


class TestAPartnerEarns:
    def test_of_what_others_spend_on_their_features(self):
        owner = partner()
        owned_feature(owner)
        priced_feature("other", 1)
        wallet = new_wallet()
        buy(wallet, 100, 1_000)
        use(wallet, 30, IN_JANUARY, feature="report")
        use(wallet, 30, IN_JANUARY, feature="other")
        use(wallet, 30, IN_JANUARY)
        make_months(AFTER)
        statement = statement_of(owner)
        (line,) = statement.lines.all()
        assert (line.feature.code, line.basis_minor, line.earned_minor) == ("report", 300, 60)
        assert figures(JANUARY)["partners"] == 300

    def test_nothing_of_what_they_spend_themselves(self):
        owner = partner()
        owned_feature(owner)
        own, pool = wallet_of(owner).pk, new_wallet()
        for wallet in (own, pool):
            buy(wallet, 100, 1_000)
        use(own, 30, IN_JANUARY, feature="report", actor=CustomerFactory())
        use(pool, 30, IN_JANUARY, feature="report", actor=owner)
        make_months(AFTER)
        assert told(JANUARY) == {}

    def test_of_a_charge_of_several_features_by_what_each_cost(self):
        owner, other = partner(), partner()
        owned_feature(owner)
        owned_feature(other, "thirds", per=3)
        wallet = new_wallet()
        buy(wallet, 100, 999)
        posted = use(wallet, 0, IN_JANUARY, report=5, thirds=10)
        assert posted.amount == -9  # 5 + 10/3, rounded up: 89 of 999
        make_months(AFTER)
        assert {key[0]: basis for key, basis in told(JANUARY).items()} == {
            owner.pk: 53,
            other.pk: 36,
        }

    def test_of_what_was_spent_while_the_feature_was_theirs(self):
        first, second = partner(), partner()
        feature = owned_feature(first)
        wallet = new_wallet()
        buy(wallet, 100, 1_000)
        spent = use(wallet, 10, IN_JANUARY, feature="report")
        hand_over = {"feature": feature, "reason": "sold on", "actor": None}
        shares.assign_feature(partner=second, at=IN_JANUARY + DAY, **hand_over)
        use(wallet, 20, IN_JANUARY + DAY, feature="report")
        term = ShareTerm.objects.get(payee=second)
        shares.end_ownership(term=term, reason="closed", actor=None, at=IN_JANUARY + 2 * DAY)
        use(wallet, 40, IN_JANUARY + 2 * DAY, feature="report")
        reverse(spent, at=IN_FEBRUARY)
        make_months(AFTER)
        basis = {
            (key[0], month): n for month in (JANUARY, FEBRUARY) for key, n in told(month).items()
        }
        assert basis == {
            (first.pk, JANUARY): 100,
            (second.pk, JANUARY): 200,
            (first.pk, FEBRUARY): -100,
        }


class TestWhatGoesBack:
    def test_is_taken_off_in_its_own_month_and_carried_forward_after_a_payout(self):
        referrer = agent()
        wallet = wallet_of_referred(referrer)
        bought = buy(wallet, 100, 1_000)
        spend(wallet, 80, IN_JANUARY)
        make_months(datetime(2026, 2, 3, tzinfo=UTC))
        pay(statement_of(referrer), at=IN_FEBRUARY)
        claw_back(grant_of(bought), 50, 500, at=IN_FEBRUARY)
        make_months(datetime(2026, 3, 3, tzinfo=UTC))
        february = statement_of(referrer, FEBRUARY)
        assert (february.opening_minor, february.earned_minor) == (0, -30)
        assert why_not(february) == "There is nothing to pay out."
        buy(wallet, 100, 1_000, at=IN_MARCH)  # Repays 30 of debt: nobody's share.
        spend(wallet, 70, IN_MARCH)
        make_months(datetime(2026, 4, 3, tzinfo=UTC))
        march = statement_of(referrer, MARCH)
        assert (march.previous, march.opening_minor, march.total_minor) == (february, -30, 40)
        assert (figures(MARCH)["repaid"], figures(MARCH)["used"]) == (300, 1_000)

    def test_comes_back_when_a_chargeback_is_won_after_all(self):
        referrer = agent()
        wallet = wallet_of_referred(referrer)
        bought = buy(wallet, 100, 1_000)
        spend(wallet, 100, IN_JANUARY)
        claw_back(grant_of(bought), 100, 1_000, at=IN_FEBRUARY)
        reinstate(grant_of(bought), 0, 0, at=IN_MARCH)
        make_months(AFTER)
        assert [[*told(month).values()] for month in (JANUARY, FEBRUARY, MARCH)] == [
            [1_000],
            [-1_000],
            [1_000],
        ]

    def test_is_the_money_of_what_was_used_last(self):
        first, last = partner(), partner()
        owned_feature(first)
        owned_feature(last, "other")
        wallet = new_wallet()
        bought = buy(wallet, 100, 1_000)
        use(wallet, 60, IN_JANUARY, feature="report")
        use(wallet, 40, IN_JANUARY, feature="other")
        claw_back(grant_of(bought), 50, 500, at=IN_FEBRUARY)
        make_months(AFTER)
        assert {key[0]: basis for key, basis in told(FEBRUARY).items()} == {
            first.pk: -100,
            last.pk: -400,
        }

    def test_is_taken_from_who_earned_it_when_the_user_was_erased(self):
        referrer = agent()
        wallet = wallet_of_referred(referrer)
        bought = buy(wallet, 100, 1_000)
        spend(wallet, 100, IN_JANUARY)
        user = Wallet.objects.get(pk=wallet).user
        erase_user(user=user, reason="they asked", actor=None, at=IN_JANUARY + DAY)
        claw_back(grant_of(bought), 100, 1_000, at=IN_FEBRUARY)
        make_months(AFTER)
        user.refresh_from_db()
        assert user.referrer is None
        assert [*told(JANUARY).values(), *told(FEBRUARY).values()] == [1_000, -1_000]


class TestMakeStatements:
    def test_makes_each_locked_month_once_in_order(self):
        wallet = wallet_of_referred(agent())
        buy(wallet, 100, 1_000)
        spend(wallet, 10, IN_JANUARY)
        spend(wallet, 10, IN_MARCH)
        lock_months(AFTER)
        months = [made.month for made in make_due_statements(at=AFTER, until=MARCH)]
        assert months == [JANUARY, FEBRUARY, MARCH]
        assert make_due_statements(at=AFTER, until=MARCH) == []
        assert make_statements(MARCH, at=AFTER) is None
        assert ShareStatement.objects.count() == 2
        january, march = ShareStatement.objects.order_by("month")
        assert (march.previous, march.opening_minor) == (january, january.total_minor)

    def test_waits_until_the_month_is_locked(self):
        wallet = wallet_of_referred(agent())
        buy(wallet, 100, 1_000)
        spend(wallet, 10, IN_JANUARY)
        assert make_months(datetime(2026, 2, 1, 12, tzinfo=UTC)) == []
        with pytest.raises(MonthNotOver):
            make_due_statements(at=AFTER, until=JANUARY)

    def test_makes_none_when_the_report_says_something_else(self, monkeypatch):
        wallet = wallet_of_referred(agent())
        buy(wallet, 100, 1_000)
        spend(wallet, 10, IN_JANUARY)
        lock_months(AFTER)

        def report(*args: Any, **more: Any) -> list[dict[str, Any]]:
            return [row | {"used": row["used"] + 1} for row in money_moved(*args, **more)]

        monkeypatch.setattr(share_statements, "money_moved", report)
        with pytest.raises(FiguresDiffer, match="is 100, the report says 101"):
            make_due_statements(at=AFTER)
        assert not ShareMonth.objects.exists()
        assert not ShareStatement.objects.exists()

    def test_tells_who_earned(self):
        referrer = agent()
        wallet = wallet_of_referred(referrer)
        buy(wallet, 100, 1_000)
        spend(wallet, 80, IN_JANUARY)
        make_months(AFTER)
        (letter,) = mail.outbox
        assert letter.to == [referrer.email]
        assert letter.subject == "What you earned in 2026-01"
        assert "0.80 USD" in letter.body
        assert Wallet.objects.get(pk=wallet).user.email not in letter.body

    def test_the_command_says_what_it_made(self, capsys):
        wallet = wallet_of_referred(agent())
        buy(wallet, 100, 1_000)
        spend(wallet, 80, IN_JANUARY)
        lock_months(AFTER)
        call_command("make_statements", "--month", "2026-01")
        assert "agents earn 0.80 USD of 8.00 USD" in capsys.readouterr().out
        with pytest.raises(CommandError, match="not final"):
            call_command("make_statements", "--month", "2030-01")
        with pytest.raises(CommandError, match="no month"):
            call_command("make_statements", "--month", "2030-13")

    def test_the_task_makes_what_is_due(self):
        wallet = wallet_of_referred(agent())
        buy(wallet, 100, 1_000)
        spend(wallet, 80, IN_JANUARY)
        lock_months(AFTER)
        tasks.make_share_statements()
        assert ShareStatement.objects.count() == 1


class ShareHistory(History):
    """What the state machine does, by people, on features, while who earns what changes."""

    def __init__(self, random: Random, people: dict[str, User]) -> None:
        super().__init__(random)
        self.people = people

    def ask(self, name: str, kind: str, model: Any, engine: Any, request: Any, **more: Any) -> None:
        actor = self.random.choice([None, *self.people.values()])
        charge: dict[str, Any] = {"feature": self.random.choice(["report", "other", ""])}
        if name in ("draw refuse", "place hold") and self.random.random() < 0.5:
            charge = self.charge_of_two(request[1])
        if kind == "usage":
            plain = engine
            engine = lambda header: plain(  # noqa: E731
                header._replace(actor_id=actor and actor.pk, **charge)
            )
        LedgerMachine.ask(self, name, kind, model, engine, request, **more)

    def charge_of_two(self, amount: int) -> dict[str, Any]:
        """Return how two features at 2 and at a third of a credit come to ``amount``."""
        reports = self.random.randint(0, (amount - 1) // 2)
        others = 3 * (amount - 2 * reports) - self.random.choice(
            [Decimal(0), Decimal("0.25"), Decimal(2)]
        )
        charge = charge_for(quantities(report=reports, other=others), at=self.at)
        assert charge.amount == amount
        return {
            "feature": charge.feature,
            "price_ids": charge.price_ids,
            "quantities": charge.quantities,
        }

    def change_terms(self) -> None:
        self.at += MICROSECOND
        random = self.random
        set_credit_settings(
            changed_at=self.at,
            agent_revenue_share=Decimal(random.choice(["0", "10", "12.5", "33.33"])),
            partner_revenue_share=Decimal(random.choice(["0", "20", "7.77"])),
            time_zone=random.choice(["UTC", "America/New_York", "Pacific/Auckland"]),
        )
        referrer = User.objects.get(pk=self.people["agent"].pk)
        referrer.is_agent = random.random() < 0.8
        referrer.save()
        shares.follow_agent(user=referrer, at=self.at, actor=None)
        feature = Feature.objects.get(code=random.choice(["report", "other"]))
        current = shares.owner_term(feature)
        owner = self.people[random.choice(["partner", "payer"])]
        if current is None or current.payee_id != owner.pk:
            shares.assign_feature(
                feature=feature, partner=owner, reason="traded", actor=None, at=self.at
            )
        else:
            shares.end_ownership(term=current, reason="left", actor=None, at=self.at)


@pytest.fixture
def histories(monkeypatch) -> Iterator[ShareHistory]:
    monkeypatch.setattr(test_state_machine, "SECONDS", [1, 7_200, 86_400, 5 * 86_400, 12 * 86_400])
    # Three in four of what happens is about money.
    weights = test_state_machine.WEIGHTS | {"claw_back": 20, "restore": 20, "draw": 30}
    monkeypatch.setattr(test_state_machine, "WEIGHTS", weights)
    post_grant = posting.post_grant
    priced_feature("report", 2)
    priced_feature("other", 1, per=3)

    def machines() -> Iterator[ShareHistory]:
        for number in range(HISTORIES):
            random = Random(f"shares {number}")
            referrer = UserFactory(role=None, is_agent=True, date_joined=START - DAY)
            people = {
                "agent": referrer,
                "partner": partner(),
                "payer": partner(referrer=referrer),
            }
            payers = [people["payer"], CustomerFactory(referrer=referrer), CustomerFactory()]
            monkeypatch.setattr(
                test_state_machine,
                "new_wallets",
                lambda number, payers=payers: [wallet_of(user).pk for user in payers],
            )

            def post_in_some_currency(random: Random = random, **asked: Any) -> Any:
                if asked["paid_minor"]:
                    asked["currency"] = random.choice(["usd", "eur"])
                return post_grant(**asked)

            monkeypatch.setattr(posting, "post_grant", post_in_some_currency)
            machine = ShareHistory(random, people)
            yield machine
            machine.teardown()

    return machines()


class TestRandomHistories:
    """Months of everything that can happen, each made when it is over, and some paid out."""

    def test_earn_what_plain_python_says(self, histories: Iterator[ShareHistory]) -> None:
        happened: Counter[str] = Counter()
        for history in histories:
            history.change_terms()
            for step in range(STEPS):
                history.step(history.random.randbytes(6))
                if history.random.random() < 0.06:
                    history.change_terms()
                if step % 20 == 19:
                    self.make(history, happened)
            history.at += timedelta(days=70)
            self.make(history, happened)
        assert {what for what, times in happened.items() if times} >= EVERYTHING

    def make(self, history: ShareHistory, happened: Counter[str]) -> None:
        made = make_months(history.at)
        books = NaiveShares() if made else None
        for each in made:
            assert books
            expected, used, repaid = books.basis(each.month)
            assert told(each.month) == expected
            self.check_figures(each, expected, used, repaid)
            for statement in ShareStatement.objects.filter(month=each.month):
                self.check(statement)
                happened[statement.kind] += 1
                happened["above zero" if statement.earned_minor > 0 else "below zero"] += 1
                happened["carried forward"] += statement.opening_minor != 0
            happened["repaid"] += any(repaid.values())
            happened["of an earlier month"] += any(basis < 0 for basis in expected.values())
            happened["a payer"] += any(key[0] == history.people["payer"].pk for key in expected)
        for tx in books.transactions.values() if books else ():
            happened["two features"] += "+" in tx.feature
        for statement in ShareStatement.objects.filter(payout=None, next=None):
            if statement.total_minor > 0 and history.random.random() < 0.5:
                pay(statement, at=history.at, paid_on=history.at.date() - 2 * DAY)
                happened["paid out"] += 1

    def check_figures(self, made: ShareMonth, expected: Any, used: Any, repaid: Any) -> None:
        parts = {"agent": defaultdict(int), "partner": defaultdict(int)}
        for (_, kind, currency, *_), basis in expected.items():
            parts[kind][currency] += basis
        for currency, line in made.figures.items():
            assert (line["used"], line["repaid"]) == (used[currency], repaid[currency])
            assert line["agents"] == parts["agent"][currency]
            assert line["partners"] == parts["partner"][currency]
        last = first_of_next(made.month) - DAY
        reported = money_moved("currency", first=made.month, last=last)
        assert {row["currency"]: row["used"] for row in reported if row["used"]} == {
            currency: minor for currency, minor in used.items() if minor
        }

    def check(self, statement: ShareStatement) -> None:
        lines = list(statement.lines.all())
        exact = sum(line.basis_minor * line.percent / 100 for line in lines)
        assert statement.earned_minor == Decimal(exact).quantize(Decimal(1), ROUND_HALF_UP)
        assert statement.earned_minor == sum(line.earned_minor for line in lines)
        assert all(
            abs(line.earned_minor - line.basis_minor * line.percent / 100) < 1 for line in lines
        )
        earlier = ShareStatement.objects.filter(
            payee=statement.payee,
            kind=statement.kind,
            currency=statement.currency,
            month__lt=statement.month,
        )
        earned = sum(each.earned_minor for each in earlier)
        paid = sum(
            payout.amount_minor for payout in SharePayout.objects.filter(statement__in=earlier)
        )
        assert statement.opening_minor == earned - paid


class TestTwoAtOnce:
    def test_make_a_month_once(self, ledger_db):
        set_credit_settings(agent_revenue_share=Decimal(10), changed_at=START - DAY)
        wallet = wallet_of_referred(agent())
        buy(wallet, 100, 1_000)
        spend(wallet, 80, IN_JANUARY)
        lock_months(AFTER)
        outcomes = race(*[lambda: make_statements(JANUARY, at=AFTER)] * 4)
        assert sorted(outcomes) == ["NoneType"] * 3 + ["ShareMonth"]
        assert ShareStatement.objects.count() == 1

    def test_pay_out_or_carry_forward(self, ledger_db):
        set_credit_settings(agent_revenue_share=Decimal(10), changed_at=START - DAY)
        for _ in range(5):
            wallet = wallet_of_referred(agent())
            buy(wallet, 100, 1_000)
            spend(wallet, 10, IN_JANUARY)
            spend(wallet, 10, IN_FEBRUARY)
        lock_months(AFTER)
        make_statements(JANUARY, at=AFTER)
        first = list(ShareStatement.objects.order_by("pk"))
        race(
            lambda: make_statements(FEBRUARY, at=AFTER),
            *[lambda each=each: pay(each) for each in first],
        )
        for statement in first:
            later = ShareStatement.objects.get(previous=statement)
            paid = SharePayout.objects.filter(statement=statement).count()
            assert later.opening_minor == (0 if paid else statement.total_minor)


@pytest.mark.skipif(
    "SHARE_ENTRIES" not in os.environ, reason="long: SHARE_ENTRIES=300000, see docs/proofs.md"
)
class TestMany:
    def test_uses_of_a_month_are_added_up_by_the_database(self, capsys, ledger_db):
        number = int(os.environ["SHARE_ENTRIES"])
        set_credit_settings(
            agent_revenue_share=Decimal(10),
            partner_revenue_share=Decimal(20),
            changed_at=START - DAY,
        )
        referrer, owner = agent(), partner()
        owned_feature(owner)
        wallets = [wallet_of_referred(referrer) for _ in range(1_000)]
        for wallet in wallets:
            buy(wallet, number, number * 7)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        for _ in range(number // 1_000):
            posting.draw_many(
                requests=[
                    DrawRequest(
                        wallet_id=wallet,
                        amount=1 + place % 3,
                        key=uuid4(),
                        fingerprint=uuid4(),
                        feature="report",
                    )
                    for place, wallet in enumerate(wallets)
                ],
                header=header("usage", IN_JANUARY),
            )
        lock_months(AFTER)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        started = perf_counter()
        make_statements(JANUARY, at=AFTER)
        with capsys.disabled():
            print(f"\n{number:,} uses: {perf_counter() - started:.1f} s")
        assert figures(JANUARY)["agents"] == figures(JANUARY)["used"]

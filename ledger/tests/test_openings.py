"""Bringing existing balances: what a file says is what the books got, once for ever."""

import io
import random

import pytest

from accounts.models import Approval, User
from accounts.services import approvals
from accounts.services.jobs import run_job
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import InvalidRequest, NotPermitted
from ledger.choices import BatchKind, CreditType, GrantSource
from ledger.models import Batch, BatchException, CreditTransaction, Grant
from ledger.queries.openings import tie_out_of, tie_out_rows, ties_out
from ledger.queries.wallets import wallet_of
from ledger.services import batches
from ledger.services.openings import draft_openings
from ledger.tests.factories import (
    AT,
    HOUR,
    CustomerFactory,
    balances_of,
    close,
    finance,
    set_credit_settings,
)

HEADER = "email,awards,purchases,paid,currency,partner,as_of\n"
REASON = "moving to the new ledger"


def planned(lines, *, maker=None, name="old.csv", header=HEADER, at=AT, **more):
    file = io.BytesIO((header + lines).encode())
    return draft_openings(file=file, name=name, reason=REASON, maker=maker, at=at, **more)


def started(batch, actor=None, at=AT):
    return batches.confirm_batch(
        batch=batch,
        plan_hash=batch.plan_hash,
        phrase=batches.phrase_of(batch),
        actor=actor,
        at=at,
    )


def worked(batch):
    run_job(batch.job, clock=lambda: AT)
    return Batch.objects.get(pk=batch.pk)


def brought(lines, **more):
    """Bring what ``lines`` say, and return the batch that did."""
    return worked(started(planned(lines, **more)))


def ties(batch):
    """Return the figures of the tie-out of ``batch``, none of which may be off, by their labels."""
    found = tie_out_of(batch)
    assert ties_out(found)
    return {tie.label: tuple(tie.numbers[:-1]) for tie in found if any(tie.numbers)}


def refusals(batch):
    found = BatchException.objects.filter(batch=batch).order_by("line", "id")
    return [(each.line, each.why) for each in found]


@pytest.fixture
def bob(db):
    return CustomerFactory(email="bob@example.com")


@pytest.fixture
def eve(db):
    return CustomerFactory(email="eve@example.com")


@pytest.mark.django_db
class TestOpenings:
    def test_enters_what_a_line_says_as_opening_grants(self, bob):
        batch = brought("Bob@Example.com,10,200,19.99,usd,5,2026-01-31\n")
        assert balances_of(wallet_of(bob)) == {"award": 10, "partner": 5, "purchase": 200}
        grants = Grant.objects.filter(wallet__user=bob).order_by("credit_type")
        assert [
            (g.credit_type, g.amount, g.paid_minor, g.currency, g.source, g.effective_at)
            for g in grants
        ] == [
            ("award", 10, 0, "", GrantSource.OPENING, AT),
            ("partner", 5, 0, "", GrantSource.OPENING, AT),
            ("purchase", 200, 1_999, "usd", GrantSource.OPENING, AT),
        ]
        transactions = CreditTransaction.objects.filter(wallet__user=bob)
        assert {(t.description, t.reference_id) for t in transactions} == {
            ("Opening balance as of 2026-01-31", str(batch.public_id))
        }
        assert batch.kind == BatchKind.OPENING
        assert batch.selection["as_of"] == ["2026-01-31"]

    def test_moves_nothing_before_it_is_confirmed(self, bob):
        batch = planned("bob@example.com,10,200,19.99,usd,5,\n")
        assert not Grant.objects.exists()
        assert ties(batch) == {
            "Awards": (10, 0, 0, 0, 10),
            "Purchases": (200, 0, 0, 0, 200),
            "Partner": (5, 0, 0, 0, 5),
            "Paid, USD": (1_999, 0, 0, 0, 1_999),
        }

    def test_says_of_each_line_that_it_leaves_out_why(self, bob, eve):
        StaffFactory(email="staff@example.com")
        close(wallet_of(eve))
        batch = brought(
            "bob@example.com,10,,,,,\n"
            "nobody@example.com,7,100,9.99,eur,,\n"
            "BOB@example.com,1,,,,,\n"
            "staff@example.com,2,,,,,\n"
            "eve@example.com,3,,,,,\n"
            "x,4,,,,,\n"
            "zero@example.com,0,0,,,,\n"
        )
        assert refusals(batch) == [
            (3, "there is no user with this e-mail"),
            (3, "there is no user with this e-mail"),
            (4, "the same e-mail is on line 2"),
            (5, "of staff"),
            (6, "the wallet is closed"),
            (7, "email is 'x', not an address"),
            (8, "nothing to enter: all is 0"),
        ]
        assert ties(batch) == {
            "Awards": (27, 10, 0, 17, 0),
            "Purchases": (100, 0, 0, 100, 0),
            "Paid, EUR": (999, 0, 0, 999, 0),
        }

    def test_enters_nothing_the_second_time_and_says_so_row_by_row(self, bob, eve):
        lines = "bob@example.com,10,200,19.99,usd,5,\neve@example.com,1,,,,,\n"
        brought(lines)
        again = planned(lines)
        assert again.plan["wallets"] == 0
        assert refusals(again) == [(2, "entered before")] * 3 + [(3, "entered before")]
        assert ties(again) == {
            "Awards": (11, 0, 11, 0, 0),
            "Purchases": (200, 0, 200, 0, 0),
            "Partner": (5, 0, 5, 0, 0),
            "Paid, USD": (1_999, 0, 1_999, 0, 0),
        }
        assert balances_of(wallet_of(bob))["purchase"] == 200

    def test_enters_nothing_anew_for_another_amount_or_address_of_the_same_user(self, bob):
        brought("bob@example.com,10,,,,,\n")
        batch = brought("bob@example.com,11,5,,,,\n", name="new.csv")
        assert refusals(batch) == [(2, "entered before")]
        assert ties(batch) == {"Awards": (11, 0, 11, 0, 0), "Purchases": (5, 5, 0, 0, 0)}
        assert balances_of(wallet_of(bob)) == {"award": 10, "partner": 0, "purchase": 5}

    def test_of_two_plans_for_the_same_line_one_enters_it(self, bob):
        line = "bob@example.com,10,100,9.99,usd,,\n"
        first, second = started(planned(line)), started(planned(line))
        first, second = worked(first), worked(second)
        assert balances_of(wallet_of(bob)) == {"award": 10, "partner": 0, "purchase": 100}
        assert ties(first)["Awards"] == (10, 10, 0, 0, 0)
        assert ties(second) == {
            "Awards": (10, 0, 10, 0, 0),
            "Purchases": (100, 0, 100, 0, 0),
            "Paid, USD": (999, 0, 999, 0, 0),
        }

    def test_tells_what_a_cancelled_one_never_entered(self, bob):
        batch = started(planned("bob@example.com,10,,,,,\n"))
        batches.cancel_batch(batch=batch, actor=finance(), reason=REASON, at=AT)
        assert ties(Batch.objects.get(pk=batch.pk)) == {"Awards": (10, 0, 0, 0, 10)}

    def test_refuses_a_balance_above_the_largest_unless_it_was_paid_for(self, bob, eve):
        set_credit_settings(largest_balance=100)
        batch = brought("bob@example.com,101,,,,,\neve@example.com,,101,5,usd,,\n")
        assert refusals(batch) == [(2, "would be above the largest balance")]
        assert ties(batch) == {
            "Awards": (101, 0, 0, 101, 0),
            "Purchases": (101, 101, 0, 0, 0),
            "Paid, USD": (500, 500, 0, 0, 0),
        }

    def test_refuses_a_file_without_lines(self, db):
        with pytest.raises(InvalidRequest, match="has no line after that"):
            planned("")
        assert not Batch.objects.exists()

    def test_lists_the_errors_of_a_file_that_is_all_wrong(self, db):
        batch = planned("x,1,,,,,\ny,,,,,-1,\n")
        assert (batch.plan["wallets"], batch.selection["unread"]) == (0, 1)
        assert len(refusals(batch)) == 2
        assert ties(batch) == {"Awards": (1, 0, 0, 1, 0)}

    def test_leaves_nothing_of_a_file_that_cannot_be_read_to_its_end(self, db):
        with pytest.raises(InvalidRequest, match="Line 3 is not CSV"):
            planned('new@example.com,10,,,,,\n"bob', makes_users=True)
        assert (Batch.objects.count(), User.objects.count()) == (0, 0)

    def test_is_for_who_may_run_batches(self, bob):
        with pytest.raises(NotPermitted):
            planned("bob@example.com,10,,,,,\n", maker=StaffFactory(groups="Support"))

    def test_asks_a_second_person_about_a_large_one(self, bob, eve):
        set_credit_settings(approval_batch_wallets_above=1)
        maker = finance()
        batch = planned("bob@example.com,10,,,,,\neve@example.com,1,,,,,\n", maker=maker)
        approval = started(batch, maker)
        assert isinstance(approval, Approval)
        assert not Grant.objects.exists()
        approvals.approve(approval=approval, checker=finance(), note="agreed", at=AT + HOUR)
        batch.refresh_from_db()
        assert ties(worked(batch))["Awards"] == (11, 11, 0, 0, 0)

    def test_lets_the_system_bring_a_large_one_alone(self, bob, eve):
        set_credit_settings(approval_batch_wallets_above=1)
        batch = brought("bob@example.com,10,,,,,\neve@example.com,1,,,,,\n")
        assert ties(batch)["Awards"] == (11, 11, 0, 0, 0)


@pytest.mark.django_db
class TestMakingUsers:
    def test_makes_an_account_for_an_address_that_nobody_has(self, bob):
        batch = brought(
            "bob@example.com,10,,,,,\nNew@Example.com,7,,,,,\nzero@example.com,0,,,,,\nx,1,,,,,\n",
            makes_users=True,
        )
        new = User.objects.get(email="new@example.com")
        assert (new.role, new.has_usable_password(), new.date_joined) == (None, False, AT)
        assert new.emailaddress_set.get().email == "new@example.com"
        assert balances_of(wallet_of(new))["award"] == 7
        assert User.objects.filter(email="zero@example.com").exists()
        event = AuditEvent.objects.get(action="ledger.batch.users_made")
        assert (event.target_id, event.after) == (str(batch.pk), {"users": 2})

    def test_gives_those_accounts_nothing_else(self):
        set_credit_settings(sign_up_credits=50)
        brought("new@example.com,7,,,,,\n", makes_users=True)
        assert CreditTransaction.objects.count() == 1

    def test_makes_nobody_of_an_erased_address(self):
        planned("erased-7@erased.invalid,7,,,,,\na@example.com,1,,,,,\n", makes_users=True)
        assert not User.objects.filter(email__contains="erased").exists()

    def test_is_for_who_may_add_users(self, bob):
        with pytest.raises(NotPermitted):
            planned("bob@example.com,10,,,,,\n", maker=finance(), makes_users=True)
        assert planned(
            "bob@example.com,10,,,,,\n", maker=StaffFactory(groups="Admin"), makes_users=True
        )


@pytest.mark.django_db
class TestTieOut:
    def test_sees_what_is_in_the_file_and_nowhere_else(self, bob):
        batch = brought("bob@example.com,10,5,1,usd,,\n")
        batch.selection["credits"]["award"] += 1
        batch.selection["paid"] = {"usd": 99}
        found = {tie.label: tie.difference for tie in tie_out_of(batch)}
        assert found == {"Awards": 1, "Purchases": 0, "Partner": 0, "Paid, USD": -1}
        assert not ties_out(tie_out_of(batch))

    def test_is_written_in_credits_and_major_units(self, bob):
        rows = tie_out_rows(tie_out_of(brought("bob@example.com,10,5,1.50,usd,,\n")))
        assert [[str(cell) for cell in row] for row in rows][0::3] == [
            ["Awards", "10", "10", "0", "0", "0", "0"],
            ["Paid, USD", "1.50", "1.50", "0.00", "0.00", "0.00", "0.00"],
        ]

    @pytest.mark.parametrize("seed", range(3))
    def test_agrees_with_the_books_on_random_files(self, seed):
        dice = random.Random(seed)
        users = [UserFactory(email=f"u{n}@example.com", role=None) for n in range(40)]
        for part in range(3):
            before = totals_in_books()
            batch = planned("".join(random_line(dice, users) for _ in range(30)))
            told = batch.selection
            batch = worked(started(batch)) if batch.plan["wallets"] else batch
            found = {tie.label: tie for tie in tie_out_of(batch)}
            assert ties_out(list(found.values()))
            after = totals_in_books()
            names = {"award": "Awards", "purchase": "Purchases", "partner": "Partner"}
            names |= {"usd": "Paid, USD", "jpy": "Paid, JPY", "kwd": "Paid, KWD"}
            for name, label in names.items():
                entered = found[label].entered if label in found else 0
                assert entered == after.get(name, 0) - before.get(name, 0), (part, name)
            assert told["lines"] == 30


def random_line(dice, users):
    def mostly(good, bad):
        return dice.choice(good if dice.random() < 0.9 else bad)

    email = mostly([user.email for user in users], ["nobody@example.com", "x", ""])
    amounts = [mostly(["", "0", "7", "1000"], ["-3", "1.5", "x"]) for _ in range(3)]
    paid = mostly(["", "0", "5", "12.5"], ["1.234", "1.2345", "-1"])
    currency = mostly(["usd", "USD", "jpy", "kwd"], ["", "xyz"])
    as_of = mostly(["", "2026-01-01"], ["2099-01-01", "x"])
    award, purchase, partner = amounts
    return f"{email},{award},{purchase},{paid},{currency},{partner},{as_of}\n"


def totals_in_books():
    totals = {}
    for grant in Grant.objects.filter(source=GrantSource.OPENING):
        totals[grant.credit_type] = totals.get(grant.credit_type, 0) + grant.amount
        if grant.paid_minor:
            totals[grant.currency] = totals.get(grant.currency, 0) + grant.paid_minor
    assert totals.keys() <= {*CreditType, "usd", "jpy", "kwd"}
    return totals

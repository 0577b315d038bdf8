"""What a batch does to whom, whom it leaves out, and what it says of that."""

from contextlib import suppress
from random import Random

import pytest

from accounts.models import Role
from accounts.tests.factories import StaffFactory, TeamFactory
from creditsite.errors import InvalidRequest
from ledger import errors
from ledger.choices import BatchKind, CreditType, ShortPolicy
from ledger.models import Batch, BatchItem, CreditTransaction, Grant
from ledger.queries.batches import left_out, progress_of, results, wallets_of
from ledger.queries.wallets import wallet_of
from ledger.services import batches, posting
from ledger.services.adjustments import reverse_transaction
from ledger.services.batch_files import BatchRow
from ledger.services.batch_words import phrase_of, sentence_of
from ledger.services.erasure import Books
from ledger.tests.batches import (
    WHY,
    done,
    drafted,
    fresh,
    items_of,
    left_out_of,
    moved_by,
    planned,
    reversed_,
    row,
    run,
    start,
    started,
    users_with,
)
from ledger.tests.factories import (
    AT,
    DAY,
    HOUR,
    balances_of,
    bulk_created,
    close,
    moves_of,
    open_hold,
    pool_of_team_admin,
    seat,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

ADD, DEDUCT = BatchKind.ADD, BatchKind.DEDUCT
pytestmark = pytest.mark.django_db


class TestAnAddition:
    def test_gives_each_user_the_same_once(self):
        wallets = users_with(3, award=10)
        batch = done(ADD, 50)
        assert moved_by(batch) == {wallet.pk: 50 for wallet in wallets}
        assert [balances_of(wallet)["award"] for wallet in wallets] == [60] * 3
        progress = progress_of(batch)
        assert (progress.status, progress.moved, progress.credits) == ("done", 3, 150)

    def test_says_of_each_transaction_what_it_was_for(self):
        (wallet,) = users_with(1)
        batch = done(ADD, 50, credit_type=CreditType.PURCHASE, expires_at=AT + DAY)
        booked = CreditTransaction.objects.get(wallet=wallet)
        assert (booked.kind, booked.description, booked.reference_id, booked.actor) == (
            "purchase", WHY, str(batch.public_id), batch.maker,
        )  # fmt: skip
        grant = Grant.objects.get(wallet=wallet)
        assert (grant.source, grant.paid_minor, grant.expires_at) == ("batch", 0, AT + DAY)

    def test_opens_the_wallets_that_are_missing(self):
        (user,) = bulk_created(1, role=None)
        assert done(ADD, 50).plan["wallets"] == 1
        assert balances_of(wallet_of(user))["award"] == 50

    def test_leaves_out_staff_the_closed_the_inactive_and_who_would_have_too_much(self):
        set_credit_settings(largest_balance=100)
        closed, rich, inactive, usual = users_with(4, award=60)
        close(closed)
        type(inactive.user).objects.filter(pk=inactive.user_id).update(is_active=False)
        wallet_with_credits(rich.user, award=30)
        colleague, organisation = StaffFactory(), TeamFactory(owner=None)
        seat(organisation, colleague)
        staff = [wallet_of(colleague), wallet_of(organisation)]
        batch = planned(ADD, 40, selection={"of": "filter", "query": {"debt": "no"}}, maker=None)
        assert items_of(batch) == {usual.pk: 40}
        assert left_out_of(batch) == {
            closed.pk: "the wallet is closed",
            inactive.pk: "the user is not active",
            rich.pk: "would be above the largest balance",
            **{wallet.pk: "of staff" for wallet in staff},
        }
        assert batch.plan["excluded"]["of staff"] == 2
        assert len(list(left_out(batch))) == 5

    def test_leaves_out_a_pool_that_staff_have_a_seat_in(self):
        member = StaffFactory()
        _, pool = pool_of_team_admin(member)
        batch = planned()
        assert left_out_of(batch)[pool.pk] == "of staff"

    def test_keeps_what_the_books_refuse_when_it_runs(self):
        closed, usual = users_with(2)
        batch = started(ADD, 50)
        close(closed)
        batch = run(batch)
        assert moved_by(batch) == {usual.pk: 50}
        assert left_out_of(batch, at_run=True) == {closed.pk: "the wallet is closed"}
        progress = progress_of(batch)
        assert (progress.moved, progress.skipped, progress.credits) == (1, 1, 50)
        assert progress.reasons == {"the wallet is closed": 1}
        assert sorted(line[5] for line in results(batch)) == ["done", "the wallet is closed"]

    def test_leaves_out_who_became_staff_since_it_was_planned(self):
        hired, usual = users_with(2)
        batch = planned(ADD, 50)
        type(hired.user).objects.filter(pk=hired.user_id).update(is_staff=True)
        batch = run(start(batch))
        assert moved_by(batch) == {usual.pk: 50}
        progress = progress_of(batch)
        assert progress.reasons == {"of staff": 1}
        assert (progress.wallets_done, progress.wallets_total) == (2, 2)


class TestADeduction:
    def test_takes_from_each_what_it_says(self):
        wallets = users_with(3, award=80, purchase=20)
        batch = done(DEDUCT, 50)
        assert moved_by(batch) == {wallet.pk: -50 for wallet in wallets}
        assert moves_of(wallets[0])[-1] == ("adjustment", -50)
        assert progress_of(batch).credits == 150

    def test_of_one_type_leaves_the_others(self):
        (wallet,) = users_with(1, award=80, purchase=20)
        done(DEDUCT, 20, credit_type=CreditType.PURCHASE)
        assert balances_of(wallet) == {"award": 80, "purchase": 0, "partner": 0}

    def test_leaves_alone_who_has_less_or_takes_what_is_there(self):
        rich, poor, empty = (wallet_with_credits(award=n) for n in (100, 30, 0))
        skip = planned(DEDUCT, 50, maker=None)
        assert items_of(skip) == {rich.pk: 50}
        assert left_out_of(skip) == {poor.pk: "has less than that", empty.pk: "has less than that"}
        take = planned(DEDUCT, 50, policy=ShortPolicy.TAKE, maker=None)
        assert items_of(take) == {rich.pk: 50, poor.pk: 50}
        assert left_out_of(take) == {empty.pk: "has none"}
        for plan in (skip.plan, take.plan):
            assert (plan["would_fall_below"], plan["shortfall"]) == (2, 70)
        batch = run(start(take))
        assert moved_by(batch) == {rich.pk: -50, poor.pk: -30}
        assert (progress_of(batch).credits, batch.job.result["short"]) == (80, 20)

    def test_takes_nothing_that_is_held_expired_or_frozen(self):
        wallet = wallet_with_credits(award=100)
        open_hold(wallet, 60)
        expired = wallet_with_credits(award=100, expires_at=AT + HOUR)
        frozen = wallet_with_credits(award=100)
        posting.freeze(grants=[Grant.objects.get(wallet=frozen).pk], frozen=True, at=AT)
        batch = planned(DEDUCT, 50, policy=ShortPolicy.TAKE, at=AT + HOUR, maker=None)
        assert items_of(batch) == {wallet.pk: 50}
        assert (batch.plan["would_fall_below"], batch.plan["shortfall"]) == (3, 110)
        assert left_out_of(batch) == {expired.pk: "has none", frozen.pk: "has none"}

    def test_takes_from_paused_wallets_and_with_credits_switched_off(self):
        set_credit_settings(credits_enabled=False)
        (wallet,) = users_with(1, award=80)
        posting.set_status(wallet=wallet.pk, expected="active", status="paused")
        assert moved_by(done(DEDUCT, 50)) == {wallet.pk: -50}

    def test_skips_who_has_spent_it_since(self):
        wallet, usual = users_with(2, award=80)
        batch = started(DEDUCT, 50)
        spend(wallet, 40)
        batch = run(batch)
        assert moved_by(batch) == {usual.pk: -50}
        assert progress_of(batch).reasons == {"has less than that": 1}


class TestAFile:
    def test_moves_what_each_line_says_for_the_reason_it_gives(self):
        one, two = users_with(2)
        batch = done(rows=[row(one, 10, 2), row(two, 20, 3, note="Won the raffle")])
        assert moved_by(batch) == {one.pk: 10, two.pk: 20}
        texts = CreditTransaction.objects.order_by("amount").values_list("description", flat=True)
        assert list(texts) == [WHY, "Won the raffle"]
        assert batch.plan["credits"] == 30

    def test_keeps_the_lines_that_are_wrong_with_what_is_wrong(self):
        (wallet,) = users_with(1)
        batch = planned(
            rows=[
                row(wallet, 10, 2),
                row(wallet, 10, 3),
                BatchRow(4, "nobody@example.com", amount=5),
                BatchRow(5, "", why="email is empty"),
                row(wallet, None, 6),
            ]
        )
        assert items_of(batch) == {wallet.pk: 10}
        assert left_out_of(batch) == {
            "line 3": "the same user is on an earlier line",
            "line 4": "there is no user with this e-mail",
            "line 5": "email is empty",
            "line 6": "an amount is 1 to 1,000,000,000 credits",
        }
        assert sum(batch.plan["excluded"].values()) == 4

    def test_is_planned_anew_from_its_lines(self):
        poor, rich = wallet_with_credits(award=5), wallet_with_credits(award=50)
        rows = [row(poor, 10, 2, note="a"), row(rich, 20, 3), BatchRow(4, "", why="email is empty")]
        batch = planned(DEDUCT, rows=rows)
        assert items_of(batch) == {rich.pk: 20}
        wallet_with_credits(poor.user, award=5)
        spend(rich, 40)
        again = batches.plan_batch(batch=batch, at=AT + HOUR)
        assert items_of(again) == {poor.pk: 10}
        assert left_out_of(again) == {rich.pk: "has less than that", "line 4": "email is empty"}
        assert BatchItem.objects.get().note == "a"
        assert again.plan_hash != batch.plan_hash

    def test_opens_the_wallets_that_are_missing_and_leaves_out_staff(self):
        (user,) = bulk_created(1, role=None)
        staff = StaffFactory()
        rows = [BatchRow(2, user.email, amount=5), BatchRow(3, staff.email, amount=5)]
        batch = done(rows=rows)
        assert moved_by(batch) == {wallet_of(user).pk: 5}
        assert left_out_of(batch) == {wallet_of(staff).pk: "of staff"}


class TestOpeningBalances:
    def rows(self, wallet, line=2):
        return [
            row(wallet, 100, line, credit_type="award"),
            row(wallet, 50, line, credit_type="purchase", paid_minor=999, currency="usd"),
        ]

    def test_are_grants_of_their_own_with_what_was_paid(self):
        (wallet,) = users_with(1)
        batch = done(BatchKind.OPENING, rows=self.rows(wallet))
        grants = Grant.objects.filter(wallet=wallet).order_by("credit_type")
        assert list(grants.values_list("source", "amount", "paid_minor", "currency")) == [
            ("opening", 100, 0, ""),
            ("opening", 50, 999, "usd"),
        ]
        assert (batch.plan["items"], batch.plan["wallets"], batch.plan["paid_minor"]) == (
            2, 1, {"usd": 999},
        )  # fmt: skip
        assert batch.plan["by_type"] == {"award": 100, "purchase": 50}

    def test_are_entered_once_for_ever(self):
        (wallet,) = users_with(1)
        # Two files at once, neither of which knew of the other when it was planned.
        first, second = (planned(BatchKind.OPENING, rows=self.rows(wallet)[:1]) for _ in range(2))
        run(start(first))
        second = run(start(second))
        assert left_out_of(second, at_run=True) == {wallet.pk: "entered before"}
        assert next(results(second))[4:6] == (0, "entered before")
        third = planned(BatchKind.OPENING, rows=self.rows(wallet))
        assert left_out_of(third) == {wallet.pk: "entered before"}
        assert items_of(third) == {wallet.pk: 50}
        assert balances_of(wallet)["award"] == 100

    def test_of_the_inactive_count_too(self):
        (wallet,) = users_with(1)
        type(wallet.user).objects.update(is_active=False)
        batch = planned(BatchKind.OPENING, rows=self.rows(wallet), maker=None)
        assert batch.plan["items"] == 2

    def test_are_bounded_where_nothing_was_paid(self):
        set_credit_settings(largest_balance=40)
        (wallet,) = users_with(1)
        batch = done(BatchKind.OPENING, rows=self.rows(wallet), maker=None)
        assert left_out_of(batch) == {wallet.pk: "would be above the largest balance"}
        assert balances_of(wallet) == {"award": 0, "partner": 0, "purchase": 50}


class TestAReversal:
    def test_takes_back_what_is_left_of_what_was_added(self):
        whole, partly, gone, held = users_with(4)
        batch = done(ADD, 50)
        spend(partly, 20)
        spend(gone, 50)
        open_hold(held, 10)
        reversal = reversed_(batch)
        assert left_out_of(reversal) == {gone.pk: "nothing of it is left"}
        assert (reversal.plan["wallets"], reversal.plan["credits"]) == (3, 150)
        assert (reversal.plan["would_fall_below"], reversal.plan["shortfall"]) == (3, 80)
        reversal = run(start(reversal))
        assert moved_by(reversal) == {whole.pk: -50, partly.pk: -30, held.pk: -40}
        assert progress_of(reversal).credits == 120

    def test_puts_back_what_was_taken(self):
        wallets = users_with(3, award=30, purchase=40)
        before = [balances_of(wallet) for wallet in wallets]
        batch = done(DEDUCT, 25)
        reversal = run(start(reversed_(batch)))
        assert moved_by(reversal) == {wallet.pk: 25 for wallet in wallets}
        assert [balances_of(wallet) for wallet in wallets] == before
        assert moves_of(wallets[0])[-1] == ("reversal", 25)

    def test_leaves_out_what_was_reversed_by_hand(self):
        one, two = users_with(2, award=30)
        batch = done(DEDUCT, 25)
        by_hand = CreditTransaction.objects.get(wallet=one, kind="adjustment")
        reverse_transaction(original=by_hand, reason="by hand", actor=None, caller="system", at=AT)
        reversal = reversed_(batch)
        assert items_of(reversal) == {two.pk: 25}
        assert left_out_of(reversal) == {one.pk: "reversed already"}

    def test_happens_once(self):
        users_with(1)
        batch = done(ADD, 50)
        first = reversed_(batch)
        second = reversed_(batch)
        assert (fresh(first).status, second.status) == ("discarded", "planned")
        start(second)
        with pytest.raises(errors.AlreadyReversed):
            reversed_(batch)

    def test_is_of_what_has_ended_and_not_of_a_reversal(self):
        users_with(1)
        batch = started(ADD, 50)
        with pytest.raises(errors.BatchNotInState):
            reversed_(batch)
        reversal = run(start(reversed_(run(batch))))
        with pytest.raises(errors.BatchNotInState):
            reversed_(reversal)

    def test_of_a_cancelled_batch_takes_back_what_it_did(self, monkeypatch):
        monkeypatch.setattr("ledger.services.batch_runs.CHUNK", 1)
        wallets = users_with(3)
        batch = started(ADD, 50)
        calls = []

        def cancel(progress):
            calls.append(progress)
            if len(calls) == 2:
                batches.cancel_batch(batch=batch, actor=batch.maker, reason="wrong", at=AT)

        batch = run(batch, report=cancel)
        assert progress_of(batch).status == "cancelled"
        assert len(moved_by(batch)) == progress_of(batch).moved == 2
        reversal = run(start(reversed_(batch)))
        assert moved_by(reversal) == {wallet.pk: -50 for wallet in wallets[:2]}
        assert [balances_of(wallet)["award"] for wallet in wallets] == [0, 0, 0]


class TestWhatItSays:
    @pytest.mark.parametrize(
        ("kind", "more", "sentence", "phrase"),
        [
            (ADD, {}, "Add 50 award credits to each of 2 users", "ADD 50 TO 2 USERS"),
            (DEDUCT, {}, "Deduct 50 award credits from each of 2 users", "DEDUCT 50 FROM 2 USERS"),
            (
                DEDUCT,
                {"policy": ShortPolicy.TAKE},
                "Deduct up to 50 award credits from each of 2 users",
                "DEDUCT 50 FROM 2 USERS",
            ),
        ],
    )
    def test_of_all(self, kind, more, sentence, phrase):
        set_credit_settings(typed_confirmation_from=100)
        users_with(2, award=60)
        batch = planned(kind, 50, **more)
        assert (sentence_of(batch), phrase_of(batch)) == (sentence, phrase)

    def test_of_a_file_and_of_a_reversal(self):
        set_credit_settings(typed_confirmation_from=1)
        (wallet,) = users_with(1)
        batch = planned(rows=[row(wallet, 1234)])
        assert sentence_of(batch) == "Add 1,234 award credits in all to 1 user, by file some.csv"
        assert phrase_of(batch) == "ADD 1,234 IN ALL TO 1 USER"
        reversal = reversed_(run(start(batch)))
        assert sentence_of(reversal) == f"Reverse batch {batch.pk} of 1 user"
        assert phrase_of(reversal) == f"REVERSE BATCH {batch.pk} OF 1 USER"

    def test_asks_for_no_phrase_below_the_threshold(self):
        users_with(1)
        assert phrase_of(planned(ADD, 9_999)) == ""
        assert phrase_of(planned(ADD, 10_000)) != ""

    def test_of_its_cost_in_minor_units(self):
        users_with(3)
        assert planned(ADD, 50).plan["cost"] == {"amount": "2.74", "currency": "ZAR"}


class TestDraftBatch:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"amount": 0},
            {"amount": -1},
            {"amount": 1_000_001},
            {"amount": None},
            {"reason": "  "},
            {"reason": "a\u202eb"},
            {"credit_type": None},
            {"expires_at": AT},
            {"kind": BatchKind.REVERSAL},
            {"kind": DEDUCT, "expires_at": AT + DAY},
            {"kind": BatchKind.OPENING, "credit_type": None},
            {"selection": {"of": "filter", "query": {}}},
            {"selection": {"of": "filter", "query": {"password": "x"}}},
            {"selection": {"of": "csv", "name": "a.csv"}},
            {"selection": {}},
        ],
        ids=str,
    )
    def test_refuses_what_makes_no_sense(self, wrong):
        with pytest.raises(InvalidRequest):
            drafted(**{"kind": ADD, "amount": 50, **wrong})
        assert not Batch.objects.exists()

    def test_refuses_a_file_for_one_amount(self):
        with pytest.raises(InvalidRequest):
            batches.draft_batch(
                kind=ADD, credit_type=CreditType.AWARD, amount=5, selection={"of": "all"},
                reason=WHY, maker=None, at=AT, rows=[],
            )  # fmt: skip


class TestWalletsOf:
    def found(self, **query):
        return set(wallets_of({"of": "filter", "query": query}))

    def test_finds_as_the_list_of_users_does(self):
        plain, partner, owing = users_with(3)
        type(partner.user).objects.filter(pk=partner.user_id).update(
            is_partner=True, role=Role.objects.get(code="admin")
        )
        posting.set_status(wallet=owing.pk, expected="active", status="paused")
        assert self.found(partner="yes") == {partner}
        assert self.found(partner="no") == {plain, owing}
        assert self.found(status__exact="paused") == {owing}
        role = str(Role.objects.get(code="admin").pk)
        assert self.found(user__role__id__exact=role) == {partner}
        assert self.found(id__in=f"{plain.pk},{owing.pk}") == {plain, owing}
        assert self.found(id__in=f"{plain.pk},{owing.pk}", status__exact="active") == {plain}
        assert self.found(q=plain.user.email) == {plain}
        assert self.found(debt="yes") == set()
        assert set(wallets_of({"of": "all"})) == {plain, partner, owing}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("status__exact", "gone"),
            ("user__role__id__exact", "0"),
            ("user__role__id__exact", "1 OR 1"),
            ("user__password__startswith", "a"),
            ("partner", "maybe"),
            ("debt", ""),
            ("q", " "),
            ("q", "a\x00"),
            ("id__in", ""),
            ("id__in", "1,"),
            ("id__in", "٣"),
            ("id__in", "9" * 30),
        ],
    )
    def test_refuses_what_it_does_not_know(self, name, value):
        with pytest.raises(InvalidRequest):
            self.found(**{name: value})

    def test_of_a_filter_is_what_is_planned(self):
        one, _, three = users_with(3)
        batch = planned(selection={"of": "filter", "query": {"id__in": f"{one.pk},{three.pk}"}})
        assert set(items_of(batch)) == {one.pk, three.pk}


class TestErasure:
    def test_takes_away_what_batches_say_of_a_person_and_leaves_what_they_did(self):
        wallet, other = users_with(2)
        ours, named = wallet.user, {wallet.user.email}
        file = done(rows=[row(wallet, 5, 2, note="Her own fault"), row(other, 5, 3, note="His")])
        search = {"of": "filter", "query": {"q": ours.email, "debt": "no"}}
        found = planned(selection=search, reason=f"{ours.email} asked for it")
        Books().erase(user=ours, words=named, at=AT)
        lines = BatchItem.objects.filter(batch=file).order_by("line")
        assert list(lines.values_list("note", flat=True)) == ["", "His"]
        found = fresh(found)
        assert (found.selection, found.reason) == ({"of": "filter", "query": {"debt": "no"}}, "")
        assert moved_by(file) == {other.pk: 5}
        assert [line[4:6] for line in results(file)] == [(5, "done")] * 2


class TestAnyBatches:
    @pytest.mark.parametrize("seed", range(3))
    def test_say_of_themselves_what_the_ledger_says(self, seed):
        """Batches and reversals by the dice, among spends, holds and what expires."""
        dice = Random(seed)
        wallets = users_with(8)
        at, ended = AT, []
        for _ in range(12):
            at += HOUR
            for wallet in dice.sample(wallets, 3):
                balance = balances_of(wallet, at)["award"]
                if balance > 1 and dice.random() < 0.7:
                    act = dice.choice([spend, open_hold])
                    with suppress(errors.InsufficientCredits):
                        act(wallet, dice.randint(1, balance), at=at)
            batch = any_batch(dice, wallets, ended, at)
            if not batch.plan["items"]:
                continue
            batch = start(batch, at=at)
            if dice.random() < 0.5:  # Something happens before it comes to run.
                wallet_with_credits(dice.choice(wallets).user, award=7, at=at)
            batch = run(batch, at=at)
            assert_told(batch)
            ended.append(batch)
        assert {batch.kind for batch in ended} == {"add", "deduct", "reversal"}


def any_batch(dice, wallets, ended, at):
    left = [b for b in ended if b.kind != "reversal" and not b.reversals.exists()]
    if left and dice.random() < 0.35:
        return reversed_(dice.choice(left), at=at)
    ids = ",".join(str(wallet.pk) for wallet in dice.sample(wallets, dice.randint(2, 8)))
    how = {"selection": {"of": "filter", "query": {"id__in": ids}}, "maker": None, "at": at}
    if dice.random() < 0.5:
        return planned(DEDUCT, dice.randint(1, 60), policy=dice.choice([*ShortPolicy]), **how)
    expires_at = dice.choice([None, at + 4 * HOUR])
    return planned(ADD, dice.randint(1, 60), expires_at=expires_at, **how)


def assert_told(batch):
    """Assert that plan, progress and result of ``batch`` are what the ledger says."""
    moved, progress, rows = moved_by(batch), progress_of(batch), list(results(batch))
    assert progress.credits == abs(sum(moved.values())) == sum(row[4] for row in rows)
    assert progress.moved == len(moved) == [row[5] for row in rows].count("done")
    assert progress.wallets_done == progress.wallets_total == len(rows) == len(items_of(batch))
    assert progress.skipped == sum(progress.reasons.values()) == len(rows) - len(moved)
    assert batch.plan["credits"] == sum(items_of(batch).values()) >= progress.credits
    asked = items_of(batch)
    assert all(0 < abs(amount) <= asked[wallet] for wallet, amount in moved.items())

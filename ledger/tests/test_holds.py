from datetime import timedelta
from uuid import uuid4

import pytest

from ledger import errors
from ledger.choices import HoldStatus
from ledger.models import Hold
from ledger.queries.wallets import payers_of
from ledger.services import holds
from ledger.services.adjustments import pause_wallet
from ledger.services.charges import charge_for
from ledger.tests.factories import (
    AT,
    CALLER,
    DAY,
    HOUR,
    SECOND,
    CustomerFactory,
    available,
    balances_of,
    catalogue,
    close,
    finance,
    moves_of,
    nothing_changes,
    open_hold,
    place_hold,
    pool_of_team_admin,
    priced_feature,
    quantities,
    spend,
    transactions_of,
    wallet_with_credits,
)

MICROSECOND = timedelta(microseconds=1)


def request(hold_id, more):
    if key := more.pop("key", None):
        more["idempotency_key"] = key
    return {"hold_id": hold_id, "caller": CALLER, "at": AT, "actor_id": None, **more}


def capture(hold_id, amount=None, **more):
    return holds.capture_hold(amount=amount, **request(hold_id, more))


def release(hold_id, **more):
    return holds.release_hold(**request(hold_id, more))


@pytest.mark.django_db
class TestPlaceHold:
    def test_reserves_credits_and_moves_none(self):
        wallet = wallet_with_credits(award=30, purchase=50)
        posted = place_hold(wallet, 60)
        assert (available(wallet), balances_of(wallet)["award"]) == (20, 30)
        assert (posted.current, posted.held, posted.transaction_id) == (80, 60, None)
        hold = Hold.objects.get(pk=posted.hold_id)
        assert (hold.status, hold.amount, hold.caller) == (HoldStatus.OPEN, 60, CALLER)
        assert (hold.placed_at, hold.expires_at) == (AT, AT + HOUR)

    def test_is_one_statement_when_the_prices_are_known(self, django_assert_num_queries):
        catalogue()
        wallet = wallet_with_credits(award=80)
        charge_for(quantities(report=1), at=AT)
        with django_assert_num_queries(1):
            assert place_hold(wallet, charge_for(quantities(report=1), at=AT)).held == 40

    def test_keeps_what_it_is_for_and_tells_it_to_the_capture(self):
        catalogue()
        actor, wallet = CustomerFactory(), wallet_with_credits(award=100)
        charge = charge_for(quantities(llm_input=2_000, llm_output=350), at=AT)
        facts = {"description": "A letter", "reference_id": "letter-7", "project": "mail"}
        placed = place_hold(wallet, charge, actor_id=actor.pk, metadata={"pages": 2}, **facts)
        capture(placed.hold_id)
        hold, taken = Hold.objects.get(), transactions_of(wallet)[-1]
        for row in (hold, taken):
            assert (row.actor, row.feature, row.metadata) == (
                actor,
                "llm.input+llm.output",
                {"pages": 2},
            )
            assert {name: getattr(row, name) for name in facts} == facts
            assert (row.price_ids, row.quantities) == (charge.price_ids, [2_000, 350])
        assert taken.amount == -4

    @pytest.mark.parametrize("lasts", [SECOND, 30 * DAY])
    def test_lasts_as_long_as_it_is_asked_to(self, lasts):
        placed = place_hold(wallet_with_credits(award=10), 10, expires_in=lasts)
        assert Hold.objects.get(pk=placed.hold_id).expires_at == AT + lasts

    @pytest.mark.parametrize(
        "lasts", [timedelta(), -DAY, SECOND - MICROSECOND, 30 * DAY + MICROSECOND]
    )
    def test_refuses_a_time_out_of_range(self, lasts):
        wallet = wallet_with_credits(award=10)
        with nothing_changes(wallet), pytest.raises(errors.InvalidAmount, match="thirty days"):
            place_hold(wallet, 10, expires_in=lasts)

    def test_refuses_more_than_is_available(self):
        wallet = wallet_with_credits(award=60)
        place_hold(wallet, 25)
        with nothing_changes(wallet), pytest.raises(errors.InsufficientCredits) as refusal:
            place_hold(wallet, 36)
        assert refusal.value.numbers == {"needed": 36, "available": 35}

    def test_pins_purchased_credits_only_where_the_feature_does(self):
        priced_feature("export", 15, requires_purchased=True)
        wallet = wallet_with_credits(award=100, purchase=20)
        charge = charge_for(quantities(export=1), at=AT)
        capture(place_hold(wallet, charge).hold_id)
        assert balances_of(wallet) == {"award": 100, "purchase": 5, "partner": 0}
        with pytest.raises(errors.InsufficientCredits):
            place_hold(wallet, charge)

    def test_refuses_a_paused_and_a_closed_wallet(self):
        paused, closed = wallet_with_credits(award=10), wallet_with_credits(award=10)
        pause_wallet(wallet=paused, reason="test", actor=finance(), at=AT)
        close(closed)
        with nothing_changes(paused), pytest.raises(errors.WalletPaused):
            place_hold(paused, 1)
        with nothing_changes(closed), pytest.raises(errors.WalletClosed):
            place_hold(closed, 1)

    def test_reserves_in_the_pool_if_the_own_wallet_does_not_cover_it(self):
        member = CustomerFactory()
        _, pool = pool_of_team_admin(member)
        own = wallet_with_credits(member, award=10)
        assert place_hold(payers_of(member), 10).wallet_id == own.pk
        assert place_hold(payers_of(member), 11).wallet_id == pool.pk

    def test_has_one_effect_for_a_key(self):
        wallet = wallet_with_credits(award=60)
        first = place_hold(wallet, 60, key="once")
        again = place_hold(wallet, 60, key="once")
        assert (again.is_new, again.hold_id, again.held) == (False, first.hold_id, 60)
        assert Hold.objects.count() == 1

    @pytest.mark.parametrize(
        "other", [{"charge": 11}, {"expires_in": DAY}, {"description": "else"}]
    )
    def test_refuses_the_key_of_another_request(self, other):
        wallet = wallet_with_credits(award=60)
        place_hold(wallet, 10, key="once")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            place_hold(wallet, **({"charge": 10} | other), key="once")


@pytest.mark.django_db
class TestCaptureHold:
    def test_takes_all_of_it(self):
        wallet = wallet_with_credits(award=30, purchase=50)
        hold_id = open_hold(wallet, 60)
        posted = capture(hold_id)
        assert (posted.amount, posted.hold_id, posted.held) == (-60, hold_id, 0)
        assert balances_of(wallet) == {"award": 0, "purchase": 20, "partner": 0}
        assert moves_of(wallet)[-1] == ("usage", -60)

    def test_takes_a_part_and_releases_the_rest(self):
        wallet = wallet_with_credits(award=30, purchase=50)
        hold_id = open_hold(wallet, 60)
        capture(hold_id, 40)
        hold = Hold.objects.get()
        assert (hold.status, hold.captured, hold.released) == (HoldStatus.CAPTURED, 40, 20)
        assert (available(wallet), balances_of(wallet)["purchase"]) == (40, 40)

    @pytest.mark.parametrize("amount", [-1, 0, 1_000_000_001])
    def test_refuses_an_amount_out_of_range(self, amount):
        wallet = wallet_with_credits(award=60)
        hold_id = open_hold(wallet, 60)
        with nothing_changes(wallet), pytest.raises(errors.InvalidAmount):
            capture(hold_id, amount)

    def test_refuses_more_than_it_holds(self):
        wallet = wallet_with_credits(award=100)
        hold_id = open_hold(wallet, 60)
        with nothing_changes(wallet), pytest.raises(errors.ExceedsHold) as refusal:
            capture(hold_id, 61)
        assert refusal.value.numbers == {"asked": 61, "held": 60}


@pytest.mark.django_db
class TestReleaseHold:
    def test_gives_all_of_it_back(self):
        wallet = wallet_with_credits(award=100)
        hold_id = open_hold(wallet, 60)
        posted = release(hold_id)
        assert (posted.current, posted.held, available(wallet)) == (100, 0, 100)
        hold = Hold.objects.get()
        assert (hold.status, hold.captured, hold.released) == (HoldStatus.RELEASED, 0, 60)
        assert moves_of(wallet) == [("award", 100)]


@pytest.mark.django_db
@pytest.mark.parametrize("end", [capture, release])
class TestEndOfAHold:
    def test_is_refused_to_another_caller_but_not_to_staff(self, end):
        wallet = wallet_with_credits(award=100)
        hold_id = open_hold(wallet, 60)
        with nothing_changes(wallet), pytest.raises(errors.NotYourHold):
            end(hold_id, caller="key:2")
        assert end(hold_id, caller="user:9", by_staff=True).is_new

    def test_comes_once(self, end):
        wallet = wallet_with_credits(award=100)
        hold_id = open_hold(wallet, 60)
        end(hold_id)
        for again in (capture, release):
            with nothing_changes(wallet), pytest.raises(errors.HoldNotOpen):
                again(hold_id)

    def test_is_refused_from_the_instant_it_times_out(self, end):
        wallet = wallet_with_credits(award=100)
        late, in_time = open_hold(wallet, 60), open_hold(wallet, 40)
        with nothing_changes(wallet), pytest.raises(errors.HoldNotOpen):
            end(late, at=AT + HOUR)
        assert end(in_time, at=AT + HOUR - MICROSECOND).is_new

    def test_is_refused_for_a_hold_that_is_none(self, end):
        with pytest.raises(errors.HoldNotFound):
            end(uuid4())

    def test_has_one_effect_for_a_key(self, end):
        wallet = wallet_with_credits(award=100)
        hold_id = open_hold(wallet, 60)
        first = end(hold_id, key="end")
        spend(wallet, 1)
        again = end(hold_id, key="end")
        assert (again.is_new, again.transaction_id) == (False, first.transaction_id)
        assert (again.hold_id, again.held) == (hold_id, 0)

    def test_refuses_the_key_of_another_request(self, end):
        wallet = wallet_with_credits(award=100)
        one, other = open_hold(wallet, 10), open_hold(wallet, 10)
        end(one, key="end")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            end(other, key="end")
        with nothing_changes(wallet), pytest.raises(errors.IdempotencyKeyReused):
            capture(one, 5, key="end")

    def test_keeps_what_expired_meanwhile_from_being_spent(self, end):
        wallet = wallet_with_credits(award=100, expires_at=AT + DAY)
        hold_id = open_hold(wallet, 60, expires_in=2 * DAY)
        end(hold_id, at=AT + DAY)
        assert available(wallet, AT + DAY) == 0
        with pytest.raises(errors.InsufficientCredits):
            spend(wallet, 1, at=AT + DAY)

from datetime import timedelta
from decimal import Decimal

import pytest

from creditsite.errors import InvalidRequest
from ledger import keys
from ledger.choices import CreditType
from ledger.errors import InvalidAmount, UnknownFeature
from ledger.models import FeaturePrice
from ledger.services import charges
from ledger.services.charges import charge_for, charge_of, price_list, refuse_withdrawn
from ledger.services.features import add_price, change_feature
from ledger.tests.factories import (
    AT,
    BEGINNING,
    CALLER,
    DAY,
    MINUTE,
    catalogue,
    finance,
    make_feature,
    nothing_changes,
    place_hold,
    price_of,
    priced_feature,
    quantities,
    spend,
    wallet_with_credits,
)

MICROSECOND = timedelta(microseconds=1)


def cost(at=AT, **by_code):
    return charge_for(quantities(**by_code), at=at).amount


def change(feature, **changes):
    change_feature(feature=feature, actor=finance(), at=AT, reason="test", **changes)
    price_list.forget()


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock of price lists, in seconds, to be moved by hand."""
    now = [1_000.0]
    monkeypatch.setattr(charges, "monotonic", lambda: now[0])
    return now


class TestChargeOf:
    @pytest.mark.parametrize("amount", [1, 1_000_000_000])
    def test_is_that_many_credits_of_any_type(self, amount):
        charge = charge_of(amount)
        assert (charge.amount, charge.types, charge.price_ids) == (amount, None, None)

    @pytest.mark.parametrize("amount", [-1, 0, 1_000_000_001])
    def test_refuses_an_amount_out_of_range(self, amount):
        with pytest.raises(InvalidAmount):
            charge_of(amount)


@pytest.mark.django_db
class TestChargeFor:
    @pytest.mark.parametrize(
        ("used", "credits"),
        [
            ({"insight_simple": 1}, 9),
            ({"analysis_advanced": 1}, 25),
            ({"report": 1}, 40),
            ({"dashboard_refresh": 4}, 12),
            ({"llm_input": 1_000}, 1),
            ({"llm_input": 1}, 1),
            ({"llm_input": 1_001}, 2),
            ({"llm_output": 334}, 2),
            ({"export_premium": 2}, 30),
            ({"llm_input": 2_000, "llm_output": 350}, 4),
            ({"llm_input": 4_808, "llm_output": 10}, 5),
        ],
    )
    def test_takes_what_the_demo_catalogue_says(self, used, credits):
        catalogue()
        assert cost(**used) == credits

    def test_rounds_up_once_for_all_quantities(self):
        catalogue()
        assert cost(llm_input=100, llm_output=100) == 1
        assert (cost(llm_input=100), cost(llm_output=100)) == (1, 1)

    @pytest.mark.parametrize(
        ("terms", "units", "credits"),
        [
            ({"unit_price": "0.000001"}, 1_000_000, 1),
            ({"unit_price": "0.000001"}, "1000000.000001", 2),
            ({"unit_price": 1, "per": 60}, 59, 1),
            ({"unit_price": 1, "per": 60}, 60, 1),
            ({"unit_price": 1, "per": 60}, "60.000001", 2),
            ({"unit_price": "2.5"}, 2, 5),
            ({"unit_price": "999999.999999", "per": 1_000_000_000}, 1_000_000_000, 1_000_000),
        ],
    )
    def test_is_exact_to_a_millionth_of_a_unit(self, terms, units, credits):
        priced_feature("work", **terms)
        assert cost(work=units) == credits

    def test_makes_whole_credits_of_thirds(self):
        # 3 × 1,000 s at a credit a minute: 16⅔ each, which no Decimal is; together exactly 50.
        for code in ("a", "b", "c"):
            priced_feature(code, 1, per=60)
        charge = charge_for(quantities(a=1_000, b=1_000, c=1_000), at=AT)
        assert charge.amount == 50
        spend(wallet_with_credits(award=50), charge)  # The books are checked after each test.
        assert cost(a=1_000, b=1_000, c="1000.000001") == 51

    def test_takes_a_flat_price_whatever_the_quantity(self):
        priced_feature("visit", 7, is_flat=True)
        assert {cost(visit=units) for units in (0, 1, "0.5", 1_000)} == {7}

    def test_keeps_the_versions_and_quantities_it_was_made_of(self):
        catalogue()
        charge = charge_for(quantities(llm_output=350, llm_input=2_000), at=AT)
        prices = FeaturePrice.objects.in_bulk(charge.price_ids)
        assert [prices[pk].feature.code for pk in charge.price_ids] == ["llm.input", "llm.output"]
        assert charge.quantities == [Decimal(2_000), Decimal(350)]
        assert charge.feature == "llm.input+llm.output"

    def test_takes_the_version_in_force_at_the_time(self):
        feature = priced_feature("report", 40)
        price_of(feature, 50, valid_from=AT + DAY)
        price_of(feature, 30, valid_from=AT + 2 * DAY)
        changed = [AT + DAY - MICROSECOND, AT + DAY, AT + 2 * DAY - MICROSECOND, AT + 2 * DAY]
        assert [cost(at, report=1) for at in changed] == [40, 50, 50, 30]

    def test_refuses_a_time_before_the_first_price(self):
        priced_feature("report", 40, valid_from=AT)
        with pytest.raises(UnknownFeature, match="'report'"):
            cost(AT - MICROSECOND, report=1)
        assert cost(AT, report=1) == 40

    def test_refuses_a_feature_that_is_unknown_or_has_no_price(self):
        make_feature("unpriced")
        priced_feature("known", 1)
        for code in ("unknown", "unpriced"):
            with pytest.raises(UnknownFeature, match=code):
                cost(known=1, **{code: 1})

    def test_takes_purchased_credits_only_if_any_feature_does(self):
        priced_feature("export", 15, requires_purchased=True)
        report = priced_feature("report", 40)
        assert charge_for(quantities(report=1), at=AT).types is None
        both = charge_for(quantities(report=1, export=1), at=AT)
        assert (both.amount, both.types) == (55, [CreditType.PURCHASE])
        change(report, requires_purchased=True)
        assert charge_for(quantities(report=1), at=AT).types == [CreditType.PURCHASE]

    @pytest.mark.parametrize("units", [-1, "-0.000001", "0.0000001", "1.0000001"])
    def test_refuses_a_quantity_below_zero_or_too_fine(self, units):
        priced_feature("work", 1)
        priced_feature("more", 100)
        with pytest.raises(InvalidAmount, match="six decimals"):
            cost(work=units, more=1)

    @pytest.mark.parametrize("units", [0, 1_000_000_001])
    def test_refuses_a_sum_out_of_range(self, units):
        priced_feature("work", 1)
        with pytest.raises(InvalidAmount, match="1 to 1,000,000,000"):
            cost(work=units)

    def test_refuses_nothing_at_all(self):
        with pytest.raises(InvalidAmount):
            cost()

    def test_refuses_more_codes_than_the_books_can_name(self):
        codes = [f"{letter}{'x' * 49}" for letter in "abcd"]
        for code in codes:
            priced_feature(code, 1)
        charge = charge_for(dict.fromkeys(codes[:3], Decimal(1)), at=AT)
        assert spend(wallet_with_credits(award=3), charge).amount == -3
        with pytest.raises(InvalidRequest, match="200 characters"):
            charge_for(dict.fromkeys(codes, Decimal(1)), at=AT)

    def test_is_the_same_request_however_a_number_is_written_and_whatever_the_price(self):
        feature = priced_feature("report", 40)
        price_of(feature, 50, valid_from=AT + DAY)
        early, late = (
            charge_for(quantities(report=units), at=at)
            for units, at in (("1.50", AT), ("1.5", AT + DAY))
        )
        assert (early.amount, late.amount) == (60, 75)
        assert early.fingerprint("spend") == late.fingerprint("spend")
        other = charge_for(quantities(report=2), at=AT)
        assert early.fingerprint("spend") != other.fingerprint("spend")


@pytest.mark.django_db
class TestRefuseWithdrawn:
    def test_lets_a_charge_be_whose_features_are_all_sold(self, django_assert_num_queries):
        catalogue()
        charge = charge_for(quantities(report=1, llm_input=1), at=AT)
        with django_assert_num_queries(0):
            refuse_withdrawn(charge)

    def test_refuses_a_new_charge_of_a_feature_that_is_sold_no_longer(self):
        priced_feature("known", 1)
        change(priced_feature("old", 1), is_active=False)
        charge = charge_for(quantities(known=1, old=1), at=AT)
        with pytest.raises(UnknownFeature, match="'old' is sold no longer"):
            refuse_withdrawn(charge, keys.digest(CALLER, "never used"))

    @pytest.mark.parametrize("act", [spend, place_hold])
    def test_lets_a_repeat_of_what_was_charged_before_pass(self, act):
        feature, wallet = priced_feature("old", 1), wallet_with_credits(award=10)
        charge = charge_for(quantities(old=1), at=AT)
        act(wallet, charge, key="once")
        change(feature, is_active=False)
        again = charge_for(quantities(old=1), at=AT)
        assert not act(wallet, again, key="once").is_new
        with nothing_changes(wallet), pytest.raises(UnknownFeature):
            act(wallet, again, key="twice")


@pytest.mark.django_db
class TestPriceList:
    def test_is_read_once_in_five_seconds(self, clock, django_assert_num_queries):
        catalogue()
        with django_assert_num_queries(2):
            cost(report=1)
        clock[0] += 5
        with django_assert_num_queries(0):
            cost(report=1)
        clock[0] += 0.001
        with django_assert_num_queries(2):
            cost(report=1)

    def test_is_at_most_five_seconds_old(self, clock):
        feature = priced_feature("report", 40)
        assert cost(report=1) == 40
        FeaturePrice.objects.create(
            feature=feature, unit_price=50, valid_from=BEGINNING + MINUTE
        )  # As another process sees it: nobody told this one.
        clock[0] += 5
        assert cost(report=1) == 40
        clock[0] += 0.001
        assert cost(report=1) == 50

    def test_is_forgotten_when_a_price_or_a_feature_changes(
        self, clock, django_capture_on_commit_callbacks
    ):
        feature = priced_feature("report", 40)
        assert cost(report=1) == 40
        with django_capture_on_commit_callbacks(execute=True):
            change_feature(
                feature=feature, actor=finance(), at=AT, reason="test", requires_purchased=True
            )
            assert charge_for(quantities(report=1), at=AT).types is None
        assert charge_for(quantities(report=1), at=AT).types == [CreditType.PURCHASE]

    def test_knows_a_new_feature_once_it_has_a_price(
        self, clock, django_capture_on_commit_callbacks
    ):
        with pytest.raises(UnknownFeature):
            cost(report=1)
        with django_capture_on_commit_callbacks(execute=True):
            feature = make_feature("report")
            add_price(
                feature=feature,
                unit_price=Decimal(40),
                per=1,
                is_flat=False,
                valid_from=BEGINNING,
                actor=None,
                at=AT,
            )
        assert cost(report=1) == 40

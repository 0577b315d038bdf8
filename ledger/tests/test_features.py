from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction

from audit.models import AuditEvent
from creditsite.errors import Conflict
from creditsite.testing import check_deferred
from ledger.errors import InvalidAmount
from ledger.models import Feature, FeaturePrice
from ledger.services import features
from ledger.tests.factories import AT, BEGINNING, DAY, MINUTE, SECOND, finance, make_feature

REASON = "the board decided"
TERMS = {"per": 1_000, "is_flat": False, "valid_from": BEGINNING, "at": AT, "reason": REASON}


def create(code="report", **more):
    facts = {"name": "Report", "unit": "report", "requires_purchased": False, "reason": REASON}
    return features.create_feature(code=code, at=AT, **({"actor": None} | facts | more))


def add_price(feature, unit_price=40, **more):
    terms = {"actor": None} | TERMS | more
    return features.add_price(feature=feature, unit_price=Decimal(str(unit_price)), **terms)


@pytest.mark.django_db
class TestCreateFeature:
    def test_makes_an_active_feature_and_records_it(self):
        actor = finance()
        feature = create(requires_purchased=True, actor=actor)
        feature.refresh_from_db()
        assert (feature.code, feature.is_active, feature.requires_purchased) == (
            "report",
            True,
            True,
        )
        event = AuditEvent.objects.get()
        assert (event.action, event.actor_id) == ("ledger.feature.created", actor.pk)
        assert (event.reason, event.target_id) == (REASON, str(feature.pk))
        assert event.after == {
            "name": "Report",
            "unit": "report",
            "requires_purchased": True,
            "is_active": True,
        }

    @pytest.mark.parametrize("code", ["", "Report", "a b", ".a", "a..b", "a+b", "é", "x" * 61])
    def test_refuses_a_code_that_is_not_plain(self, code):
        with pytest.raises(ValidationError):
            create(code)
        assert not Feature.objects.exists()

    def test_refuses_a_code_twice(self):
        create()
        with pytest.raises(Conflict):
            create()
        assert AuditEvent.objects.count() == 1


@pytest.mark.django_db
class TestChangeFeature:
    def change(self, feature, **changes):
        return features.change_feature(
            feature=feature, actor=finance(), at=AT, reason=REASON, **changes
        )

    def test_changes_what_it_is_told_and_records_before_and_after(self):
        feature = create()
        changed = self.change(feature, name="Large report", is_active=False)
        changed.refresh_from_db()
        assert (changed.name, changed.unit, changed.is_active) == ("Large report", "report", False)
        event = AuditEvent.objects.get(action="ledger.feature.changed")
        assert (event.before["name"], event.after["name"]) == ("Report", "Large report")
        assert (event.before["is_active"], event.after["is_active"]) == (True, False)
        assert event.reason == REASON

    def test_never_changes_the_code(self):
        feature = create()
        self.change(feature, code="other")
        assert Feature.objects.get().code == "report"

    def test_refuses_a_value_that_is_not_allowed(self):
        feature = create()
        with pytest.raises(ValidationError):
            self.change(feature, name="x" * 121)
        assert Feature.objects.get().name == "Report"


@pytest.mark.django_db
class TestAddPrice:
    def test_adds_a_version_and_records_it(self):
        actor, feature = finance(), make_feature("report")
        price = add_price(feature, "2.5", actor=actor)
        price.refresh_from_db()
        assert (price.unit_price, price.per, price.created_by) == (Decimal("2.5"), 1_000, actor)
        event = AuditEvent.objects.get(action="ledger.price.added")
        assert (event.actor_id, event.reason) == (actor.pk, REASON)
        assert event.after == {
            "feature": "report",
            "unit_price": "2.5",
            "per": 1_000,
            "is_flat": False,
            "valid_from": BEGINNING.isoformat(),
        }

    @pytest.mark.parametrize("valid_from", [BEGINNING, AT - DAY, AT, AT + SECOND, AT + DAY])
    def test_lets_the_first_price_start_at_any_time(self, valid_from):
        assert add_price(make_feature("report"), valid_from=valid_from).valid_from == valid_from

    @pytest.mark.parametrize(
        "valid_from", [BEGINNING + DAY, AT, AT + MINUTE - timedelta(microseconds=1)]
    )
    def test_refuses_a_later_price_less_than_a_minute_ahead(self, valid_from):
        feature = make_feature("report")
        add_price(feature)
        with pytest.raises(InvalidAmount, match="a minute ahead"):
            add_price(feature, valid_from=valid_from)
        assert add_price(feature, valid_from=AT + MINUTE).pk

    def test_refuses_two_prices_of_one_instant(self):
        feature = make_feature("report")
        add_price(feature, valid_from=AT + DAY)
        with pytest.raises(Conflict):
            add_price(feature, valid_from=AT + DAY)
        assert add_price(make_feature("other"), valid_from=AT + DAY).pk

    @pytest.mark.parametrize("unit_price", [-1, "-0.000001", "0.0000001", "1000000000000"])
    def test_refuses_a_price_out_of_range_or_too_fine(self, unit_price):
        feature = make_feature("report")
        with pytest.raises(InvalidAmount):
            add_price(feature, unit_price)
        assert not FeaturePrice.objects.exists()

    @pytest.mark.parametrize("unit_price", [0, "0.000001", "999999999999.999999"])
    def test_keeps_a_price_to_the_millionth(self, unit_price):
        price = add_price(make_feature("report"), unit_price)
        price.refresh_from_db()
        assert price.unit_price == Decimal(str(unit_price))

    @pytest.mark.parametrize("per", [-1, 0, 1_000_000_001])
    def test_refuses_a_number_of_units_out_of_range(self, per):
        with pytest.raises(InvalidAmount):
            add_price(make_feature("report"), per=per)


@pytest.mark.django_db
class TestPricesInTheDatabase:
    @pytest.mark.parametrize(
        "change",
        [
            lambda: FeaturePrice.objects.update(unit_price=1),
            lambda: FeaturePrice.objects.get().save(),
            lambda: FeaturePrice.objects.all().delete(),
            lambda: connection.cursor().execute("TRUNCATE ledger_featureprice"),
        ],
        ids=["update", "save", "delete", "truncate"],
    )
    def test_never_change(self, change):
        price = add_price(make_feature("report"))
        check_deferred()
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            change()
        assert FeaturePrice.objects.get().unit_price == price.unit_price

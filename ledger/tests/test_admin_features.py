"""The price list, as Admin and Finance keep it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from creditsite.testing.people import as_role
from ledger.models import Feature, FeaturePrice
from ledger.tests.factories import AT, BEGINNING, catalogue, make_feature, price_of, priced_feature
from ledger.tests.pages import REASON, errors, opened, page_of, recorded, resent, said, sent, text

LIST = "/admin/ledger/feature/"
NEW = {"code": "export.basic", "name": "Basic export", "unit": "export", "reason": REASON}
FUTURE = "2031-01-01T09:30"
PRICE = {"unit_price": "0.25", "per": "1000", "valid_from": FUTURE}
GROUPS = ["Admin", "Finance", "Support", "Auditor"]


@pytest.mark.django_db
class TestFeatureList:
    def test_shows_the_price_of_now(self):
        catalogue()
        make_feature("unpriced")
        price_of(
            Feature.objects.get(code="report"),
            55,
            valid_from=timezone.now() + timedelta(days=1),
            at=timezone.now(),
        )
        page = text(as_role("Support").get(LIST))
        for price in ["40 per report", "3 per 1,000 × token", "none yet"]:
            assert price in page
        assert "55 per report" not in page

    def test_costs_the_same_for_one_and_three(self, django_assert_num_queries):
        client = as_role("Finance")
        for number in range(2):
            priced_feature(f"f{number}", 1)
            with django_assert_num_queries(7):
                client.get(LIST)
            priced_feature(f"g{number}", 1)


@pytest.mark.django_db
class TestAddFeature:
    @pytest.mark.parametrize("group", ["Admin", "Finance"])
    def test_adds_through_the_service_with_the_reason(self, group):
        as_role(group).post(f"{LIST}add/", NEW | {"requires_purchased": "on"})
        feature = Feature.objects.get()
        assert (feature.code, feature.requires_purchased, feature.is_active) == (
            "export.basic",
            True,
            True,
        )
        assert recorded() == [("ledger.feature.created", REASON)]

    @pytest.mark.parametrize("group", ["Support", "Auditor", ""])
    @pytest.mark.parametrize("is_superuser", [False, True])
    def test_is_closed_without_the_permission(self, group, is_superuser):
        client = as_role(group, is_superuser=is_superuser)
        assert client.get(f"{LIST}add/").status_code == 403
        assert client.post(f"{LIST}add/", NEW).status_code == 403
        assert not Feature.objects.exists()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"code": "Not Plain"},
            {"code": ""},
            {"reason": "short"},
            {"name": ""},
            {"unit": "x" * 61},
        ],
    )
    def test_says_what_is_wrong(self, wrong):
        page = as_role("Finance").post(f"{LIST}add/", NEW | wrong)
        assert page.context["adminform"].form.errors
        assert not Feature.objects.exists()

    def test_refuses_a_code_that_is_taken(self):
        make_feature("export.basic")
        page = as_role("Finance").post(f"{LIST}add/", NEW)
        assert page.context["adminform"].form.errors.keys() == {"code"}


@pytest.mark.django_db
class TestChangeFeature:
    def test_changes_all_but_the_code(self):
        feature = priced_feature("report", 40)
        data = {"code": "other", "name": "New", "unit": "page", "reason": REASON}
        as_role("Finance").post(page_of(feature), data)
        feature.refresh_from_db()
        assert (feature.code, feature.name, feature.unit) == ("report", "New", "page")
        assert feature.is_active is False
        assert recorded() == [("ledger.feature.changed", REASON)]

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    @pytest.mark.parametrize("is_superuser", [False, True])
    def test_lets_others_look_only(self, group, is_superuser):
        feature = priced_feature("report", 40)
        client = as_role(group, is_superuser=is_superuser)
        page = client.get(page_of(feature))
        assert "40 per unit" in text(page)
        assert 'name="_save"' not in text(page)
        assert client.post(page_of(feature), NEW).status_code == 403
        assert not AuditEvent.objects.filter(action="ledger.feature.changed").exists()

    def test_is_never_deleted(self):
        feature = make_feature("report")
        client = as_role("Admin", is_superuser=True)
        assert client.post(page_of(feature, "delete"), {"post": "yes"}).status_code == 403

    def test_shows_every_version_of_its_price(self):
        feature = priced_feature("report", 40)
        price_of(feature, 45, valid_from=AT + timedelta(days=1))
        price_of(feature, 50, valid_from=timezone.now() + timedelta(days=9), at=timezone.now())
        prices = as_role("Finance").get(page_of(feature)).context["prices"]
        assert [(row["says"], row["state"]) for row in prices] == [
            ("50 per unit", "to come"),
            ("45 per unit", "in force"),
            ("40 per unit", "past"),
        ]


@pytest.mark.django_db
class TestAddPrice:
    def add(self, feature, group="Finance", **typed):
        return sent(as_role(group), page_of(feature, "add-price"), **(PRICE | typed))

    @pytest.mark.parametrize("group", ["Admin", "Finance"])
    def test_adds_a_version(self, group):
        feature = priced_feature("llm.input", 1, per=1000)
        page = self.add(feature, group)
        assert said(page) == ["llm.input costs 0.25 per 1,000 × unit from 2031-01-01 09:30 UTC."]
        price = FeaturePrice.objects.latest("valid_from")
        assert (price.unit_price, price.per, price.is_flat) == (Decimal("0.25"), 1000, False)
        assert recorded() == [("ledger.price.added", REASON)]

    def test_starts_at_least_a_minute_ahead(self):
        feature = priced_feature("report", 40)
        page = self.add(feature, valid_from="2020-01-01T00:00")
        assert errors(page) == ["A new price starts at least a minute ahead."]
        assert feature.prices.count() == 1

    def test_lets_a_first_price_start_in_the_past(self):
        feature = make_feature("report")
        self.add(feature, valid_from="1970-01-01T00:00", is_flat="on", unit_price="40")
        (price,) = feature.prices.all()
        assert (price.valid_from, price.is_flat) == (BEGINNING, True)

    @pytest.mark.parametrize(
        ("name", "typed"),
        [
            ("unit_price", "-1"),
            ("unit_price", "1e3"),
            ("unit_price", "0.1234567"),
            ("unit_price", "１２"),
            ("unit_price", "1,5"),
            ("unit_price", "5\n"),
            ("unit_price", "NaN"),
            ("per", "0"),
            ("per", "1,000"),
            ("valid_from", "soon"),
            ("valid_from", ""),
        ],
    )
    def test_says_what_is_wrong(self, name, typed):
        feature = make_feature("report")
        page = self.add(feature, **{name: typed})
        assert page.context["form"].errors.keys() == {name}
        assert not feature.prices.exists()

    def test_adds_one_however_often_it_is_sent(self):
        feature, client = make_feature("report"), as_role("Finance")
        data = opened(client, page_of(feature, "add-price")) | PRICE
        resent(client, page_of(feature, "add-price"), data)
        page = resent(client, page_of(feature, "add-price"), data)
        assert errors(page) == ["A price of this feature starts at that instant already."]
        assert feature.prices.count() == 1

    @pytest.mark.parametrize("group", ["Support", "Auditor", ""])
    @pytest.mark.parametrize("is_superuser", [False, True])
    def test_is_closed_without_the_permission(self, group, is_superuser):
        feature = make_feature("report")
        data = opened(as_role("Finance"), page_of(feature, "add-price")) | PRICE
        client = as_role(group, is_superuser=is_superuser)
        if group:
            assert client.get(page_of(feature)).context["page_actions"] == []
        assert client.get(page_of(feature, "add-price")).status_code == 403
        assert resent(client, page_of(feature, "add-price"), data).status_code == 403
        assert not feature.prices.exists()

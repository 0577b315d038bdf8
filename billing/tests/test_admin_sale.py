"""The pages of packages and plans, rates and discounts, promotions and their uses."""

from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import Approval
from billing.admin.offer_forms import NewOfferForm
from billing.admin.promotion_forms import NewPromotionForm
from billing.admin.rate_forms import SetDiscountsForm
from billing.models import CreditRate, Discounts, Offer, Promotion, Redemption
from billing.queries.offers import newest_version
from billing.queries.rates import discounts_at
from billing.services.offers import Price, terms_of
from billing.services.redemptions import redeem_code
from billing.tests.sale import package, plan, promotion, reserved
from creditsite.testing.people import as_role
from ledger.tests.factories import AT, CustomerFactory, set_credit_settings
from ledger.tests.pages import REASON, errors, opened, page_of, recorded, resent, said, sent, text

OFFERS = "/admin/billing/offer/"
RATES = "/admin/billing/creditrate/"
DISCOUNTS = f"{RATES}set-discounts/"
PROMOTIONS = "/admin/billing/promotion/"
ID = {"request_id": "01a2b3c4-0000-7000-8000-000000000000"}
NEW_OFFER = {"code": "new", "kind": "plan", "name": "New", "credits": "400"}
NEW_PROMOTION = {"code": "summer", "name": "In summer", "starts_at": "2026-06-01T00:00"}


@pytest.mark.django_db
class TestOffers:
    @pytest.mark.parametrize("group", ["Finance", "Auditor"])
    def test_shows_all_staff_what_is_sold_with_the_margin_of_one_currency(self, group):
        offer = plan(credits=400, prices=[Price("zar", "month", 4_800), Price("usd", "month", 500)])
        client = as_role(group)
        page = text(client.get(OFFERS))
        assert "48.00 ZAR a month" in page
        assert page.count("84.8 %") == 1
        response = client.get(page_of(offer))
        acts = [act["name"] for act in response.context["page_actions"]]
        assert acts == (["edit", "retire"] if group == "Finance" else [])
        assert [price["margin"] for price in response.context["newest"]["prices"]] == [
            "–",
            "84.8 %",
        ]

    def test_asks_the_same_however_many_there_are(self, django_assert_max_num_queries):
        client = as_role("Finance")
        for number in range(6):
            package(f"p-{number}")
        with django_assert_max_num_queries(12):
            client.get(OFFERS)

    def test_puts_one_on_sale(self):
        response = sent(
            as_role("Finance"),
            f"{OFFERS}add/",
            **NEW_OFFER,
            prices="ZAR 48.00 480.00\r\n\r\nUSD 5.00",
            features="Email support\r\nReports",
        )
        assert said(response) == ["new is on sale."]
        version = newest_version(Offer.objects.get())
        assert terms_of(version).prices == [
            Price("usd", "month", 500),
            Price("zar", "month", 4_800),
            Price("zar", "year", 48_000),
        ]
        assert version.features == ["Email support", "Reports"]
        assert recorded() == [("billing.offer.created", REASON)]

    @pytest.mark.parametrize(
        ("typed", "says"),
        [
            ({"prices": "USD 1.001"}, "Line 1: USD has 2 decimal places"),
            ({"prices": "USD 0"}, "more than nothing"),
            ({"prices": "USD 1\nUSD 2"}, "one price for a currency"),
            ({"code": "New"}, "Lower-case letters"),
            ({"code": "small"}, "already"),
            ({"features": "a\na"}, "each once"),
        ],
    )
    def test_refuses_what_could_not_be_sold_and_keeps_what_was_typed(self, typed, says):
        package()
        given = {**NEW_OFFER, "reason": REASON, "prices": "USD 1.00", **typed}
        response = resent(as_role("Finance"), f"{OFFERS}add/", {**given, "position": "0"} | ID)
        assert says in " ".join(errors(response))
        assert response.context["form"]["name"].value() == "New"
        assert Offer.objects.count() == 1

    @pytest.mark.parametrize(
        ("typed", "field", "says"),
        [
            ({"prices": "48.00"}, "prices", "Line 1 does not begin with a currency"),
            ({"prices": "USD 1.00\nZAR"}, "prices", "ZAR has one price or two"),
            ({"prices": "USD 1.00 2.00 3.00"}, "prices", "USD has one price or two"),
            ({"prices": "USD 1.00 2.00", "kind": "package"}, "prices", "USD has one price."),
            ({"prices": "USD 1,00"}, "prices", "Line 1: It is not an amount"),
            ({"prices": "JPY 1.5"}, "prices", "JPY has 0 decimal places"),
            ({"prices": "USD 1.00\u202e"}, "prices", "U+202E"),
            ({"prices": ""}, "prices", "required"),
            ({"credits": "0"}, "credits", "from 1 to"),
            ({"credits": "1,000"}, "credits", "whole number"),
            ({"kind": "gift"}, "kind", "valid choice"),
            ({"reason": ""}, "reason", "required"),
        ],
    )
    def test_says_beside_the_field_what_is_wrong_with_it(self, typed, field, says):
        given = {**NEW_OFFER, "reason": REASON, "prices": "USD 1.00", "position": "0"}
        form = NewOfferForm(given | ID | typed, objects=[])
        assert list(form.errors) == [field]
        assert says in form.errors[field][0]

    def test_makes_a_version_of_what_is_shown(self):
        offer = plan()
        client, page = as_role("Admin"), page_of(offer, "edit")
        shown = opened(client, page)
        assert shown["prices"] == "USD 19.99 199.90"
        response = resent(client, page, shown | {"credits": "120"})
        assert said(response) == ["monthly is sold as version 2."]
        assert errors(resent(client, page, shown | {"credits": "130"}))[0].startswith(
            "It has changed"
        )
        assert newest_version(offer).credits == 120

    def test_takes_it_off_sale_and_puts_it_back(self):
        offer, client = package(), as_role("Finance")
        assert said(sent(client, page_of(offer, "retire"))) == ["small is off sale."]
        assert said(sent(client, page_of(offer, "restore"))) == ["small is on sale again."]
        acts = client.get(page_of(offer)).context["page_actions"]
        assert [act["name"] for act in acts] == ["edit", "retire"]


@pytest.mark.django_db
class TestRates:
    @pytest.mark.parametrize("group", ["Finance", "Auditor"])
    def test_shows_all_staff_what_credits_cost(self, group):
        CreditRate.objects.create(currency="zar", price_per_credit="0.13", changed_at=AT)
        page = text(as_role(group).get(RATES))
        assert "85.9 %" in page
        assert "0.1105" in page
        assert ("Set the discounts" in page) == (group == "Finance")

    def test_sets_a_rate_and_takes_it_back(self):
        client = as_role("Finance")
        typed = {"currency": "eur", "price_per_credit": "0.09"}
        assert said(sent(client, f"{RATES}add/", **typed)) == ["From now on: 0.09 EUR a credit."]
        typed["price_per_credit"] = ""
        assert said(sent(client, f"{RATES}add/", **typed)) == ["From now on: no credits in EUR."]
        assert CreditRate.objects.count() == 2
        assert errors(sent(client, f"{RATES}add/", currency="usd", price_per_credit="1")) == [
            "The price in USD is in the settings."
        ]

    def test_sets_the_discounts(self):
        client = as_role("Finance")
        shown = opened(client, DISCOUNTS)
        assert shown["volume"] == "1000 5\n5000 10\n10000 15"
        typed = {"volume": "500 2.5\r\n2000 7.25", "subscribers": "12.5"}
        assert said(resent(client, DISCOUNTS, shown | typed)) == [
            "The discounts count from now on."
        ]
        kept = Discounts.objects.get()
        assert kept.volume[1] == {"from": 2_000, "basis_points": 725}
        assert kept.subscriber_basis_points == 1_250
        assert errors(resent(client, DISCOUNTS, shown | typed | {"subscribers": "1"}))
        assert "2.5 % from 500 credits" in text(client.get(RATES))

    @pytest.mark.parametrize("volume", ["500", "500 5 5", "1 5", "500 101", "x 5", "5 5.001"])
    def test_refuses_lines_that_are_no_tiers(self, volume):
        given = {"volume": volume, "subscribers": "1", "version": "0", "reason": REASON}
        form = SetDiscountsForm(given | ID, objects=[discounts_at(AT)])
        assert list(form.errors) == ["volume"]


@pytest.mark.django_db
class TestPromotions:
    @pytest.mark.parametrize(
        ("typed", "what"),
        [
            ({"kind": "percentage", "percentage": "12.5"}, "12.5 % off"),
            ({"kind": "fixed", "amounts": "USD 5.00\nJPY 700"}, "700 JPY or 5.00 USD off"),
            ({"kind": "bonus", "credits": "50", "limit_total": "10"}, "50 bonus credits"),
            ({"kind": "grant", "credits": "50", "limit_total": "10"}, "50 credits"),
        ],
    )
    def test_makes_each_kind_and_shows_it(self, typed, what):
        client = as_role("Finance")
        response = sent(client, f"{PROMOTIONS}add/", **NEW_PROMOTION, **typed)
        assert said(response) == ["SUMMER is made."]
        found = Promotion.objects.get()
        assert what in text(client.get(PROMOTIONS))
        assert f"SUMMER: {what}" in text(client.get(page_of(found)))
        assert recorded() == [("billing.promotion.created", REASON)]

    @pytest.mark.parametrize(
        ("typed", "field"),
        [
            ({"percentage": ""}, None),
            ({"percentage": "100.01"}, "percentage"),
            ({"percentage": "5", "credits": "5"}, None),
            ({"percentage": "5", "code": "a b"}, None),
            ({"percentage": "5", "code": "spring"}, "code"),
            ({"percentage": "5", "ends_at": "2026-05-01T00:00"}, None),
            ({"percentage": "5", "offers": ["none"]}, "offers"),
            ({"kind": "fixed", "amounts": "USD 5 6"}, "amounts"),
            ({"kind": "fixed", "amounts": "USD 5\nUSD 6"}, "amounts"),
            ({"kind": "fixed", "amounts": "USD 0"}, "amounts"),
            ({"kind": "grant", "credits": "5", "limit_per_user": "2"}, None),
        ],
    )
    def test_refuses_what_could_not_be_beside_the_field(self, typed, field):
        promotion()
        given = {**NEW_PROMOTION, "kind": "percentage", "limit_per_user": "1", "reason": REASON}
        form = NewPromotionForm(given | ID | typed, objects=[])
        assert list(form.errors) == [field or "__all__"]

    def test_waits_for_a_second_person_with_many_credits(self):
        typed = {**NEW_PROMOTION, "kind": "grant", "credits": "5"}
        assert "second person" in said(sent(as_role("Finance"), f"{PROMOTIONS}add/", **typed))[0]
        approval = Approval.objects.get()
        page = text(as_role("Admin").get(page_of(approval)))
        assert "Make the promotion SUMMER" in page

    def test_sent_twice_asks_once(self):
        client, page = as_role("Finance"), f"{PROMOTIONS}add/"
        typed = opened(client, page) | NEW_PROMOTION | {"kind": "grant", "credits": "5"}
        for _ in range(2):
            resent(client, page, typed)
        assert Approval.objects.count() == 1

    def test_changes_until_when_and_how_often(self):
        found = promotion(limit_total=5)
        client, page = as_role("Finance"), page_of(found, "edit")
        response = sent(client, page, limit_total="7", ends_at="2027-01-01T00:00")
        assert said(response) == ["SPRING is changed."]
        found.refresh_from_db()
        assert (found.limit_total, f"{found.ends_at:%Y-%m-%d}") == (7, "2027-01-01")
        assert opened(client, page)["ends_at"] == "2027-01-01T00:00:00"
        shown = opened(client, page)
        sent(client, page, limit_total="8")
        assert errors(resent(client, page, shown | {"limit_total": "9"}))[0].startswith("It has")

    def test_ends_one_for_good(self):
        found, client = promotion(), as_role("Finance")
        assert said(sent(client, page_of(found, "end"))) == ["SPRING has ended."]
        response = client.get(page_of(found))
        assert response.context["page_actions"] == []
        assert response.context["state"] == "ended"

    def test_shows_what_came_of_it(self):
        promotion("grant")
        user = CustomerFactory(email="taker@example.com")
        redeem_code(code="spring", user=user, caller="x", at=timezone.now())
        client = as_role("Support")
        page = text(client.get(page_of(Promotion.objects.get())))
        assert "taker@example.com" in page
        page = text(client.get("/admin/billing/redemption/?q=SPRING"))
        assert "taker@example.com" in page
        assert client.get(page_of(Redemption.objects.get())).status_code == 200

    def test_takes_the_same_queries_however_often_it_was_used(self, django_assert_max_num_queries):
        found, client = promotion(limit_per_user=None), as_role("Support")
        for number in range(8):
            reserved(found, key=f"payment:{number}")
        with django_assert_max_num_queries(12):
            client.get(page_of(found))
        with django_assert_max_num_queries(12):
            client.get("/admin/billing/redemption/")


@pytest.mark.django_db
def test_the_price_of_the_settings_is_the_first():
    set_credit_settings(price_per_credit=Decimal("0.25"), currency="EUR")
    assert as_role("Support").get(RATES).context["currencies"] == ["EUR"]

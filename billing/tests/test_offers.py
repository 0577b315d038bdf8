"""Packages and plans, and what was sold once."""

from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from audit.models import AuditEvent
from billing.choices import OfferKind
from billing.errors import InvalidOffer, StaleVersion
from billing.models import Offer, OfferPrice, OfferVersion
from billing.queries.offers import effective_rate, margin_of, newest_version, sold
from billing.services.catalogue_file import CATALOGUE
from billing.services.offers import (
    Price,
    change_offer,
    create_offer,
    restore_offer,
    retire_offer,
    terms_of,
)
from billing.tests.sale import package, plan, terms
from creditsite.errors import Conflict, CreditsiteError
from creditsite.testing.races import race
from ledger.tests.factories import AT, finance

WHY = {"at": AT, "reason": "as it was decided"}


def change(offer, version=1, position=1, **more):
    changes = {"terms": terms(**more), "position": position, "version": version}
    return change_offer(offer=offer, actor=None, **changes, **WHY)


@pytest.mark.django_db
class TestCreateOffer:
    def test_makes_the_first_version_and_records_it(self):
        actor = finance()
        offer = create_offer(
            code="small", kind=OfferKind.PACKAGE, position=7, terms=terms(), actor=actor, **WHY
        )
        (found,) = sold()
        assert (found.offer, found.version.number, found.version.created_by) == (offer, 1, actor)
        assert [str(price) for price in found.prices] == ["small no. 1, usd"]
        event = AuditEvent.objects.get(action="billing.offer.created")
        assert (event.actor_id, event.reason) == (actor.pk, "as it was decided")
        assert event.after == {
            "kind": "package",
            "position": 7,
            "version": 1,
            "name": "Small",
            "credits": 100,
            "features": ["E-mail"],
            "rollover_cap": None,
            "prices": [["usd", "", 1_000]],
        }

    def test_refuses_a_code_that_is_taken(self):
        package()
        with pytest.raises(Conflict):
            plan("small")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": " "},
            {"name": "x" * 81},
            {"name": "a\u202eb"},
            {"credits": 0},
            {"credits": 1_000_000_001},
            {"credits": 5.0},
            {"credits": True},
            {"features": ["a", "a"]},
            {"features": [""]},
            {"features": [str(number) for number in range(21)]},
            {"prices": []},
            {"prices": [Price("usd", "", 1), Price("usd", "", 2)]},
            {"prices": [Price("xxx", "", 1)]},
            {"prices": [Price("usd", "month", 1)]},
            {"prices": [Price("usd", "", 0)]},
            {"prices": [Price("usd", "", -1)]},
            {"prices": [Price("usd", "", 10**12 + 1)]},
        ],
        ids=str,
    )
    def test_refuses_what_could_not_be_sold(self, wrong):
        with pytest.raises(CreditsiteError) as refusal:
            package(**wrong)
        assert refusal.value.status == 400
        assert not Offer.objects.exists()

    def test_refuses_a_plan_that_is_paid_once(self):
        with pytest.raises(InvalidOffer):
            plan(prices=[Price("usd", "", 100)])


@pytest.mark.django_db
class TestChangeOffer:
    def test_makes_a_version_and_leaves_the_one_before(self):
        offer = package()
        old = newest_version(offer)
        version = change(offer, credits=120, prices=[Price("eur", "", 900), Price("usd", "", 999)])
        assert (version.number, newest_version(offer)) == (2, version)
        assert terms_of(old) == terms()
        assert [price.amount_minor for price in sold()[0].prices] == [900, 999]
        event = AuditEvent.objects.get(action="billing.offer.changed")
        assert event.before["prices"] == [["usd", "", 1_000]]
        assert event.after["prices"] == [["eur", "", 900], ["usd", "", 999]]

    def test_moves_it_in_the_list_without_a_version(self):
        offer = package()
        package("other")
        change(offer, position=9)
        assert [found.offer.code for found in sold()] == ["other", "small"]
        assert OfferVersion.objects.filter(offer=offer).count() == 1

    def test_refuses_a_form_that_is_out_of_date_and_one_that_says_nothing(self):
        offer = package()
        with pytest.raises(Conflict, match="Nothing would change"):
            change(offer)
        change(offer, credits=120)
        with pytest.raises(StaleVersion):
            change(offer, credits=130)
        assert newest_version(offer).credits == 120

    def test_of_two_at_once_changes_one(self, ledger_db):
        offer = package()
        outcomes = race(*(lambda n=n: change(offer, credits=n) for n in (110, 120)))
        assert sorted(outcomes) == ["OfferVersion", "StaleVersion"]

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE billing_offerversion SET credits = 1",
            "DELETE FROM billing_offerprice",
            "UPDATE billing_offerprice SET amount_minor = 1",
            "UPDATE billing_offer SET code = 'other'",
            "TRUNCATE billing_offer CASCADE",
        ],
    )
    def test_is_the_only_way(self, change):
        package()
        connection.check_constraints()  # What is to be checked at commit stops a TRUNCATE, too.
        with pytest.raises(ProgrammingError, match="never changes"), transaction.atomic():
            connection.cursor().execute(change)


@pytest.mark.django_db
class TestRetireOffer:
    def test_takes_it_off_sale_until_it_is_restored(self):
        offer = package()
        retire_offer(offer=offer, actor=finance(), **WHY)
        assert sold() == []
        with pytest.raises(Conflict):
            retire_offer(offer=offer, actor=None, **WHY)
        restore_offer(offer=offer, actor=None, **WHY)
        assert [found.offer for found in sold()] == [offer]
        with pytest.raises(Conflict):
            restore_offer(offer=offer, actor=None, **WHY)
        actions = AuditEvent.objects.filter(target_type="billing.offer").order_by("pk")
        assert [event.action.rpartition(".")[2] for event in actions] == [
            "created",
            "retired",
            "restored",
        ]


@pytest.mark.django_db
class TestMargin:
    def test_is_of_one_currency_alone_and_of_all_credits_of_a_year(self):
        zar = [Price("zar", "month", 4_800), Price("zar", "year", 48_000), Price("usd", "month", 1)]
        plan(credits=400, prices=zar)
        (found,) = sold()
        cost = (Decimal("0.0183"), "ZAR")
        assert [margin_of(price, *cost) for price in found.prices] == [
            None,
            Decimal("84.8"),
            Decimal("81.7"),
        ]
        assert [str(effective_rate(price)) for price in found.prices[1:]] == [
            "0.120000",
            "0.100000",
        ]


@pytest.mark.django_db
class TestLoadCatalogue:
    def test_puts_on_sale_what_the_seeds_promise(self, capsys):
        call_command("load_catalogue")
        assert "12 made: credits-100" in capsys.readouterr().out
        found = {
            sale.offer.code: (
                sale.version.credits,
                {(p.currency, p.interval): p.amount_minor for p in sale.prices},
            )
            for sale in sold()
        }
        for code, credits, month in [
            ("starter", 200, 1_999),
            ("professional", 600, 4_999),
            ("enterprise", 1_500, 9_999),
        ]:
            prices = {("usd", "month"): month, ("usd", "year"): 10 * month}
            assert found[code] == (credits, prices)
        for code, credits, least, most in [
            ("explorer", 400, 3_200, 5_200),
            ("growth", 2_000, 16_000, 26_000),
            ("pro", 7_000, 56_000, 91_000),
            ("enterprise-20k", 20_000, 160_000, 260_000),
        ]:
            assert found[code][0] == credits
            assert least <= found[code][1]["zar", "month"] <= most
            # A year, too, is within what a credit is worth there.
            assert 12 * least <= found[code][1]["zar", "year"] <= 12 * most
        professional = next(sale.version for sale in sold() if sale.offer.code == "professional")
        assert professional.features == [
            "Advanced automation tools",
            "Priority support",
            "API access",
        ]

    def test_changes_nothing_that_is_there(self, capsys):
        call_command("load_catalogue")
        offer = Offer.objects.get(code="starter")
        change(offer, prices=[Price("usd", "month", 1)])
        retire_offer(offer=offer, actor=None, **WHY)
        events = AuditEvent.objects.count()
        call_command("load_catalogue")
        assert "0 made." in capsys.readouterr().out
        assert (AuditEvent.objects.count(), newest_version(offer).number) == (events, 2)

    @pytest.mark.parametrize(
        ("was", "becomes", "says"),
        [
            ('"credits": 200', '"credits": 0', "starter: An offer has 1 to"),
            ('"credits": 200', '"credits": "200"', "starter: An offer has 1 to"),
            ('"19.99"', '"19.999"', "starter: USD has 2 decimal places"),
            ('"19.99"', "19.99", "starter: "),
            ('"name": "Starter",', "", "starter: name is missing"),
            ('"code": "starter"', '"code": "Starter"', "Starter: Lower-case letters"),
            ('"currency": "zar", "price_per_credit": "0.13"', '"currency": "zar"', "zar: price"),
            ('"0.13"', '"dear"', "zar: "),
            ('"offers"', '"goods"', "a catalogue is lists"),
            ("[", "", "not valid JSON"),
        ],
    )
    def test_says_what_of_a_file_is_wrong_and_loads_nothing_of_it(
        self, tmp_path, was, becomes, says
    ):
        text = CATALOGUE.read_text()
        assert was in text
        path = tmp_path / "catalogue.json"
        path.write_text(text.replace(was, becomes, 1))
        with pytest.raises(CommandError, match=says):
            call_command("load_catalogue", str(path))
        assert not OfferPrice.objects.exists()

    def test_says_that_there_is_no_such_file(self, tmp_path):
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("load_catalogue", str(tmp_path / "none.json"))

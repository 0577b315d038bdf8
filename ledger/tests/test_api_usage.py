from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import TeamMembership, User
from accounts.tests.factories import TeamFactory
from creditsite.site.demo.catalogue import make_catalogue
from ledger.models import CreditTransaction, Feature
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.charges import price_list
from ledger.tests.api import as_service, as_user, poor_user, refused, wallet_id_of, wrong_fields
from ledger.tests.books import award

PATH = "credits/usage/batch"


@pytest.fixture
def user(db) -> User:
    """Somebody with 100 credits, where the demo's features are sold."""
    make_catalogue(timezone.now())
    user = poor_user()
    award(wallet_id_of(user), 100)
    return user


def event(key: str, **more) -> dict:
    return {"idempotency_key": key, "feature": "insight.simple", "quantity": 1, **more}


def results(response) -> list[dict]:
    assert response.status_code == 200
    return response.json()["results"]


def outcomes(response) -> list[tuple]:
    return [
        (result["idempotency_key"], result["status"], result.get("code"))
        for result in results(response)
    ]


@pytest.mark.django_db
class TestRecordUsage:
    def test_charges_each_event(self, user):
        body = {"events": [event("a", reference_id="r"), event("b", quantity=2)]}
        first, second = results(as_user(user).post(PATH, body))
        assert first.keys() == {"idempotency_key", "status", "transaction_id"}
        assert (first["idempotency_key"], first["status"]) == ("a", "charged")
        stored = CreditTransaction.objects.get(pk=first["transaction_id"])
        assert (stored.amount, stored.feature, stored.reference_id, stored.actor_id) == (
            -9,
            "insight.simple",
            "r",
            user.pk,
        )
        assert CreditTransaction.objects.get(pk=second["transaction_id"]).amount == -18

    def test_charges_a_repeat_once(self, user):
        body = {"events": [event("a"), event("b")]}
        caller = as_user(user)
        first = results(caller.post(PATH, body))
        again = results(caller.post(PATH, body))
        assert [result["status"] for result in again] == ["replayed", "replayed"]
        assert [result["transaction_id"] for result in again] == [
            result["transaction_id"] for result in first
        ]

    def test_knows_a_key_that_is_named_twice_at_once(self, user):
        body = {"events": [event("a"), event("a"), event("a", quantity=2)]}
        assert outcomes(as_user(user).post(PATH, body)) == [
            ("a", "charged", None),
            ("a", "replayed", None),
            ("a", "refused", "idempotency_key_reused"),
        ]

    def test_lets_one_bad_event_harm_no_other(self, user):
        events = [
            event("ok"),
            event("unknown", feature="no.such"),
            event("free", quantity=0),
            event("much", quantity=1_000),
            event("other", user_id=poor_user().pk),
            event("negative", quantity=-1),
            event("text", quantity="1"),
            event("more", colour="red"),
            event("late", occurred_at="yesterday"),
            event("future", occurred_at=(timezone.now() + timedelta(hours=1)).isoformat()),
            event("a b"),
            {"feature": "insight.simple", "quantity": 1},
            "no event",
            None,
            event("fine"),
        ]
        assert outcomes(as_user(user).post(PATH, {"events": events})) == [
            ("ok", "charged", None),
            ("unknown", "refused", "invalid_request"),
            ("free", "refused", "invalid_request"),
            ("much", "refused", "insufficient_credits"),
            ("other", "refused", "not_found"),
            ("negative", "refused", "invalid_request"),
            ("text", "refused", "invalid_request"),
            ("more", "refused", "invalid_request"),
            ("late", "refused", "invalid_request"),
            ("future", "refused", "invalid_request"),
            (None, "refused", "invalid_request"),
            (None, "refused", "invalid_request"),
            (None, "refused", "invalid_request"),
            (None, "refused", "invalid_request"),
            ("fine", "charged", None),
        ]

    def test_says_what_is_wrong_with_an_event(self, user):
        body = {"events": [event("a", quantity="1", colour="red"), event("a b")]}
        first, second = results(as_user(user).post(PATH, body))
        assert first["errors"] == {"colour": ["Unknown field."]}
        assert second["errors"] == {
            "idempotency_key": ["This must be 1 to 255 visible ASCII characters."]
        }

    def test_prices_an_event_when_it_happened(self, user):
        now = timezone.now()
        feature = Feature.objects.get(code="report")
        feature.prices.create(unit_price=Decimal(50), valid_from=now - timedelta(hours=1))
        price_list.forget()
        before = (now - timedelta(hours=2)).isoformat()
        events = [event("a", feature="report", occurred_at=before), event("b", feature="report")]
        results(as_user(user).post(PATH, {"events": events}))
        booked = CreditTransaction.objects.filter(kind="usage").order_by("number")
        assert [(each.amount, each.occurred_at < now) for each in booked] == [
            (-40, True),
            (-50, False),
        ]
        assert all(each.recorded_at >= now for each in booked)

    def test_charges_for_many_users(self, user):
        other, left = poor_user(), poor_user(is_active=False)
        award(wallet_id_of(other), 100)
        events = [
            event("a", user_id=user.pk),
            event("b", user_id=other.pk),
            event("c", user_id=left.pk),
            event("d", user_id=2**62),
            event("e"),
        ]
        assert outcomes(as_service("credits:spend").post(PATH, {"events": events})) == [
            ("a", "charged", None),
            ("b", "charged", None),
            ("c", "refused", "not_found"),
            ("d", "refused", "not_found"),
            ("e", "refused", "invalid_request"),
        ]

    def test_charges_pools_and_paused_wallets_as_spends_do(self, user):
        member, paused, team = poor_user(), poor_user(), TeamFactory()
        TeamMembership.objects.create(team=team, user=member)
        award(wallet_of(team).pk, 10)
        posting.set_status(wallet=wallet_id_of(paused), expected="active", status="paused")
        events = [event("a", user_id=member.pk), event("b", user_id=paused.pk)]
        service = as_service("credits:spend")
        assert outcomes(service.post(PATH, {"events": events})) == [
            ("a", "charged", None),
            ("b", "refused", "wallet_paused"),
        ]
        assert outcomes(service.post(PATH, {"events": events[:1]})) == [("a", "replayed", None)]

    def test_repeats_what_was_charged_before_the_feature_was_withdrawn(self, user):
        caller = as_user(user)
        results(caller.post(PATH, {"events": [event("a")]}))
        Feature.objects.filter(code="insight.simple").update(is_active=False)
        price_list.forget()
        assert outcomes(caller.post(PATH, {"events": [event("a"), event("b")]})) == [
            ("a", "replayed", None),
            ("b", "refused", "invalid_request"),
        ]

    @pytest.mark.parametrize(
        "body", [{}, {"events": []}, {"events": None}, {"events": {}}, {"events": [{}] * 1_001}]
    )
    def test_refuses_what_is_no_batch(self, user, body):
        assert wrong_fields(as_user(user).post(PATH, body)) == ["events"]

    def test_takes_a_thousand_in_as_many_statements_as_one(self, user, django_assert_num_queries):
        service = as_service("credits:spend")
        service.post(PATH)  # which writes down that the key was used
        price_list.features()
        with django_assert_num_queries(5):  # the key, users, wallets, seats, the engine
            events = [event(str(n), user_id=user.pk) for n in range(1_000)]
            answer = outcomes(service.post(PATH, {"events": events}))
        assert [status for _, status, _ in answer].count("charged") == 11

    def test_is_for_services_with_the_scope(self, user):
        body = {"events": [event("a", user_id=user.pk)]}
        assert refused(as_service("credits:read").post(PATH, body)) == (403, "missing_scope")

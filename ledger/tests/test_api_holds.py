import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.choices import StaffGroup
from accounts.models import Team, TeamMembership, User
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory
from audit.models import AuditEvent
from creditsite.site.demo.catalogue import make_catalogue
from ledger.models import CreditTransaction, Hold
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.tests.api import (
    BALANCE,
    as_service,
    as_user,
    figures_of,
    poor_user,
    refused,
    wallet_id_of,
    wrong_fields,
)
from ledger.tests.books import award, buy

PATH = "credits/holds"
TEN = {"amount": 10, "description": "A job"}


@pytest.fixture
def user(db) -> User:
    """Somebody with 30 awarded credits."""
    user = poor_user()
    award(wallet_id_of(user), 30)
    return user


def placed(caller, body: dict, key: str | None = None) -> str:
    response = caller.post(PATH, body, key=key)
    assert response.status_code == 201
    return response.json()["id"]


@pytest.mark.django_db
class TestPlaceHold:
    def test_reserves_and_answers_with_the_hold(self, user):
        body = {**TEN, "reference_id": "job-1", "metadata": {"n": 1}, "expires_in": 60}
        response = as_user(user).post(PATH, body)
        assert response.status_code == 201
        hold = Hold.objects.get()
        assert response.json() == {
            "id": str(hold.pk),
            "user_id": user.pk,
            "team_id": None,
            "status": "open",
            "amount": 10,
            "captured": 0,
            "released": 0,
            "description": "A job",
            "reference_id": "job-1",
            "project": None,
            "metadata": {"n": 1},
            "feature": None,
            "actor": user.pk,
            "created_at": response.json()["created_at"],
            "expires_at": response.json()["expires_at"],
            "ended_at": None,
        }
        assert parse_datetime(response.json()["expires_at"]) == hold.expires_at
        assert hold.expires_at - hold.placed_at == timedelta(seconds=60)
        assert as_user(user).get(f"{PATH}/{hold.pk}").json() == response.json()
        assert figures_of(user)[:4] == (30, 0, 0, 10)

    def test_takes_three_statements(self, user, django_assert_num_queries):
        caller = as_user(user)
        with django_assert_num_queries(3):
            caller.post(PATH, TEN)

    def test_prices_features(self, user):
        make_catalogue(timezone.now())
        body = {"feature": "insight.simple", "quantity": 2, "description": "Two"}
        hold = as_user(user).post(PATH, body).json()
        assert (hold["amount"], hold["feature"]) == (18, "insight.simple")

    def test_refuses_more_than_is_available(self, user):
        caller = as_user(user)
        placed(caller, {**TEN, "amount": 25})
        response = caller.post(PATH, TEN)
        assert refused(response) == (402, "insufficient_credits")
        assert (response.json()["needed"], response.json()["available"]) == (10, 5)

    @pytest.mark.parametrize("expires_in", [0, -1, 2_592_001, "60", 60.0, None])
    def test_refuses_other_spans(self, user, expires_in):
        response = as_user(user).post(PATH, {**TEN, "expires_in": expires_in})
        assert wrong_fields(response) == ["expires_in"]

    def test_answers_a_repeat_as_it_was_placed(self, user):
        caller = as_user(user)
        first = caller.post(PATH, TEN, key="k")
        caller.post(f"{PATH}/{first.json()['id']}/capture", {"amount": 4})
        again = caller.post(PATH, TEN, key="k")
        assert again.status_code == 201
        assert again["Idempotent-Replayed"] == "true"
        assert again.json() == first.json()
        assert Hold.objects.get().captured == 4

    def test_refuses_the_key_for_another_request(self, user):
        caller = as_user(user)
        caller.post(PATH, TEN, key="k")
        response = caller.post(PATH, {**TEN, "expires_in": 60}, key="k")
        assert refused(response) == (422, "idempotency_key_reused")
        response = caller.post("credits/deduct", TEN, key="k")
        assert refused(response) == (422, "idempotency_key_reused")

    def test_refuses_a_paused_wallet(self, user):
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        assert refused(as_user(user).post(PATH, TEN)) == (403, "wallet_paused")

    def test_reserves_in_a_pool(self, user):
        team = TeamFactory()
        TeamMembership.objects.create(team=team, user=user)
        award(wallet_of(team).pk, 40)
        hold = as_user(user).post(PATH, {**TEN, "team_id": str(team.public_id)}).json()
        assert (hold["user_id"], hold["team_id"]) == (None, str(team.public_id))

    def test_needs_the_scope_and_a_key_from_a_service(self, user):
        body = {**TEN, "user_id": user.pk}
        assert refused(as_service("credits:spend").post(PATH, body, key="k")) == (
            403,
            "missing_scope",
        )
        assert refused(as_service("credits:hold").post(PATH, body)) == (400, "invalid_request")
        assert as_service("credits:hold").post(PATH, body, key="k").json()["actor"] == user.pk


@pytest.mark.django_db
class TestCapture:
    def test_takes_all_of_it(self, user):
        caller = as_user(user)
        body = {**TEN, "reference_id": "r", "project": "p", "metadata": {"a": 1}}
        hold = placed(caller, body)
        response = caller.post(f"{PATH}/{hold}/capture")
        assert response.status_code == 200
        answer = response.json()
        assert answer.keys() == {"hold", "transaction", "balance"}
        assert {k: answer["hold"][k] for k in ("id", "status", "captured", "released")} == {
            "id": hold,
            "status": "captured",
            "captured": 10,
            "released": 0,
        }
        assert answer["balance"].keys() == BALANCE
        assert (answer["balance"]["available"], answer["balance"]["held"]) == (20, 0)
        transaction = answer["transaction"]
        read = caller.get(f"credits/transactions/{transaction['id']}").json()
        read.pop("grants")
        assert read == transaction
        assert (transaction["amount"], transaction["hold_id"], transaction["actor"]) == (
            -10,
            hold,
            user.pk,
        )
        assert transaction["reference_id"] == "r"

    def test_takes_a_part_and_releases_the_rest(self, user):
        caller = as_user(user)
        hold = placed(caller, TEN)
        answer = caller.post(f"{PATH}/{hold}/capture", {"amount": 3}).json()
        assert (answer["hold"]["captured"], answer["hold"]["released"]) == (3, 7)
        assert (answer["transaction"]["amount"], answer["balance"]["available"]) == (-3, 27)

    def test_refuses_more_than_it_holds(self, user):
        caller = as_user(user)
        hold = placed(caller, TEN)
        response = caller.post(f"{PATH}/{hold}/capture", {"amount": 11})
        assert refused(response) == (409, "conflict")
        assert (response.json()["asked"], response.json()["held"]) == (11, 10)
        assert Hold.objects.get().status == "open"

    @pytest.mark.parametrize("amount", [0, -1, "1", 1.0, None, 1_000_000_001])
    def test_refuses_other_amounts(self, user, amount):
        caller = as_user(user)
        hold = placed(caller, TEN)
        response = caller.post(f"{PATH}/{hold}/capture", {"amount": amount})
        assert wrong_fields(response) == ["amount"]

    def test_happens_once(self, user):
        caller = as_user(user)
        hold = placed(caller, TEN)
        first = caller.post(f"{PATH}/{hold}/capture", {"amount": 4}, key="k")
        again = caller.post(f"{PATH}/{hold}/capture", {"amount": 4}, key="k")
        assert again["Idempotent-Replayed"] == "true"
        assert again.json() == first.json()
        response = caller.post(f"{PATH}/{hold}/capture", {"amount": 5}, key="k")
        assert refused(response) == (422, "idempotency_key_reused")
        response = caller.post(f"{PATH}/{hold}/capture", {"amount": 4}, key="l")
        assert refused(response) == (409, "hold_not_open")
        assert figures_of(user)[:1] == (26,)

    def test_goes_on_while_the_wallet_is_paused(self, user):
        caller = as_user(user)
        hold = placed(caller, TEN)
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        answer = caller.post(f"{PATH}/{hold}/capture").json()
        assert answer["balance"]["credit_status"] == "paused"

    def test_ends_with_the_time_of_the_hold(self, user):
        caller = as_user(user)
        hold = placed(caller, {**TEN, "expires_in": 1})
        at = timezone.now() + timedelta(seconds=2)
        posting.release_expired_holds(at=at, limit=10)
        assert refused(caller.post(f"{PATH}/{hold}/capture")) == (409, "hold_not_open")
        assert caller.get(f"{PATH}/{hold}").json()["status"] == "expired"


@pytest.mark.django_db
class TestRelease:
    def test_gives_all_of_it_back(self, user):
        caller = as_user(user)
        hold = placed(caller, TEN)
        answer = caller.post(f"{PATH}/{hold}/release").json()
        assert answer.keys() == {"hold", "balance"}
        assert (answer["hold"]["status"], answer["hold"]["released"]) == ("released", 10)
        assert (answer["balance"]["available"], answer["balance"]["held"]) == (30, 0)
        assert CreditTransaction.objects.filter(kind="usage").count() == 0

    def test_happens_once(self, user):
        caller = as_user(user)
        hold = placed(caller, TEN)
        first = caller.post(f"{PATH}/{hold}/release", key="k")
        again = caller.post(f"{PATH}/{hold}/release", key="k")
        assert again["Idempotent-Replayed"] == "true"
        assert again.json() == first.json()
        assert refused(caller.post(f"{PATH}/{hold}/capture", key="k")) == (
            422,
            "idempotency_key_reused",
        )
        assert refused(caller.post(f"{PATH}/{hold}/release")) == (409, "hold_not_open")

    def test_takes_no_amount(self, user):
        caller = as_user(user)
        hold = placed(caller, TEN)
        assert wrong_fields(caller.post(f"{PATH}/{hold}/release", {"amount": 1})) == ["amount"]


@pytest.mark.django_db
class TestWhoEndsAHold:
    @pytest.fixture
    def service(self):
        return as_service("credits:hold", "credits:read")

    @pytest.fixture
    def hold(self, user, service) -> str:
        """A hold that a service placed for the user."""
        return placed(service, {**TEN, "user_id": user.pk}, key="k")

    @pytest.mark.parametrize("act", ["capture", "release"])
    def test_is_the_service_that_placed_it(self, hold, service, act):
        assert service.post(f"{PATH}/{hold}/{act}", key="e").status_code == 200

    def test_is_the_service_even_for_a_user_who_has_left(self, user, hold, service):
        User.objects.filter(pk=user.pk).update(is_active=False)
        body = {"user_id": user.pk, "amount": 2}
        assert service.post(f"{PATH}/{hold}/capture", body, key="e").status_code == 200

    @pytest.mark.parametrize("act", ["capture", "release"])
    def test_is_not_the_owner_who_sees_it(self, user, hold, act):
        assert as_user(user).get(f"{PATH}/{hold}").status_code == 200
        response = as_user(user).post(f"{PATH}/{hold}/{act}")
        assert refused(response) == (403, "not_your_hold")

    def test_is_not_another_service(self, user, hold):
        other = as_service("credits:hold", "credits:read")
        assert refused(other.post(f"{PATH}/{hold}/release", key="e")) == (404, "not_found")
        response = other.post(f"{PATH}/{hold}/release", {"user_id": user.pk}, key="e")
        assert refused(response) == (403, "not_your_hold")

    @pytest.mark.parametrize("act", ["capture", "release"])
    def test_is_not_a_stranger(self, user, hold, act):
        stranger = as_user(poor_user())
        assert refused(stranger.get(f"{PATH}/{hold}")) == (404, "not_found")
        assert refused(stranger.post(f"{PATH}/{hold}/{act}")) == (404, "not_found")
        assert refused(stranger.get(f"{PATH}/{uuid.uuid4()}")) == (404, "not_found")

    @pytest.mark.parametrize(
        ("act", "captured"), [("capture", 10), ("release", 0)], ids=["capture", "release"]
    )
    def test_is_staff_who_say_why(self, user, hold, act, captured):
        finance = StaffFactory(groups=StaffGroup.FINANCE)
        response = as_user(finance).post(f"{PATH}/{hold}/{act}")
        assert refused(response) == (400, "invalid_request")
        response = as_user(finance).post(f"{PATH}/{hold}/{act}", {"reason": "The job is lost"})
        assert response.json()["hold"]["captured"] == captured
        event = AuditEvent.objects.get(action=f"ledger.hold.{act}d")
        assert (event.actor_id, event.reason, event.after) == (
            finance.pk,
            "The job is lost",
            {"captured": captured},
        )

    def test_is_staff_once(self, hold):
        finance = as_user(StaffFactory(groups=StaffGroup.FINANCE))
        body = {"reason": "Lost"}
        finance.post(f"{PATH}/{hold}/release", body, key="s")
        assert finance.post(f"{PATH}/{hold}/release", body, key="s").status_code == 200
        assert AuditEvent.objects.filter(action="ledger.hold.released").count() == 1

    def test_is_not_staff_on_their_own_wallet(self, service):
        finance = StaffFactory(groups=StaffGroup.FINANCE)
        award(wallet_id_of(finance), 30)
        hold = placed(service, {**TEN, "user_id": finance.pk}, key="k")
        response = as_user(finance).post(f"{PATH}/{hold}/release", {"reason": "Mine"})
        assert refused(response) == (403, "own_wallet")
        assert Hold.objects.get().status == "open"

    def test_is_not_support(self, hold):
        support = as_user(StaffFactory(groups=StaffGroup.SUPPORT))
        assert support.get(f"{PATH}/{hold}").status_code == 200
        response = support.post(f"{PATH}/{hold}/release", {"reason": "x"})
        assert refused(response) == (404, "not_found")


@pytest.mark.django_db
class TestListHolds:
    def test_lists_those_on_the_wallet_newest_first(self, user):
        caller = as_user(user)
        holds = [placed(caller, {**TEN, "amount": n}) for n in (1, 2, 3)]
        as_user(poor_user())
        caller.post(f"{PATH}/{holds[1]}/release")
        listed = caller.get(PATH).json()["results"]
        assert [hold["id"] for hold in listed] == holds[::-1]
        opened = caller.get(PATH, {"status": "open"}).json()["results"]
        assert [hold["id"] for hold in opened] == [holds[2], holds[0]]
        assert as_user(poor_user()).get(PATH).json()["results"] == []

    @pytest.mark.parametrize("holds", [1, 3])
    def test_takes_three_queries(self, user, holds, django_assert_num_queries):
        caller = as_user(user)
        for _ in range(holds):
            placed(caller, {**TEN, "amount": 1})
        with django_assert_num_queries(3):
            caller.get(PATH)

    def test_refuses_filters_it_does_not_know(self, user):
        assert wrong_fields(as_user(user).get(PATH, {"state": "open"})) == ["state"]
        assert wrong_fields(as_user(user).get(PATH, {"status": "closed"})) == ["status"]

    def test_shows_an_organisations_holds_to_its_members(self, user):
        team = TeamFactory()
        TeamMembership.objects.create(team=team, user=user)
        buy(wallet_of(team).pk, 40, 1)
        hold = placed(as_user(user), {**TEN, "team_id": str(team.public_id)})
        query = {"team_id": str(team.public_id)}
        assert [h["id"] for h in as_user(user).get(PATH, query).json()["results"]] == [hold]
        assert refused(as_user(poor_user()).get(PATH, query)) == (404, "not_found")

    def test_shows_a_members_hold_on_the_owners_wallet_to_both(self, user):
        owner = TeamAdminFactory()
        team = Team.objects.create(name="Owned", owner=owner)
        TeamMembership.objects.create(team=team, user=user)
        query = {"team_id": str(team.public_id)}
        hold = placed(as_user(user), {**TEN, **query})
        assert as_user(user).get(f"{PATH}/{hold}").json()["user_id"] == owner.pk
        assert as_user(owner).get(f"{PATH}/{hold}").status_code == 200
        assert refused(as_user(user).get(PATH, query)) == (404, "not_found")
        assert len(as_user(owner).get(PATH, query).json()["results"]) == 1

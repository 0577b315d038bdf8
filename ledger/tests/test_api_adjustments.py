import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.models import Team, TeamMembership, User
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory
from audit.models import AuditEvent
from ledger.models import CreditTransaction, Grant, Wallet
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
from ledger.tests.books import award, hold, settle

ADD, REMOVE = "admin/credits/add", "admin/credits/remove"
ENTER = "credits/add"
PAUSE, RESUME = "admin/credits/pause", "admin/credits/resume"
MOVERS = [StaffGroup.ADMIN, StaffGroup.FINANCE]
OTHERS = [StaffGroup.SUPPORT, StaffGroup.AUDITOR]


@pytest.fixture
def user(db) -> User:
    """Somebody with 30 awarded credits."""
    user = poor_user()
    award(wallet_id_of(user), 30)
    return user


@pytest.fixture
def finance(db) -> User:
    return StaffFactory(groups=StaffGroup.FINANCE)


def about(user: User, **more) -> dict:
    return {"user_id": user.pk, "reason": "Goodwill", **more}


@pytest.mark.django_db
class TestAdd:
    def test_gives_an_award_and_records_it(self, user, finance):
        response = as_user(finance).post(ADD, about(user, amount=12))
        assert response.status_code == 200
        answer = response.json()
        assert answer["balance"].keys() == BALANCE
        assert (answer["balance"]["awards"], answer["balance"]["user_id"]) == (42, user.pk)
        transaction = answer["transaction"]
        assert (transaction["transaction_type"], transaction["amount"]) == ("award", 12)
        assert (transaction["description"], transaction["actor"]) == ("Goodwill", finance.pk)
        assert [entry["amount"] for entry in transaction["entries"]] == [12]
        read = as_user(user).get(f"credits/transactions/{transaction['id']}").json()
        read.pop("grants")
        assert read == transaction
        event = AuditEvent.objects.get(action="ledger.credits.added")
        assert (event.actor_id, event.reason) == (finance.pk, "Goodwill")

    @pytest.mark.parametrize(
        ("credit_type", "kind"),
        [("award", "award"), ("partner", "partner"), ("purchase", "purchase")],
    )
    def test_gives_each_type(self, user, finance, credit_type, kind):
        body = about(user, amount=5, credit_type=credit_type)
        assert as_user(finance).post(ADD, body).json()["transaction"]["transaction_type"] == kind
        grant = Grant.objects.get(source="manual", amount=5)
        assert (grant.credit_type, grant.paid_minor) == (credit_type, 0)

    def test_gives_credits_that_expire(self, user, finance):
        at = timezone.now() + timedelta(days=1)
        as_user(finance).post(ADD, about(user, amount=5, expires_at=at.isoformat()))
        assert Grant.objects.get(amount=5).expires_at == at

    def test_happens_once(self, user, finance):
        caller, body = as_user(finance), about(user, amount=5)
        first = caller.post(ADD, body, key="k")
        again = caller.post(ADD, body, key="k")
        assert again["Idempotent-Replayed"] == "true"
        assert again.json() == first.json()
        assert AuditEvent.objects.filter(action="ledger.credits.added").count() == 1
        response = caller.post(ADD, about(user, amount=6), key="k")
        assert refused(response) == (422, "idempotency_key_reused")

    def test_answers_again_though_the_credits_have_expired(self, user, finance, time_machine):
        caller = as_user(finance)
        at = timezone.now() + timedelta(seconds=60)
        body = about(user, amount=5, expires_at=at.isoformat())
        first = caller.post(ADD, body, key="k").json()
        time_machine.move_to(at + timedelta(seconds=1))
        again = caller.post(ADD, body, key="k").json()
        assert again["transaction"] == first["transaction"]
        assert again["balance"]["awards"] == 30

    @pytest.mark.parametrize(
        ("more", "fields"),
        [
            ({}, ["amount"]),
            ({"amount": 0}, ["amount"]),
            ({"amount": "5"}, ["amount"]),
            ({"amount": 5, "reason": " "}, ["reason"]),
            ({"amount": 5, "reason": "a\u202eb"}, None),
            ({"amount": 5, "credit_type": "bonus"}, ["credit_type"]),
            ({"amount": 5, "credit_type": None}, ["credit_type"]),
            ({"amount": 5, "expires_at": "2030-01-01"}, ["expires_at"]),
            ({"amount": 5, "team_id": str(uuid.uuid4())}, ["user_id"]),
            ({"amount": 5, "paid_minor": 100}, ["paid_minor"]),
            ({"amount": 1_000_001}, None),
            ({"amount": 5, "expires_at": "2020-01-01T00:00:00Z"}, None),
        ],
    )
    def test_refuses_what_says_something_else(self, user, finance, more, fields):
        response = as_user(finance).post(ADD, about(user, **more))
        assert refused(response) == (400, "invalid_request")
        assert fields is None or sorted(response.json()["errors"]) == fields
        assert figures_of(user) == (30, 0, 0, 0, 1)

    def test_needs_a_user_or_a_team(self, finance):
        response = as_user(finance).post(ADD, {"amount": 5, "reason": "x"})
        assert wrong_fields(response) == ["user_id"]

    def test_refuses_a_balance_that_is_too_large(self, user, finance):
        response = as_user(finance).post(ADD, about(user, amount=1_000_000))
        assert refused(response) == (409, "balance_too_large")
        assert response.json()["largest"] == 1_000_000

    def test_does_not_find_who_is_not_there(self, finance):
        for named in ({"user_id": 2**62}, {"team_id": str(uuid.uuid4())}):
            response = as_user(finance).post(ADD, {**named, "amount": 5, "reason": "x"})
            assert refused(response) == (404, "not_found")

    def test_gives_to_a_team(self, finance):
        team = TeamFactory()
        body = {"team_id": str(team.public_id), "amount": 5, "reason": "x"}
        answer = as_user(finance).post(ADD, body).json()
        assert (answer["balance"]["team_id"], answer["transaction"]["team_id"]) == (
            str(team.public_id),
        ) * 2
        assert Wallet.objects.get(team=team).award == 5

    def test_gives_to_the_owner_whose_wallet_is_the_pool(self, finance):
        team = Team.objects.create(name="Owned", owner=TeamAdminFactory())
        body = {"team_id": str(team.public_id), "amount": 5, "reason": "x"}
        assert as_user(finance).post(ADD, body).json()["balance"]["user_id"] == team.owner_id


@pytest.mark.django_db
class TestEnter:
    """The older door: `allocation` and `purchase`, with the description as the reason."""

    @pytest.mark.parametrize(
        ("type", "kind", "credit_type"),
        [("allocation", "award", "award"), ("purchase", "purchase", "purchase")],
    )
    def test_gives_what_the_type_says(self, user, finance, type, kind, credit_type):
        body = {"user_id": user.pk, "amount": 12, "type": type, "description": "Goodwill"}
        response = as_user(finance).post(ENTER, body)
        assert response.status_code == 200
        assert response.json()["balance"].keys() == BALANCE
        transaction = response.json()["transaction"]
        assert (transaction["transaction_type"], transaction["amount"]) == (kind, 12)
        assert transaction["description"] == "Goodwill"
        grant = Grant.objects.get(source="manual", amount=12)
        assert (grant.credit_type, grant.paid_minor, grant.expires_at) == (credit_type, 0, None)
        event = AuditEvent.objects.get(action="ledger.credits.added")
        assert (event.actor_id, event.reason) == (finance.pk, "Goodwill")

    def test_gives_it_to_the_pool_of_a_team(self, finance):
        team = TeamFactory()
        body = {
            "team_id": str(team.public_id),
            "amount": 12,
            "type": "allocation",
            "description": "Goodwill",
        }
        assert as_user(finance).post(ENTER, body).json()["balance"]["awards"] == 12
        assert wallet_of(team).award == 12

    def test_waits_for_a_second_person_above_the_threshold(self, user, finance):
        body = {"user_id": user.pk, "amount": 100_001, "type": "allocation", "description": "Big"}
        response = as_user(finance).post(ENTER, body, key="k")
        assert response.status_code == 202
        assert response.json()["approval"]["kind"] == "ledger.add_credits"
        assert as_user(finance).post(ENTER, body, key="k").json() == response.json()
        assert figures_of(user)[0] == 30

    def test_is_the_same_request_as_by_the_other_door(self, user, finance):
        body = {"user_id": user.pk, "amount": 12, "type": "allocation", "description": "Goodwill"}
        first = as_user(finance).post(ENTER, body, key="k")
        again = as_user(finance).post(ADD, about(user, amount=12), key="k")
        assert again["Idempotent-Replayed"] == "true"
        assert again.json()["transaction"] == first.json()["transaction"]
        other = as_user(finance).post(ENTER, {**body, "type": "purchase"}, key="k")
        assert refused(other) == (422, "idempotency_key_reused")

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"type": "award"}, "type"),
            ({"type": None}, "type"),
            ({"amount": 0}, "amount"),
            ({"amount": "5"}, "amount"),
            ({"description": ""}, "description"),
            ({"reason": "why"}, "reason"),
            ({"credit_type": "award"}, "credit_type"),
            ({"team_id": "018f0000-0000-7000-8000-000000000000"}, "user_id"),
        ],
        ids=str,
    )
    def test_refuses_what_is_not_as_the_contract_says(self, user, finance, wrong, field):
        body = {"user_id": user.pk, "amount": 5, "type": "allocation", "description": "x"} | wrong
        assert wrong_fields(as_user(finance).post(ENTER, body)) == [field]
        assert figures_of(user)[0] == 30

    @pytest.mark.parametrize("group", OTHERS)
    def test_is_for_finance_and_admin(self, user, group):
        body = {"user_id": user.pk, "amount": 5, "type": "allocation", "description": "x"}
        staff = as_user(StaffFactory(groups=group))
        assert refused(staff.post(ENTER, body)) == (403, "not_permitted")
        assert refused(as_user(user).post(ENTER, body)) == (403, "not_permitted")

    def test_is_for_a_service_with_a_key_of_the_request(self, user):
        body = {"user_id": user.pk, "amount": 5, "type": "allocation", "description": "x"}
        service = as_service("credits:admin")
        assert refused(service.post(ENTER, body)) == (400, "invalid_request")
        assert service.post(ENTER, body, key="k").status_code == 200


@pytest.mark.django_db
class TestRemove:
    def test_takes_and_records_it(self, user, finance):
        answer = as_user(finance).post(REMOVE, about(user, amount=12)).json()
        transaction = answer["transaction"]
        assert (transaction["transaction_type"], transaction["amount"]) == ("adjustment", -12)
        assert [entry["amount"] for entry in transaction["entries"]] == [-12]
        assert answer["balance"]["awards"] == 18
        assert AuditEvent.objects.get(action="ledger.credits.removed").reason == "Goodwill"

    def test_takes_one_type_if_named(self, user, finance):
        response = as_user(finance).post(REMOVE, about(user, amount=1, credit_type="partner"))
        assert refused(response) == (402, "insufficient_credits")
        assert (response.json()["needed"], response.json()["available"]) == (1, 0)

    def test_leaves_what_is_held_until_the_hold_ends(self, user, finance):
        placed = hold(wallet_id_of(user), 25, until=timezone.now() + timedelta(days=1))
        answer = as_user(finance).post(REMOVE, about(user, amount=12)).json()
        assert (answer["transaction"]["amount"], answer["balance"]["available"]) == (-5, 0)
        settle(placed, 0, timezone.now())
        assert figures_of(user)[:1] == (18,)

    def test_answers_with_nothing_taken_if_all_is_held(self, user, finance):
        hold(wallet_id_of(user), 30, until=timezone.now() + timedelta(days=1))
        answer = as_user(finance).post(REMOVE, about(user, amount=12)).json()
        assert (answer["transaction"]["amount"], answer["transaction"]["entries"]) == (0, [])

    def test_happens_once(self, user, finance):
        caller, body = as_user(finance), about(user, amount=30)
        first = caller.post(REMOVE, body, key="k").json()
        posting.set_status(wallet=wallet_id_of(user), expected="active", status="closed")
        first["balance"]["credit_status"] = "closed"
        assert refused(caller.post(REMOVE, body, key="l")) == (409, "wallet_closed")
        assert caller.post(REMOVE, body, key="k").json() == first
        assert figures_of(user)[:1] == (0,)


@pytest.mark.django_db
class TestPause:
    def test_stops_and_resumes_spending(self, user, finance):
        staff, spender = as_user(finance), as_user(user)
        spend = {"amount": 1, "description": "x"}
        answer = staff.post(PAUSE, about(user)).json()
        assert answer.keys() == BALANCE
        assert (answer["credit_status"], answer["available"]) == ("paused", 30)
        assert refused(spender.post("credits/deduct", spend)) == (403, "wallet_paused")
        assert staff.post(RESUME, about(user)).json()["credit_status"] == "active"
        assert spender.post("credits/deduct", spend).status_code == 200
        actions = AuditEvent.objects.filter(action__startswith="ledger.wallet.").order_by("pk")
        assert [(event.action, event.reason) for event in actions] == [
            ("ledger.wallet.paused", "Goodwill"),
            ("ledger.wallet.resumed", "Goodwill"),
        ]

    def test_refuses_a_wallet_that_is_so_already(self, user, finance):
        staff = as_user(finance)
        assert refused(staff.post(RESUME, about(user))) == (409, "conflict")
        staff.post(PAUSE, about(user))
        assert refused(staff.post(PAUSE, about(user))) == (409, "conflict")

    def test_needs_a_reason_and_no_amount(self, user, finance):
        assert wrong_fields(as_user(finance).post(PAUSE, {"user_id": user.pk})) == ["reason"]
        assert wrong_fields(as_user(finance).post(PAUSE, about(user, amount=1))) == ["amount"]

    def test_needs_no_key_from_a_service(self, user):
        assert as_service("credits:admin").post(PAUSE, about(user)).status_code == 200


DOORS = [(ADD, {"amount": 5}), (REMOVE, {"amount": 5}), (PAUSE, {}), (RESUME, {})]


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "more"), DOORS, ids=[path for path, _ in DOORS])
class TestWhoMay:
    @pytest.mark.parametrize("group", MOVERS)
    def test_lets_them_in(self, user, path, more, group):
        if path == RESUME:
            posting.set_status(wallet=wallet_id_of(user), expected="active", status="paused")
        staff = as_user(StaffFactory(groups=group))
        assert staff.post(path, about(user, **more)).status_code == 200

    @pytest.mark.parametrize("group", OTHERS)
    def test_keeps_others_out(self, user, path, more, group):
        response = as_user(StaffFactory(groups=group)).post(path, about(user, **more))
        assert refused(response) == (403, "not_permitted")

    def test_keeps_users_and_superusers_out(self, user, path, more):
        root = User.objects.create_superuser("root@example.com")
        for caller in (as_user(user), as_user(root)):
            assert refused(caller.post(path, about(user, **more))) == (403, "not_permitted")

    def test_keeps_services_without_the_scope_out(self, user, path, more):
        service = as_service("credits:spend", "credits:hold", "credits:read")
        assert refused(service.post(path, about(user, **more), key="k")) == (403, "missing_scope")

    def test_keeps_the_key_of_somebody_demoted_out(self, user, path, more):
        owner = StaffFactory(groups=StaffGroup.FINANCE)
        service = as_service("credits:admin", owner=owner)
        owner.groups.clear()
        response = service.post(path, about(user, **more), key="k")
        assert refused(response) == (401, "not_authenticated")

    def test_lets_nobody_change_a_wallet_of_their_own(self, path, more):
        owner = StaffFactory(groups=StaffGroup.FINANCE)
        wallet_of(owner)
        for caller in (as_user(owner), as_service("credits:admin", owner=owner)):
            response = caller.post(path, about(owner, **more), key="k")
            assert refused(response) == (403, "own_wallet")

    def test_lets_nobody_change_a_wallet_they_may_spend_from(self, path, more):
        owner, team = StaffFactory(groups=StaffGroup.FINANCE), TeamFactory()
        TeamMembership.objects.create(team=team, user=owner)
        body = {"team_id": str(team.public_id), "reason": "x", **more}
        assert refused(as_user(owner).post(path, body)) == (403, "own_wallet")


@pytest.mark.django_db
class TestOrderOfChecks:
    def test_looks_at_the_own_wallet_before_the_key(self, user, finance):
        wallet_of(finance)
        caller = as_user(finance)
        caller.post(ADD, about(user, amount=5), key="k")
        response = caller.post(ADD, about(finance, amount=5), key="k")
        assert refused(response) == (403, "own_wallet")

    def test_looks_at_the_key_before_the_books(self, user, finance):
        caller = as_user(finance)
        caller.post(REMOVE, about(user, amount=5), key="k")
        response = caller.post(REMOVE, about(user, amount=31), key="k")
        assert refused(response) == (422, "idempotency_key_reused")

    def test_looks_at_the_door_before_the_shape(self, user):
        assert refused(as_user(user).post(ADD, {})) == (403, "not_permitted")

    def test_asks_a_service_for_a_key_before_the_object(self):
        service = as_service("credits:admin")
        response = service.post(ADD, {"user_id": 2**62, "amount": 5, "reason": "x"})
        assert refused(response) == (400, "invalid_request")

    def test_books_for_the_owner_of_the_key(self, user):
        owner = StaffFactory()
        service = as_service("credits:admin", owner=owner)
        body = about(user, amount=5)
        answer = service.post(ADD, body, key="k").json()
        assert answer["transaction"]["actor"] == owner.pk
        assert CreditTransaction.objects.get(amount=5).caller.startswith("key:")

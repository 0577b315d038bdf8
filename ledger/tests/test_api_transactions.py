import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.models import Team, TeamMembership, User
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory
from ledger.models import CreditTransaction
from ledger.queries.statements import first_number, transactions_of
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.tests.api import (
    as_service,
    as_user,
    poor_user,
    refused,
    wallet_id_of,
    wrong_fields,
)
from ledger.tests.books import DAY, START, award, buy, header, reverse, spend

PATH = "credits/transactions"


@pytest.fixture
def user(db) -> User:
    """Somebody who, a day apart, got 100, bought 50, spent 30 on a report, 100 on two features."""
    user = poor_user()
    wallet = wallet_id_of(user)
    award(wallet, 100)
    buy(wallet, 50, 500, START + DAY)
    spend_on(wallet, 30, START + 2 * DAY, feature="report")
    spend_on(wallet, 100, START + 3 * DAY, feature="llm.input+report", reference_id="job-1")
    return user


def spend_on(wallet: int, amount: int, at, **more) -> None:
    posting.draw(payers=[wallet], amount=amount, header=header("usage", at, **more))


def amounts(response) -> list[int]:
    assert response.status_code == 200, response.json()
    return [transaction["amount"] for transaction in response.json()["results"]]


@pytest.mark.django_db
class TestListTransactions:
    def test_lists_newest_first(self, user):
        answer = as_user(user).get(PATH).json()
        assert (answer["next"], answer["previous"]) == (None, None)
        assert [
            (row["transaction_type"], row["amount"], row["balance_after"])
            for row in answer["results"]
        ] == [("usage", -100, 20), ("usage", -30, 120), ("purchase", 50, 150), ("award", 100, 100)]
        assert [entry["amount"] for entry in answer["results"][0]["entries"]] == [-70, -30]

    def test_is_called_history_as_well(self, user):
        caller = as_user(user)
        assert caller.get("credits/history").json() == caller.get(PATH).json()

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"type": "usage"}, [-100, -30]),
            ({"type": "write_off"}, []),
            ({"credit_type": "purchase"}, [-100, 50]),
            ({"credit_type": "partner"}, []),
            ({"feature": "report"}, [-100, -30]),
            ({"feature": "llm.input"}, [-100]),
            ({"feature": "llm"}, []),
            ({"feature": "%"}, []),
            ({"reference_id": "job-1"}, [-100]),
            ({"reference_id": "job"}, []),
            ({"min_amount": -30}, [-30, 50, 100]),
            ({"max_amount": -30}, [-100, -30]),
            ({"min_amount": 50, "max_amount": 99}, [50]),
            ({"min_amount": 999_999_999_999_999_999}, []),
            ({"from": "2026-01-02T00:00:00Z"}, [-100, -30, 50]),
            ({"to": "2026-01-02T00:00:00Z"}, [100]),
            ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00.000001Z"}, [-30, 50]),
            ({"from": "2026-02-01T00:00:00Z"}, []),
            ({"to": "2025-01-01T00:00:00Z"}, []),
            ({"type": "usage", "feature": "report", "max_amount": -31}, [-100]),
        ],
    )
    def test_filters(self, user, query, expected):
        assert amounts(as_user(user).get(PATH, query)) == sorted(
            expected, key=[-100, -30, 50, 100].index
        )

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"kind": "usage"}, "kind"),
            ({"type": "spend"}, "type"),
            ({"credit_type": "bonus"}, "credit_type"),
            ({"min_amount": "1e3"}, "min_amount"),
            ({"min_amount": "５"}, "min_amount"),
            ({"from": "2026-01-02"}, "from"),
            ({"from": "2026-01-03T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "to"),
            ({"reference_id": ""}, "reference_id"),
            ({"page_size": 201}, "page_size"),
            ({"cursor": "x"}, "cursor"),
            ({"team_id": "5"}, "team_id"),
        ],
    )
    def test_refuses_other_questions(self, user, query, field):
        assert wrong_fields(as_user(user).get(PATH, query)) == [field]

    def test_refuses_what_cannot_be_seen(self, user):
        answer = as_user(user).get(PATH, {"reference_id": "a\x00"})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")

    def test_walks_pages_with_their_filters(self, user):
        caller, seen = as_user(user), []
        page = caller.get(PATH, {"page_size": 1, "max_amount": 50}).json()
        while True:
            seen += [row["amount"] for row in page["results"]]
            if page["next"] is None:
                break
            page = caller.client.get(page["next"]).json()
        assert seen == [-100, -30, 50]
        back = caller.client.get(page["previous"]).json()
        assert [row["amount"] for row in back["results"]] == [-30]

    @pytest.mark.parametrize("spends", [1, 3])
    def test_takes_four_queries(self, user, spends, django_assert_num_queries):
        for _ in range(spends):
            spend(wallet_id_of(user), 1, START + 4 * DAY)
        caller = as_user(user)
        with django_assert_num_queries(4):  # the caller, the wallet, transactions, entries
            caller.get(PATH)

    def test_shows_nobody_elses(self, user):
        assert amounts(as_user(poor_user()).get(PATH)) == []
        response = as_user(poor_user()).get(PATH, {"user_id": user.pk})
        assert refused(response) == (404, "not_found")

    def test_answers_a_service_for_whom_it_names(self, user):
        service = as_service("credits:read")
        assert len(amounts(service.get(PATH, {"user_id": user.pk}))) == 4
        assert refused(service.get(PATH)) == (400, "invalid_request")
        response = as_service("credits:spend").get(PATH, {"user_id": user.pk})
        assert refused(response) == (403, "missing_scope")

    def test_shows_the_statement_of_an_organisation_to_its_members(self, user):
        team = TeamFactory()
        TeamMembership.objects.create(team=team, user=user)
        award(wallet_of(team).pk, 40)
        query = {"team_id": str(team.public_id)}
        (row,) = as_user(user).get(PATH, query).json()["results"]
        assert (row["amount"], row["team_id"], row["user_id"]) == (40, str(team.public_id), None)
        assert refused(as_user(poor_user()).get(PATH, query)) == (404, "not_found")

    def test_keeps_an_owners_statement_from_the_members_of_their_team(self, user):
        owner = TeamAdminFactory()
        team = Team.objects.create(name="Owned", owner=owner)
        TeamMembership.objects.create(team=team, user=user)
        query = {"team_id": str(team.public_id)}
        assert refused(as_user(user).get(PATH, query)) == (404, "not_found")
        assert amounts(as_user(owner).get(PATH, query)) == [5_000]
        service = as_service("credits:read")
        response = service.get(PATH, {**query, "user_id": user.pk})
        assert refused(response) == (404, "not_found")
        assert amounts(service.get(PATH, {**query, "user_id": owner.pk})) == [5_000]


@pytest.mark.django_db
class TestListTransactionsOfUser:
    def path(self, user_id: int) -> str:
        return f"admin/credits/user/{user_id}/transactions"

    @pytest.mark.parametrize("group", StaffGroup)
    def test_shows_staff_what_the_user_sees(self, user, group):
        staff = as_user(StaffFactory(groups=group))
        assert (
            staff.get(self.path(user.pk)).json()["results"]
            == (as_user(user).get(PATH).json()["results"])
        )
        assert amounts(staff.get(self.path(user.pk), {"type": "usage"})) == [-100, -30]

    def test_is_shut_to_users_and_keys_without_the_scope(self, user):
        assert refused(as_user(user).get(self.path(user.pk))) == (403, "not_permitted")
        response = as_service("credits:read").get(self.path(user.pk))
        assert refused(response) == (403, "missing_scope")

    @pytest.mark.parametrize("user_id", [0, 2**62, 2**63, 10**30, "9" * 5_000])
    def test_does_not_find_who_is_not_there(self, db, user_id):
        response = as_user(StaffFactory()).get(self.path(user_id))
        assert refused(response) == (404, "not_found")


@pytest.mark.django_db
class TestGetTransaction:
    def test_shows_entries_and_grants(self, user):
        last = CreditTransaction.objects.get(reference_id="job-1")
        answer = as_user(user).get(f"{PATH}/{last.pk}").json()
        assert [(line["credit_type"], line["amount"]) for line in answer["entries"]] == [
            ("award", -70),
            ("purchase", -30),
        ]
        assert [
            (grant["amount"], grant["remaining"], grant["status"]) for grant in answer["grants"]
        ] == [
            (100, 0, "spent"),
            (50, 20, "active"),
        ]

    def test_names_what_it_reverses(self, user):
        wallet = wallet_id_of(user)
        spent = spend(wallet, 5, START + 4 * DAY)
        back = reverse(spent, at=START + 5 * DAY)
        answer = as_user(user).get(f"{PATH}/{back.transaction_id}").json()
        assert (answer["transaction_type"], answer["amount"], answer["reverses"]) == (
            "reversal",
            5,
            str(spent.transaction_id),
        )

    def test_finds_nothing_for_strangers(self, user):
        last = CreditTransaction.objects.get(reference_id="job-1")
        for path in (f"{PATH}/{last.pk}", f"{PATH}/{uuid.uuid4()}", f"{PATH}/x"):
            assert refused(as_user(poor_user()).get(path)) == (404, "not_found")

    def test_shows_a_member_what_they_spent_of_their_teams_pool(self, user):
        owner = TeamAdminFactory()
        team = Team.objects.create(name="Owned", owner=owner)
        TeamMembership.objects.create(team=team, user=user)
        body = {"amount": 5, "description": "x", "team_id": str(team.public_id)}
        spent = as_user(user).post("credits/deduct", body).json()["transaction"]["id"]
        first = CreditTransaction.objects.get(wallet__user=owner, number=1)
        assert as_user(user).get(f"{PATH}/{spent}").json()["user_id"] == owner.pk
        assert as_user(owner).get(f"{PATH}/{spent}").status_code == 200
        assert refused(as_user(user).get(f"{PATH}/{first.pk}")) == (404, "not_found")

    def test_shows_staff_anything(self, user):
        last = CreditTransaction.objects.get(reference_id="job-1")
        staff = StaffFactory(groups=StaffGroup.SUPPORT)
        assert as_user(staff).get(f"{PATH}/{last.pk}").status_code == 200

    def test_lets_no_service_read_as_its_owner_without_the_scope(self, user):
        last = CreditTransaction.objects.get(reference_id="job-1")
        reader = as_service("credits:read")
        assert refused(reader.get(f"{PATH}/{last.pk}")) == (400, "invalid_request")
        assert reader.get(f"{PATH}/{last.pk}", {"user_id": user.pk}).status_code == 200
        admin = as_service("credits:read", "credits:admin")
        assert admin.get(f"{PATH}/{last.pk}").status_code == 200


@pytest.mark.django_db
class TestFirstNumber:
    def test_is_that_of_the_first_at_or_after_an_instant(self, user):
        wallet = wallet_id_of(user)
        instants = [
            START - DAY,
            START,
            START + timedelta(microseconds=1),
            START + 3 * DAY,
            timezone.now(),
        ]
        assert [first_number(wallet, at) for at in instants] == [1, 1, 2, 4, 5]

    def test_bounds_what_is_listed(self, user):
        rows = transactions_of(wallet_id_of(user), since=START + DAY, until=START + 3 * DAY)
        assert sorted(rows.values_list("number", flat=True)) == [2, 3]

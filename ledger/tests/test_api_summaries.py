import pytest
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.models import User
from accounts.tests.factories import StaffFactory
from ledger.choices import CreditType
from ledger.services import posting
from ledger.tests.api import as_service, as_user, poor_user, refused, wallet_id_of, wrong_fields
from ledger.tests.books import (
    DAY,
    award,
    buy,
    claw_back,
    deduct,
    give,
    grant_of,
    header,
    hold,
    new_wallet,
    partner,
    reverse,
    spend,
)

PATH, SYSTEM = "credits/summary", "admin/credits/system/summary"


def by_type(award: int = 0, purchase: int = 0, partner: int = 0) -> dict[str, int]:
    total = award + purchase + partner
    return {"award": award, "purchase": purchase, "partner": partner, "total": total}


@pytest.fixture
def noon(time_machine):
    """Noon of the 20th of April 2026, and the clock stands still."""
    time_machine.move_to("2026-04-20T12:00:00Z", tick=False)
    return timezone.now()


@pytest.fixture
def user(db, noon) -> User:
    """Somebody with a movement of every kind in the last 30 days, and some before."""
    user = poor_user()
    wallet = wallet_id_of(user)
    award(wallet, 1_000, noon - 40 * DAY)
    spend_on(wallet, 500, noon - 35 * DAY, "report")
    award(wallet, 300, noon - 20 * DAY, expires_at=noon - 10 * DAY)
    bought = buy(wallet, 200, 2_000, noon - 19 * DAY)
    partner(wallet, 50, noon - 18 * DAY)
    spend_on(wallet, 120, noon - 15 * DAY, "report")
    spent = spend_on(wallet, 60, noon - 15 * DAY, "")
    spend_on(wallet, 30, noon - 14 * DAY, "llm.input")
    reverse(spent, 10, noon - 13 * DAY)
    posting.expire(at=noon - 9 * DAY, limit=10)
    deduct(wallet, 5, noon - 8 * DAY)
    claw_back(grant_of(bought), 40, 400, noon - 7 * DAY)
    return user


def spend_on(wallet: int, amount: int, at, feature: str):
    return posting.draw(payers=[wallet], amount=amount, header=header("usage", at, feature=feature))


@pytest.mark.django_db
class TestSummary:
    def test_says_what_came_and_went_in_thirty_days(self, user):
        answer = as_user(user).get(PATH).json()
        assert (answer["since"], answer["until"]) == (
            "2026-03-21T12:00:00Z",
            "2026-04-20T12:00:00Z",
        )
        assert {
            name: answer[name] for name in ("granted", "spent", "expired", "refunded", "other")
        } == {
            "granted": by_type(award=300, purchase=200, partner=50),
            "spent": by_type(award=210),
            "expired": by_type(award=100),
            "refunded": by_type(award=10),
            "other": by_type(award=-5, purchase=-40),
        }
        assert answer["spend_by_feature"] == [
            {"feature": "report", "credits": 120, "count": 1},
            {"feature": None, "credits": 60, "count": 1},
            {"feature": "llm.input", "credits": 30, "count": 1},
        ]
        assert answer["spend_by_day"] == [
            {"date": "2026-04-05", "credits": 180},
            {"date": "2026-04-06", "credits": 30},
        ]

    def test_says_how_long_the_rest_will_last(self, user):
        answer = as_user(user).get(PATH).json()
        available = as_user(user).get("credits/balance").json()["available"]
        assert answer["available"] == available == 705
        assert answer["burn_rate"] == "7.00"
        assert answer["days_left"] == 705 * 30 // 210

    def test_shows_current_grants_with_their_expiry(self, user, noon):
        award(wallet_id_of(user), 7, noon, expires_at=noon + DAY)
        grants = as_user(user).get(PATH).json()["grants"]
        assert [(grant["remaining"], grant["expires_at"]) for grant in grants] == [
            (7, "2026-04-21T12:00:00Z"),
            (495, None),
            (160, None),
            (50, None),
        ]

    def test_adds_up_to_the_change_of_the_balance(self, user):
        query = {"from": "2026-01-01T00:00:00Z"}
        answer = as_user(user).get(PATH, query).json()
        balance = as_user(user).get("credits/balance").json()
        for name, shown in (("award", "awards"), ("purchase", "purchases"), ("partner", "partner")):
            change = (
                answer["granted"][name]
                - answer["spent"][name]
                - answer["expired"][name]
                + answer["refunded"][name]
                + answer["other"][name]
            )
            assert change == balance[shown]

    def test_keeps_to_the_period(self, user):
        query = {"from": "2026-04-05T12:00:00Z", "to": "2026-04-06T12:00:00Z"}
        answer = as_user(user).get(PATH, query).json()
        assert (answer["spent"]["total"], answer["burn_rate"]) == (180, "180.00")
        empty = {"from": "2025-04-05T12:00:00Z", "to": "2025-04-06T12:00:00Z"}
        answer = as_user(user).get(PATH, empty).json()
        assert (answer["spent"]["total"], answer["burn_rate"], answer["days_left"]) == (
            0,
            "0.00",
            None,
        )

    def test_counts_only_the_days_that_have_passed(self, user):
        query = {"from": "2026-04-05T12:00:00Z", "to": "2026-05-20T12:00:00Z"}
        assert as_user(user).get(PATH, query).json()["burn_rate"] == "14.00"

    @pytest.mark.parametrize(
        "query",
        [
            {"from": "2099-01-01T00:00:00Z"},
            {"from": "2099-01-01T00:00:00Z", "to": "2099-02-01T00:00:00Z"},
        ],
    )
    def test_finds_nothing_in_the_future(self, user, query):
        answer = as_user(user).get(PATH, query).json()
        assert (answer["spent"]["total"], answer["burn_rate"], answer["days_left"]) == (
            0,
            "0.00",
            None,
        )

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"from": "2024-01-01T00:00:00Z"}, "from"),
            ({"from": "x"}, "from"),
            ({"to": "2026-13-01T00:00:00Z"}, "to"),
            ({"period": "month"}, "period"),
        ],
    )
    def test_refuses_other_questions(self, user, query, field):
        assert wrong_fields(as_user(user).get(PATH, query)) == [field]

    def test_takes_as_many_queries_whatever_happened(self, user, django_assert_num_queries):
        caller, newcomer = as_user(user), poor_user()
        wallet_id_of(newcomer)
        for each in (caller, as_user(newcomer)):
            with django_assert_num_queries(7):
                each.get(PATH)

    def test_is_for_whose_wallet_it_is(self, user):
        response = as_user(poor_user()).get(PATH, {"user_id": user.pk})
        assert refused(response) == (404, "not_found")
        assert refused(as_service("credits:read").get(PATH)) == (400, "invalid_request")
        response = as_service("credits:read").get(PATH, {"user_id": user.pk})
        assert response.json() == as_user(user).get(PATH).json()

    @pytest.mark.parametrize("group", StaffGroup)
    def test_shows_staff_what_the_user_sees(self, user, group):
        staff = as_user(StaffFactory(groups=group))
        path = f"admin/credits/user/{user.pk}/summary"
        assert staff.get(path).json() == as_user(user).get(PATH).json()
        assert refused(as_user(user).get(path)) == (403, "not_permitted")


@pytest.mark.django_db
class TestSystemSummary:
    @pytest.fixture
    def answer(self, user, noon):
        award(new_wallet(), 150_000, noon - 400 * DAY)
        unfunded = new_wallet()
        give(unfunded, 99, CreditType.PURCHASE, "purchase", noon - 40 * DAY)
        hold(unfunded, 9, noon - 2 * DAY, until=noon + DAY)
        spend(unfunded, 20, noon - DAY)
        expired = new_wallet()
        award(expired, 70, noon - 2 * DAY, expires_at=noon - DAY)
        posting.set_status(wallet=expired, expected="active", status="paused")
        response = as_user(StaffFactory(groups=StaffGroup.FINANCE)).get(SYSTEM)
        assert response.status_code == 200
        return response.json()

    def test_adds_up_what_all_wallets_have(self, answer):
        assert answer["totals"] == {
            "award": 150_495,
            "purchase": 239,
            "partner": 50,
            "current_credits": 150_784,
            "available": 150_775,
            "held": 9,
            "debt": 0,
        }

    def test_counts_wallets_by_status_and_size(self, answer):
        # The member of staff who asks has an empty wallet, too.
        assert answer["wallets"] == {"active": 4, "paused": 1, "closed": 0}
        assert [
            (each["at_least"], each["at_most"], each["wallets"], each["credits"])
            for each in answer["distribution"]
        ] == [
            (0, 0, 2, 0),
            (1, 99, 1, 79),
            (100, 999, 1, 705),
            (1_000, 9_999, 0, 0),
            (10_000, 99_999, 0, 0),
            (100_000, None, 1, 150_000),
        ]

    def test_shows_what_was_used_month_by_month(self, answer):
        months = answer["monthly_consumption"]
        assert [month["month"] for month in (months[0], *months[-2:])] == [
            "2025-05",
            "2026-03",
            "2026-04",
        ]
        assert len(months) == 12
        assert months[-2] == {"month": "2026-03", "award": 500, "purchase": 0, "partner": 0}
        assert months[-1] == {"month": "2026-04", "award": 210, "purchase": 20, "partner": 0}

    def test_shows_revenue_and_liability(self, answer):
        # 200 for 20.00, of which 40 and 4.00 went back; nothing of it is used.
        usd = {"currency": "usd"}
        assert answer["revenue"] == {
            "recognised": [{"amount_minor": 0, **usd}],
            "released_by_staff": [{"amount_minor": 0, **usd}],
        }
        assert answer["liability"] == {
            "purchased_credits": 239,
            "unfunded_credits": 79,
            "deferred": [{"amount_minor": 1_600, **usd}],
        }

    def test_is_for_staff(self, user):
        assert refused(as_user(user).get(SYSTEM)) == (403, "not_permitted")
        assert refused(as_service("credits:read").get(SYSTEM)) == (403, "missing_scope")
        assert as_service("credits:admin").get(SYSTEM).status_code == 200

    def test_takes_no_parameters(self, db):
        assert wrong_fields(as_user(StaffFactory()).get(SYSTEM, {"a": "b"})) == ["a"]

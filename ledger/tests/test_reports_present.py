"""The reports of the present and of staff, against sums over raw rows."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from accounts.models import Role, User
from accounts.tests.factories import StaffFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from audit.services import record
from creditsite.text import clean_text
from ledger.choices import CreditType
from ledger.models import CreditSettings, Entry, Grant, Wallet
from ledger.reports import REPORTS, balances, people
from ledger.reports.shapes import Period
from ledger.services import posting
from ledger.tests import books
from ledger.tests.factories import AT, DAY, HOUR, open_hold, spend, wallet_with_credits
from ledger.tests.test_snapshots import eventful_wallets

TODAY = Period(AT.date(), AT.date())


def random_wallets(seed, number=25):
    """Wallets whose grants expire here and there, spent and held in part, some of them frozen."""
    dice = random.Random(seed)
    for _ in range(number):
        wallet = books.new_wallet()
        for _ in range(dice.randrange(4)):
            around = datetime(2026, 7, 1, tzinfo=UTC) + timedelta(hours=dice.randrange(-13, 13))
            anywhen = AT + timedelta(hours=dice.randrange(1, 12_000))
            expires_at = dice.choice([None, anywhen, around])
            give = dice.choice([books.award, books.partner])
            given = give(wallet, dice.randrange(1, 500_000), AT, expires_at=expires_at)
            if dice.random() < 0.1:
                posting.freeze(grants=[books.grant_of(given)], frozen=True, at=AT)
        if (most := books.available(wallet, AT)) > 2:
            books.spend(wallet, dice.randrange(1, most), AT)
        if (most := books.available(wallet, AT)) > 2 and dice.random() < 0.5:
            held = dice.randrange(1, most)
            books.hold(wallet, held, AT, until=AT + 600 * DAY)
            if dice.random() < 0.5:
                books.deduct(wallet, most, AT)


def by_name(report):
    """Return rows and totals as dictionaries."""
    names = [column.name for column in report.columns]
    rows = [dict(zip(names, row, strict=True)) for row in report.rows]
    return rows, [dict(zip(names, row, strict=True)) for row in report.totals]


def shown(at):
    """Return the credits of each wallet as its owner is shown them, by type, from its grants."""
    figures = {pk: Counter() for pk in Wallet.objects.values_list("pk", flat=True)}
    for grant in Grant.objects.all():
        gone = grant.is_frozen or (grant.expires_at is not None and grant.expires_at <= at)
        figures[grant.wallet_id][grant.credit_type] += grant.held if gone else grant.remaining
    return figures


@pytest.mark.django_db
class TestDistribution:
    @pytest.mark.parametrize("at", [AT, AT + 100 * DAY])
    def test_ties_to_what_every_wallet_has(self, at):
        eventful_wallets()
        random_wallets(seed=1)
        rows, [total] = by_name(balances.distribution(TODAY, at))
        wallets = shown(at)
        assert total["wallets"] == sum(row["wallets"] for row in rows) == len(wallets)
        for name in ["award", "purchase", "partner"]:
            expected = sum(figures[name] for figures in wallets.values())
            assert total[name] == sum(row[name] for row in rows) == expected
        sizes = [sum(figures.values()) for figures in wallets.values()]
        assert total["credits"] == sum(sizes)
        assert [row["wallets"] for row in rows] == [
            sum(low <= size <= high for size in sizes)
            for low, high in [
                (0, 0), (1, 99), (100, 999), (1_000, 9_999), (10_000, 99_999), (100_000, 10**18),
            ]
        ]  # fmt: skip
        assert total["held"] == sum(Wallet.objects.values_list("held", flat=True))
        assert total["debt"] == sum(Wallet.objects.values_list("debt", flat=True)) == 20

    def test_of_nothing_is_zeros(self):
        rows, [total] = by_name(balances.distribution(TODAY, AT))
        assert {row["wallets"] for row in rows} == {0}
        assert (total["credits"], total["share_of_credits"]) == (0, 0)


@pytest.mark.django_db
class TestExpiry:
    @pytest.mark.parametrize("seed", [1, 2])
    @pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
    def test_ties_to_what_is_left_of_every_grant(self, seed, zone):
        CreditSettings.objects.create(time_zone=zone, changed_at=AT - DAY)
        random_wallets(seed)
        at = AT + DAY
        rows, [total] = by_name(balances.expiry(TODAY, at))
        expected = Counter()
        for grant in Grant.objects.filter(is_open=True):
            leaving = min(grant.remaining, grant.pending)
            local = grant.expires_at and grant.expires_at.astimezone(ZoneInfo(zone))
            if grant.is_frozen:
                label = "frozen: not before they are thawed"
            elif local is None:
                label = "never"
            elif grant.expires_at <= at:
                label = "over, but held or not booked yet"
            elif (local.year, local.month) > (2027, 5):
                label = "after May 2027"
            else:
                label = f"{local:%Y-%m}"
            expected[label, grant.credit_type] += grant.remaining - leaving
            expected["taken back or deducted when a hold ends", grant.credit_type] += leaving
        found = {
            (row["expires"], name): row[name]
            for row in rows
            for name in CreditType.values
            if row[name]
        }
        assert found == {key: credits for key, credits in expected.items() if credits}
        assert total["credits"] == sum(Entry.objects.values_list("amount", flat=True))
        months = [row["expires"] for row in rows if row["expires"].startswith("20")]
        assert (len(months), months[0], months[-1]) == (12, "2026-06", "2027-05")

    def test_tells_what_is_over_and_still_held(self):
        wallet = wallet_with_credits(award=10, expires_at=AT + HOUR)
        open_hold(wallet, 4)
        rows, [total] = by_name(balances.expiry(TODAY, AT + HOUR))
        assert rows[0]["expires"] == "over, but held or not booked yet"
        assert rows[0]["award"] == total["credits"] == 10

    def test_tells_what_leaves_when_its_hold_ends(self):
        """Clawed back, voided or deducted while held: none of it is there to expire."""
        bought, given, awarded = books.new_wallets(3)
        paid = books.buy(bought, 100, 1_000, AT)
        books.partner(given, 50, AT)
        books.award(awarded, 30, AT)
        for wallet, held in [(bought, 80), (given, 20), (awarded, 30)]:
            books.hold(wallet, held, AT, until=AT + DAY)
        books.claw_back(books.grant_of(paid), 70, 700, AT)
        books.void(given, AT)
        books.deduct(awarded, 10, AT)
        rows, [total] = by_name(balances.expiry(TODAY, AT))
        never, leaving = (row for row in rows if row["credits"])
        assert [leaving[name] for name in ["expires", *CreditType]] == [
            "taken back or deducted when a hold ends", 10, 20, 50,
        ]  # fmt: skip
        assert [never[name] for name in ["expires", *CreditType]] == ["never", 20, 0, 30]
        assert total["credits"] == sum(Entry.objects.values_list("amount", flat=True))


@pytest.mark.django_db
class TestCreditsByRole:
    def test_tells_who_has_credits_and_who_never_had_any(self):
        """As the verification queries do: users with credits, and credits by role."""
        member = Role.objects.get(code="member")
        team_admin = Role.objects.get(code="team_admin")
        UserFactory.create_batch(2)
        spent = UserFactory()
        spend(Wallet.objects.get(user=spent), 350, at=timezone.now())
        late = UserFactory()
        User.objects.filter(pk=late.pk).update(role=team_admin)
        never = UserFactory(role=None)
        User.objects.filter(pk=never.pk).update(role=member)
        wallet_with_credits(TeamFactory(owner=None), purchase=77)
        rows, [total] = by_name(people.credits_by_role(TODAY, timezone.now()))
        of = {row["role"]: row for row in rows}
        assert of[member.name] == {
            "role": member.name,
            "allotment": 350,
            "users": 4,
            "with_credits": 2,
            "share_with_credits": 50,
            "without_credits": 2,
            "never_had_any": 1,
            "award": 700,
            "purchase": 0,
            "partner": 0,
            "credits": 700,
            "average": 175,
        }
        assert (of[team_admin.name]["users"], of[team_admin.name]["credits"]) == (1, 350)
        assert of["organisations"]["purchase"] == 77
        assert (total["users"], total["with_credits"]) == (6, 4)

    def test_ties_to_all_wallets(self):
        eventful_wallets()
        random_wallets(seed=3)
        at = AT + 50 * DAY
        rows, [total] = by_name(people.credits_by_role(TODAY, at))
        wallets = shown(at)
        for name in CreditType.values:
            expected = sum(figures[name] for figures in wallets.values())
            assert total[name] == sum(row[name] for row in rows) == expected
        assert total["users"] == User.objects.count() + Wallet.objects.filter(user=None).count()
        assert total["with_credits"] == sum(any(f.values()) for f in wallets.values())
        moved = Wallet.objects.filter(version__gt=0).count()
        assert total["never_had_any"] == total["users"] - moved

    def test_of_nobody_is_zeros(self):
        rows, [total] = by_name(people.credits_by_role(TODAY, AT))
        assert (rows, total["users"], total["average"]) == ([], 0, 0)


@pytest.mark.django_db
class TestStaffActivity:
    ZONE = "Asia/Tokyo"

    def acted(self, actor, action, at):
        record(action, actor=actor, target="something", at=at)

    def test_counts_the_events_of_staff_and_of_the_system_on_days_of_business(self):
        CreditSettings.objects.create(time_zone=self.ZONE, changed_at=AT - 300 * DAY)
        staff, left, customer = StaffFactory(), StaffFactory(), UserFactory()
        self.acted(left, "accounts.staff.signed_in", AT - 90 * DAY)
        User.objects.filter(pk=left.pk).update(is_staff=False)
        dice = random.Random(7)
        for _ in range(200):
            self.acted(
                dice.choice([staff, left, customer, None]),
                dice.choice(["ledger.credits.added", "ledger.wallet.paused"]),
                AT + timedelta(minutes=dice.randrange(-60_000, 60_000)),
            )
        period = Period(date(2026, 5, 20), date(2026, 6, 12))
        rows, [total] = by_name(people.staff_activity(period, AT))
        expected = Counter(
            (event.actor_label, event.action)
            for event in AuditEvent.objects.all()
            if period.first <= event.at.astimezone(ZoneInfo(self.ZONE)).date() <= period.last
            and event.actor_id != customer.pk
        )
        assert {(row["member"], row["action"]): row["times"] for row in rows} == expected
        assert total["times"] == expected.total() > 30

    def test_says_what_was_done_and_shows_who_it_was_today(self):
        staff = StaffFactory(email="before@example.com")
        self.acted(staff, "ledger.credits.added", AT)
        User.objects.filter(pk=staff.pk).update(email="after@example.com")
        [row], _ = by_name(people.staff_activity(TODAY, AT))
        assert row["member"] == "after@example.com"
        assert row["did"] == "Added credits to …"

    @pytest.mark.parametrize("moment", [0, 24])
    def test_takes_in_the_first_instant_of_a_day_and_not_that_of_the_next(self, moment):
        self.acted(None, "ledger.backfill.run", datetime(2026, 6, 1, tzinfo=UTC) + moment * HOUR)
        rows, _ = by_name(people.staff_activity(TODAY, AT))
        assert len(rows) == (moment == 0)


def test_each_report_says_in_clean_sentences_what_it_is():
    assert list(REPORTS) == [kind.slug for kind in REPORTS.values()]
    for kind in REPORTS.values():
        assert clean_text(kind.description, 200).endswith(".")
        assert kind.permission == "ledger.view_report"

"""Telling people that their credits run low: once a crossing, at most once a day, by one mail."""

from datetime import datetime, timedelta
from time import sleep

import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import Role, Team, User
from accounts.tests.factories import TeamFactory, UserFactory
from creditsite.testing.races import race
from ledger import tasks
from ledger.models import LowCredit, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services import low_credit, posting, rollups
from ledger.services.low_credit import look_for_low_credit, send_notices
from ledger.tests.factories import (
    DAY,
    HOUR,
    CustomerFactory,
    close,
    open_hold,
    pool_of_team_admin,
    seat,
    set_credit_settings,
    spend,
    wallet_with_credits,
)
from ledger.tests.test_daily_caps import NOW_IN_THIS_DATABASE

SUBJECT = "Credits are running low"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Look at what moved a moment ago, not only at what moved a minute ago."""
    monkeypatch.setattr(rollups, "LONGEST_WAIT", timedelta(0))
    monkeypatch.setattr(rollups, "NOW", NOW_IN_THIS_DATABASE)


@pytest.fixture
def from_now(ledger_db) -> datetime:
    """An instant before which nothing is looked at; wallets move from then on."""
    look_for_low_credit(at=timezone.now())
    return timezone.now()


def look(at: datetime) -> int:
    """Do what the worker does every minute, until all that moved has been walked."""
    for _ in range(3):
        sleep(0.002)
        assert look_for_low_credit(at=at)
    return send_notices(at=at)


def funded(award: int, at: datetime, owner: User | Team | None = None, **more) -> Wallet:
    return wallet_with_credits(owner, award=award, at=at, **more)


def mails_to(owner: User | None) -> list[str]:
    return [email.subject for email in mail.outbox if owner is None or email.to == [owner.email]]


@pytest.mark.django_db
class TestNotices:
    def test_tell_the_user_who_fell_below_the_threshold(self, from_now):
        low, enough = funded(350, from_now), funded(350, from_now)
        spend(low, 251, at=from_now)
        spend(enough, 250, at=from_now)
        assert look(from_now) == 1
        assert (mails_to(low.user), mails_to(enough.user)) == ([SUBJECT], [])
        (email,) = mail.outbox
        for text in (email.body, str(email.alternatives[0][0])):
            assert "You have fewer than 100 credits left to spend." in text
        assert "Left to spend: 99\nHeld for running jobs: 0" in email.body

    def test_come_once_a_crossing(self, from_now):
        wallet = funded(350, from_now)
        spend(wallet, 300, at=from_now)
        assert look(from_now) == 1
        for days in (1, 2, 3):
            spend(wallet, 1, at=from_now + days * DAY)
            assert look(from_now + days * DAY) == 0
        funded(200, from_now + 4 * DAY, wallet.user)
        assert look(from_now + 4 * DAY) == 0
        spend(wallet, 200, at=from_now + 5 * DAY)
        assert look(from_now + 5 * DAY) == 1
        assert mails_to(wallet.user) == [SUBJECT] * 2

    def test_come_at_most_once_a_day_and_are_made_up_for_after_it(self, from_now):
        wallet, at = funded(350, from_now), from_now
        spend(wallet, 300, at=at)
        assert look(at) == 1
        funded(200, at + HOUR, wallet.user)
        look(at + HOUR)
        spend(wallet, 200, at=at + 2 * HOUR)
        assert [look(at + hours * HOUR) for hours in (2, 23, 24, 25, 49)] == [0, 0, 1, 0, 0]

    def test_are_not_made_up_for_where_there_is_enough_again(self, from_now):
        wallet, at = funded(350, from_now), from_now
        spend(wallet, 300, at=at)
        look(at)
        for hours in (1, 3):
            funded(200, at + hours * HOUR, wallet.user)
            look(at + hours * HOUR)
            spend(wallet, 200, at=at + (hours + 1) * HOUR)
            look(at + (hours + 1) * HOUR)
        funded(200, at + 5 * HOUR, wallet.user)
        assert [look(at + hours * HOUR) for hours in (5, 30)] == [0, 0]

    def test_come_when_an_expiry_lowers_it(self, from_now):
        wallet = funded(350, from_now, expires_at=from_now + DAY)
        assert look(from_now) == 0
        posting.expire(at=from_now + DAY, limit=10)
        assert look(from_now + DAY) == 1
        assert mails_to(wallet.user) == [SUBJECT]

    def test_count_neither_what_is_held_nor_what_has_expired_unswept(self, from_now):
        holding, expiring = funded(350, from_now), funded(50, from_now)
        funded(300, from_now, expiring.user, expires_at=from_now + HOUR)
        open_hold(holding, 251, at=from_now)
        for wallet in (holding, expiring):
            spend(wallet, 1, at=from_now)
        assert look(from_now) == 1
        assert "Left to spend: 98\nHeld for running jobs: 251" in mail.outbox[0].body
        spend(expiring, 1, at=from_now + HOUR)
        assert look(from_now + HOUR) == 1

    def test_do_not_come_to_who_never_had_more(self, from_now):
        wallet = funded(99, from_now)
        look(from_now)
        spend(wallet, 10, at=from_now)
        assert (look(from_now), mails_to(None)) == (0, [])

    def test_come_to_who_had_more_in_between(self, from_now):
        wallet = CustomerFactory()
        funded(350, from_now, wallet)
        spend(wallet_of(wallet), 300, at=from_now)
        assert look(from_now) == 1

    def test_are_of_the_state_when_they_are_sent(self, from_now):
        wallet = funded(350, from_now)
        spend(wallet, 300, at=from_now)
        for _ in range(3):
            sleep(0.002)
            look_for_low_credit(at=from_now)
        funded(500, from_now, wallet.user)
        assert send_notices(at=from_now) == 0

    def test_do_not_come_to_the_inactive_or_of_closed_wallets(self, from_now):
        closed, inactive = funded(350, from_now), funded(350, from_now)
        for wallet in (closed, inactive):
            spend(wallet, 300, at=from_now)
        close(closed)
        User.objects.filter(pk=inactive.user_id).update(is_active=False)
        assert (look(from_now), mails_to(None)) == (0, [])

    def test_go_by_the_threshold_in_force(self, from_now):
        set_credit_settings(low_credit_threshold=0)
        set_credit_settings(low_credit_threshold=300, changed_at=from_now + DAY)
        wallet = funded(350, from_now)
        spend(wallet, 350, at=from_now)
        assert look(from_now) == 0
        funded(400, from_now + DAY, wallet.user)
        spend(wallet, 101, at=from_now + DAY)
        assert look(from_now + DAY) == 1

    def test_of_a_team_go_to_its_owner_and_of_an_organisation_to_who_manages_it(self, from_now):
        _, pool = pool_of_team_admin(UserFactory())
        organisation = TeamFactory(name="Northwind")
        manager = UserFactory(role=Role.objects.get(code="team_admin"))
        seat(organisation, manager, UserFactory())
        wallet = funded(350, from_now, organisation)
        for payer, amount in [(pool, 4_950), (wallet, 300)]:
            spend(payer, amount, at=from_now)
        assert look(from_now) == 2
        assert mails_to(pool.user) == mails_to(manager) == [SUBJECT]
        assert len(mail.outbox) == 2
        assert any("Northwind has fewer than 100" in email.body for email in mail.outbox)


@pytest.mark.django_db
class TestWorkersAtOnce:
    def test_send_one_mail(self, from_now, monkeypatch):
        wallets = [funded(350, from_now) for _ in range(5)]
        for wallet in wallets:
            spend(wallet, 300, at=from_now)

        def work() -> None:
            for _ in range(4):
                look_for_low_credit(at=from_now)
                send_notices(at=from_now)
                sleep(0.002)

        assert race(*[work] * 4) == ["NoneType"] * 4
        assert [mails_to(wallet.user) for wallet in wallets] == [[SUBJECT]] * 5

    def test_leave_a_wallet_to_who_has_it(self, from_now):
        wallet = funded(350, from_now)
        LowCredit.objects.create(wallet=wallet, is_low=True, owes_notice=True)
        spend(wallet, 300, at=from_now)
        # All find it owed a notice before any of them has taken it.
        assert race(*[lambda: low_credit.send_notices(at=from_now)] * 8) == ["int"] * 8
        assert mails_to(wallet.user) == [SUBJECT]


@pytest.mark.django_db
class TestTask:
    def test_looks_and_tells(self, from_now):
        wallet = funded(350, from_now)
        spend(wallet, 300, at=timezone.now())
        for _ in range(3):
            sleep(0.002)
            tasks.notice_low_credit()
        assert mails_to(wallet.user) == [SUBJECT]

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from creditsite.testing import race
from ledger import tasks
from ledger.choices import CreditType
from ledger.invariants import Finding, all_checks, violations
from ledger.models import CreditSettings, LedgerCheck, Snapshot, Wallet
from ledger.queries.balances import balances_of
from ledger.services import adjustments, posting
from ledger.services.checks import keep_check
from ledger.services.snapshots import renew
from ledger.tests import books
from ledger.tests.factories import (
    AT,
    DAY,
    MINUTE,
    close,
    open_hold,
    spend,
    wallet_with_credits,
)
from ledger.tests.test_check_ledger import damage


def eventful_wallets():
    """Wallets in every state that tells: expired, frozen, held, owing, paused, closed, empty."""
    wallet_with_credits(award=10, purchase=500)
    wallet_with_credits(award=70, expires_at=AT + DAY)
    open_hold(wallet_with_credits(partner=120), 50)
    spend(wallet_with_credits(award=300), 290)
    frozen = books.buy(wallet_with_credits(award=5).pk, 200, 1_000, at=AT)
    posting.freeze(grants=[books.grant_of(frozen)], frozen=True, at=AT)
    books.spend(wallet_with_credits(award=5).pk, 25, at=AT, short="debt")
    paused = wallet_with_credits(award=1)
    adjustments.pause_wallet(wallet=paused, reason="", actor=None, at=AT)
    close(wallet_with_credits(award=2))
    wallet_with_credits()


def counted(at, threshold):
    """Count the wallets one by one, as each is shown to its owner."""
    balances = balances_of(Wallet.objects.values_list("pk", flat=True), at).values()
    figures = {t: sum(getattr(b, t) for b in balances) for t in [*CreditType, "held", "debt"]}
    low = [b for b in balances if b.status == "active" and b.version and b.available < threshold]
    return {**figures, "wallets": len(balances), "low": len(low), "low_threshold": threshold}


@pytest.mark.django_db
class TestRenew:
    @pytest.mark.parametrize("at", [AT + MINUTE, AT + 2 * DAY])
    @pytest.mark.parametrize("threshold", [0, 100])
    def test_counts_what_every_wallet_is_shown_to_have(self, at, threshold):
        CreditSettings.objects.create(low_credit_threshold=threshold, changed_at=AT)
        eventful_wallets()
        assert renew(at=at)
        expected = counted(at, threshold)
        assert Snapshot.objects.values(*expected).get() == expected
        assert expected["debt"] == 20
        assert bool(expected["low"]) == bool(threshold)

    def test_keeps_one_and_says_of_when_it_is(self):
        wallet = wallet_with_credits(award=7)
        assert renew(at=AT)
        spend(wallet, 3)
        assert renew(at=AT + MINUTE)
        snapshot = Snapshot.objects.get()
        assert (snapshot.at, snapshot.award) == (AT + MINUTE, 4)

    def test_costs_one_count_however_many_wallets_there_are(self):
        wallet_with_credits(award=1)
        with CaptureQueriesContext(connection) as few:
            renew(at=AT)
        eventful_wallets()
        with CaptureQueriesContext(connection) as many:
            renew(at=AT + MINUTE)
        assert len(many) <= len(few) + 1  # The row is there to be updated.

    def test_leaves_time_for_other_things(self):
        renew(at=AT)
        Snapshot.objects.update(seconds=30)
        assert not renew(at=AT + 9 * MINUTE)
        assert renew(at=AT + 11 * MINUTE)

    def test_is_done_by_one_at_a_time(self, ledger_db):
        for _ in range(30):
            wallet_with_credits(award=1)
        later = AT + timedelta(hours=1)
        assert set(race(*[lambda: renew(at=later) for _ in range(8)])) == {"bool"}
        assert Snapshot.objects.get().award == 30

    def test_is_what_the_task_does(self):
        wallet_with_credits(award=9)
        tasks.renew_snapshot()
        assert Snapshot.objects.get().award == 9


@pytest.mark.django_db
class TestKeptChecks:
    @pytest.mark.breaks_the_books
    def test_say_when_the_books_were_checked_and_what_was_found(self):
        wallet = wallet_with_credits(award=10)
        tasks.check_ledger()
        call_command("check_ledger", stdout=StringIO())
        damage("UPDATE ledger_wallet SET debt = 1 WHERE id = %(w)s", wallet)
        tasks.check_ledger()
        with pytest.raises(CommandError):
            call_command("check_ledger", stdout=StringIO())
        sound, same, broken, again = LedgerCheck.objects.order_by("pk")
        assert (sound.violations, same.violations) == (0, 0)
        assert {sound.checks, same.checks, broken.checks} == {len(all_checks())}
        assert broken.violations == again.violations == 1
        assert broken.findings == again.findings == list(violations())
        assert str(broken).startswith("broken in 1 places, ")
        assert sound.seconds > 0

    def test_are_of_all_wallets(self):
        wallet = wallet_with_credits(award=10)
        call_command("check_ledger", wallet=[wallet.pk], stdout=StringIO())
        assert not LedgerCheck.objects.exists()

    def test_list_no_more_than_a_page_has_room_for(self):
        found = [Finding("A check", [f"wallet {number}: wrong" for number in range(300)], 0.5)]
        check = keep_check(found=found, at=AT)
        assert (check.violations, len(check.findings), check.seconds) == (300, 100, 0.5)

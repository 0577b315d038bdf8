"""The staff's first page: figures for who may see them, at a cost that does not grow."""

from contextlib import contextmanager
from datetime import timedelta
from time import sleep

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from creditsite.site import dashboard
from creditsite.testing.people import as_role
from ledger import tasks
from ledger.invariants import all_checks
from ledger.models import CreditTransaction, LedgerCheck, Rollup, Snapshot
from ledger.queries.figures import FIGURES
from ledger.services import figures
from ledger.services.rollups import lowest_id
from ledger.tests import books
from ledger.tests.batches import confirm, planned
from ledger.tests.factories import (
    DAY,
    asked_credits,
    set_credit_settings,
    spend,
    wallet_with_credits,
)
from ledger.tests.pages import text

BOOKS = [
    "ledger_credittransaction", "ledger_entry", "ledger_restoration", "ledger_grant",
    "ledger_wallet", "ledger_hold", "ledger_moneyreturn",
]  # fmt: skip
PARTS = {
    "Admin": {"outstanding", "spent", "given", "revenue", "check", "batches", "approvals"},
    "Finance": {"outstanding", "spent", "given", "revenue", "check", "batches", "approvals"},
    "Auditor": {"outstanding", "spent", "given", "revenue", "check", "batches"},
    "Support": {"outstanding", "spent", "given", "batches"},
    "": set(),
}


def board(client):
    return client.get("/admin/").context["board"]


def all_added_up():
    """Add up all there is, as the worker does when nothing comes late any more."""
    sleep(0.002)
    upper = lowest_id(timezone.now())
    rollup = Rollup.objects.filter(name=FIGURES).first()
    figures._add_up(rollup.before if rollup else lowest_id(books.START), upper)
    fields = {"before": upper, "next_before": upper, "next_xid": 0}
    Rollup.objects.update_or_create(name=FIGURES, defaults=fields)


def traffic(wallet, number):
    """Let ``wallet`` buy and spend so many times in the last days."""
    now = timezone.now()
    for each in range(number):
        books.buy(wallet.pk, 10, 100, now - (each % 20) * DAY)
        books.spend(wallet.pk, 3, now)


def rows_read():
    """Return how many rows of the books this transaction has read, by table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0)"
            " FROM pg_stat_xact_user_tables WHERE relname = ANY (%s)",
            [BOOKS],
        )
        return dict(cursor.fetchall())


def forget_statistics():
    """Have plans made as if the server had never looked at the tables: it may have, empty."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM pg_statistic USING pg_class c"
            " WHERE c.oid = starelid AND c.relname LIKE 'ledger%'"
        )
        cursor.execute(
            "UPDATE pg_class SET relpages = 0, reltuples = -1 WHERE relname LIKE 'ledger%'"
        )


@contextmanager
def reading_by_keys():
    """Have PostgreSQL read as it does large tables: a small one is read as a whole otherwise."""
    with connection.cursor() as cursor:
        for choice in ["off", "on"]:
            for way in ["seqscan", "hashjoin", "mergejoin"]:
                cursor.execute(f"SET LOCAL enable_{way} = {choice}")
            if choice == "off":
                yield


@pytest.mark.django_db
class TestBoard:
    @pytest.mark.parametrize("group", PARTS)
    def test_has_the_parts_that_one_may_see(self, group):
        shown = board(as_role(group))
        assert PARTS[group] == shown.keys() & PARTS["Admin"]

    def test_tells_what_is_outstanding_as_it_was_counted(self):
        wallet_with_credits(award=1_500, purchase=400, partner=100, at=timezone.now())
        client = as_role("Support")
        assert board(client)["outstanding"] is None
        assert "Not counted yet" in text(client.get("/admin/"))
        tasks.renew_snapshot()
        shown = board(client)["outstanding"]
        assert shown["total"] == 2_000
        assert shown["by_type"] == {"Awards": 1_500, "Purchases": 400, "Partner": 100}
        assert shown["shares"] == [(1, 0, 750), (2, 750, 200), (3, 950, 50)]
        page = text(client.get("/admin/"))
        assert "2,000" in page
        assert f"Counted {timezone.now():%Y-%m-%d %H:}" in page
        Snapshot.objects.update(at=timezone.now() - timedelta(hours=1))
        assert "is the worker running?" in text(client.get("/admin/"))

    def test_tells_what_was_spent_and_given_day_by_day(self):
        now = timezone.now()
        wallet = wallet_with_credits(award=500, at=now - 3 * DAY)
        spend(wallet, 30, at=now - 3 * DAY)
        all_added_up()
        spend(wallet, 7, at=now - DAY)
        undone = spend(wallet, 5, at=now - DAY)
        books.spend(wallet.pk, 11, now)
        books.reverse(undone, 2, now)
        shown = board(as_role("Support"))
        assert (shown["spent"]["today"], shown["spent"]["yesterday"]) == (9, 12)
        assert shown["spent"]["picture"].series[0].values[-4:] == [30, 0, 12, 9]
        assert shown["given"]["picture"].series[0].values[-4:] == [500, 0, 0, 0]
        assert (shown["spent"]["total"], shown["given"]["total"]) == (51, 500)

    def test_tells_the_revenue_of_the_month_in_each_currency(self):
        now = timezone.now()
        wallet = wallet_with_credits(at=now)
        books.buy(wallet.pk, 100, 1_000, now)
        books.spend(wallet.pk, 30, now)
        all_added_up()
        books.spend(wallet.pk, 20, now)
        assert board(as_role("Finance"))["revenue"] == ["5.00 USD"]

    def test_leads_to_the_batches_that_wait(self):
        set_credit_settings(approval_batch_credits_above=40)
        wallet_with_credits(award=1)
        waiting = planned(amount=50)
        confirm(waiting)
        planned(amount=60)
        client = as_role("Admin")
        assert board(client)["batches_waiting"] == 1
        page = text(client.get("/admin/"))
        assert (
            f'/admin/ledger/batch/{waiting.pk}/change/">Add 50 award credits to 1 user</a>' in page
        )

    def test_counts_what_waits_for_whoever_looks(self):
        finance = as_role("Finance")
        asked_credits(wallet_with_credits(), actor=finance.user, at=timezone.now())
        assert board(finance)["approvals"] == 0
        assert board(as_role("Admin"))["approvals"] == 1

    def test_tells_whether_the_books_are_sound(self):
        client = as_role("Auditor")
        assert "Not checked yet" in text(client.get("/admin/"))
        tasks.check_ledger()
        page = text(client.get("/admin/"))
        assert "Sound" in page
        assert f"{len(all_checks())} invariants, checked" in page
        assert "Is the worker" not in page
        LedgerCheck.objects.create(
            at=timezone.now() - dashboard.LATE_CHECK - DAY,
            seconds=1,
            checks=21,
            violations=3,
            findings=["A wallet's debt: wallet 5: wrong"],
        )
        page = text(client.get("/admin/"))
        assert "Broken" in page
        assert "In 3 places: A wallet&#x27;s debt: wallet 5: wrong." in page
        assert "That is a while ago: is the worker running?" in page

    def test_does_without_the_figures_that_too_much_is_missing_from(self, monkeypatch):
        monkeypatch.setattr("ledger.queries.figures.MOST_WAITING", 2)
        wallet = wallet_with_credits(award=10, at=timezone.now())
        books.spend(wallet.pk, 1, timezone.now())
        client = as_role("Finance")
        assert board(client)["spent"]["today"] == 1
        books.spend(wallet.pk, 1, timezone.now())
        shown = board(client)
        assert (shown["spent"], shown["given"], shown["revenue"]) == (None, None, None)
        assert text(client.get("/admin/")).count("has not been added up yet") == 2
        all_added_up()
        assert board(client)["spent"]["today"] == 2

    def test_keeps_the_menu_below(self):
        assert "What everybody has, and why." in text(as_role("Support").get("/admin/"))


@pytest.mark.django_db
class TestCost:
    def test_is_the_same_however_much_has_happened(self):
        """Neither the queries nor the rows of the books that they read grow with the ledger."""
        forget_statistics()
        wallet = wallet_with_credits(at=timezone.now() - 30 * DAY)
        client = as_role("Admin")
        measured = []
        for number in [4, 40]:
            traffic(wallet, number)
            all_added_up()
            tasks.renew_snapshot()
            books.spend(wallet.pk, 1, timezone.now())  # the tail
            client.get("/admin/")  # What is read once for a connection.
            before = rows_read()
            with reading_by_keys(), CaptureQueriesContext(connection) as queries:
                client.get("/admin/")
            after = rows_read()
            read = {table: after[table] - before.get(table, 0) for table in after}
            measured.append((len(queries), {t: n for t, n in read.items() if n}))
        assert CreditTransaction.objects.count() == 2 * 44 + 2
        assert measured[0] == measured[1]
        assert sum(measured[0][1].values()) < 20

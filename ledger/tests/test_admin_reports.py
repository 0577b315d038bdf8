"""The pages of reports: who sees them, what they show, and what may be taken away."""

import csv
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.utils import timezone

from accounts.permissions import PERMISSIONS
from accounts.tests.factories import UserFactory
from audit.models import AuditEvent
from creditsite.testing.people import as_role
from ledger.admin.reports import MOST_ROWS, pictures, presets, total_cells, written
from ledger.models import CreditSettings
from ledger.reports import REPORTS, balances
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Takes
from ledger.services.reports import about
from ledger.tests import books
from ledger.tests.factories import DAY, spend, wallet_with_credits
from ledger.tests.pages import text

INDEX = "/admin/ledger/report/"
COLUMNS = [
    Column("day", "Day", Kind.DAY),
    Column("who", "Who", Kind.PERSON),
    Column("currency", "Currency", Kind.CURRENCY),
    Column("paid", "Paid", Kind.MONEY),
    Column("credits", "Credits", Kind.CREDITS),
]
FIRST = date(2026, 1, 1)


def rows_of(number):
    return [
        (FIRST + timedelta(days=n), f"=user{n}@example.com", "jpy" if n % 2 else "usd", 100 * n, n)
        for n in range(number)
    ]


@pytest.fixture
def made_up(monkeypatch):
    """A report of as many rows as the days that are asked for."""

    def build(period, at):
        rows = rows_of((period.last - period.first).days + 1)
        return Report(
            title="Made up",
            columns=COLUMNS,
            rows=iter(rows),  # can be read once
            totals=[(None, "", "usd", -123456, 7_000_000)],
            notes=["It is only for a test."],
            chart=Chart("bars", "day", ("paid",), per="currency"),
        )

    kind = ReportKind("made-up", "Made up", "A report that is made up.", build)
    monkeypatch.setitem(REPORTS, kind.slug, kind)
    return kind


def page(client, slug="made-up", **days):
    return client.get(f"{INDEX}{slug}/", days)


def table(response):
    """Return the rows of the page's table, cell by cell."""
    body = text(response).split("<tbody>")[1].split("</table>")[0]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("<tr>")[1:]]


@pytest.mark.django_db
class TestPages:
    def test_are_all_there_and_tell_something(self):
        wallet = wallet_with_credits(UserFactory(), award=50, at=timezone.now() - DAY)
        books.buy(wallet.pk, 100, 1_000, timezone.now() - DAY)
        spend(wallet, 120, at=timezone.now())
        client = as_role("Finance")
        for kind in client.get(INDEX).context["kinds"]:
            response = page(client, kind.slug)
            assert response.status_code == 200, kind.slug
            assert response.context["rows"], kind.slug
            assert kind.title in text(response)
        assert [*client.get(INDEX).context["kinds"]] == [*REPORTS.values()]

    @pytest.mark.parametrize(
        ("group", "status"), [("Auditor", 200), ("Admin", 200), ("Support", 403)]
    )
    def test_are_for_whom_the_table_says(self, made_up, group, status):
        client = as_role(group)
        assert client.get(INDEX).status_code == status
        assert page(client).status_code == status

    def test_show_people_to_those_alone_who_may_see_their_wallets(self):
        for permissions in PERMISSIONS.values():
            assert "ledger.view_wallet" in permissions or "ledger.view_report" not in permissions

    def test_show_figures_as_people_write_them(self, made_up):
        shown = table(page(as_role("Finance"), first="2026-01-01", last="2026-01-03"))
        assert shown[:3] == [
            ["2026-01-01", "=user0@example.com", "USD", "0.00", "0"],
            ["2026-01-02", "=user1@example.com", "JPY", "100", "1"],
            ["2026-01-03", "=user2@example.com", "USD", "2.00", "2"],
        ]
        assert shown[3] == ["All", "", "USD", "−1,234.56", "7,000,000"]

    def test_say_what_the_figures_are_and_until_when(self, made_up):
        CreditSettings.objects.create(time_zone="Asia/Tokyo", changed_at=timezone.now() - DAY)
        shown = text(page(as_role("Finance"), first="2026-01-01", last="2026-01-31"))
        assert "It is only for a test." in shown
        assert f"As of {timezone.now():%Y-%m-%d %H:}" in shown
        assert "Days begin and end in Asia/Tokyo." in shown
        assert "2026-01-01 to 2026-01-31" in shown

    def test_begin_with_the_month_so_far(self, made_up):
        form = page(as_role("Finance")).context["form"]
        today = timezone.now().date()
        assert form.period == Period(today.replace(day=1), today)

    @pytest.mark.parametrize(
        ("days", "error"),
        [
            ({"first": "2026-02-01", "last": "2026-01-31"}, "The first day comes after the last."),
            ({"first": "2026-02-30", "last": "2026-03-01"}, "Enter a valid date."),
            ({"first": "2026-02-01"}, "This field is required."),
            ({"last": "01/02/2026", "first": "2026-01-01"}, "Enter a valid date."),
            ({"first": "0001-01-01", "last": "2026-01-01"}, "greater than or equal to 2000-01-01"),
            ({"first": "2026-01-01", "last": "9999-12-31"}, "less than or equal to 2999-12-31"),
            ({"first": "2010-01-01", "last": "2026-01-01"}, "Ask for 10 years at most."),
        ],
    )
    def test_say_what_is_wrong_with_the_days(self, made_up, days, error):
        response = page(as_role("Finance"), **days)
        assert response.status_code == 200
        shown = re.sub(r"\s+", " ", text(response)).replace("Jan. 1, 2000", "2000-01-01")
        assert error in shown.replace("Dec. 31, 2999", "2999-12-31")
        assert "<table" not in shown
        assert "CSV" not in shown

    def test_of_a_day_are_of_its_end(self):
        response = page(as_role("Finance"), "outstanding", day="2026-01-31")
        assert response.context["form"].period == Period(date(2026, 1, 31), date(2026, 1, 31))
        assert "at the end of 2026-01-31" in text(response)

    def test_show_the_beginning_of_what_is_long(self, made_up):
        response = page(as_role("Finance"), first="2020-01-01", last="2022-01-01")
        assert len(response.context["rows"]) == MOST_ROWS
        assert f"The first {MOST_ROWS} rows are shown" in text(response)

    def test_are_not_there_if_nobody_made_them(self):
        assert page(as_role("Finance"), "nothing").status_code == 404

    def test_are_read_and_nothing_else(self, made_up):
        client = as_role("Finance")
        assert client.post(INDEX).status_code == client.post(f"{INDEX}made-up/").status_code == 405


class TestPresets:
    @pytest.mark.parametrize(
        ("today", "expected"),
        [
            (
                date(2026, 1, 31),
                ["2026-01-01", "2025-12-01", "2026-01-01", "2026-01-01", "2025-01-01"],
            ),
            (
                date(2024, 5, 31),
                ["2024-05-01", "2024-04-01", "2024-04-01", "2024-01-01", "2023-01-01"],
            ),
        ],
    )
    def test_begin_where_their_names_say(self, today, expected):
        assert [days["first"] for _, days in presets(today)] == expected

    def test_end_today_or_with_what_is_over(self):
        lasts = [days["last"] for _, days in presets(date(2024, 3, 15))]
        assert lasts == ["2024-03-15", "2024-02-29", "2024-03-15", "2024-03-15", "2023-12-31"]


class TestFigures:
    @pytest.mark.parametrize(
        ("kind", "value", "currency", "shown"),
        [
            (Kind.CREDITS, -1_234, "", "−1,234"),
            (Kind.MONEY, 123_456, "usd", "1,234.56"),
            (Kind.MONEY, 123_456, "jpy", "123,456"),
            (Kind.MONEY, 123_456, "kwd", "123.456"),
            (Kind.MONEY, 2**62, "usd", "46,116,860,184,273,879.04"),
            (Kind.MONEY, None, "usd", "–"),
            (Kind.COST, Decimal("0.018300"), "", "0.0183"),
            (Kind.COST, Decimal("100.000000"), "", "100"),
            (Kind.PERCENT, Decimal("12.5"), "", "12.5 %"),
            (Kind.MONTH, FIRST, "", "2026-01"),
            (Kind.DAY, FIRST, "", "2026-01-01"),
            (Kind.TEXT, "", "", ""),
        ],
    )
    def test_are_exact_and_easy_to_read(self, kind, value, currency, shown):
        assert written(kind, value, currency) == shown

    def test_of_a_total_have_a_name(self):
        cells = total_cells(COLUMNS, (None, "", "usd", 1, None))
        assert [cell["text"] for cell in cells] == ["All", "", "USD", "0.01", "–"]


class TestPictures:
    def report(self, chart, columns=COLUMNS):
        return Report(title="Made up", columns=columns, rows=(), chart=chart)

    def test_are_drawn_of_the_rows_for_each_currency(self):
        usd, jpy = pictures(self.report(Chart("bars", "day", ("paid",), "currency")), rows_of(4))
        assert (usd.title, jpy.title) == ("Made up: paid, USD", "Made up: paid, JPY")
        assert usd.series[0].values == [0, 200]
        assert usd.labels == ["1 Jan", "3 Jan"]
        assert usd.says(200) == "2.00 USD"
        assert (usd.digits, jpy.digits) == (2, 0)

    def test_add_up_what_is_about_the_same(self):
        columns = [Column("who", "Who"), Column("credits", "Credits", Kind.CREDITS)]
        rows = [("a", 1), ("b", 2), ("a", 10), ("c", None)]
        [picture] = pictures(self.report(Chart("bars", "who", ("credits",)), columns), rows)
        assert (picture.labels, picture.series[0].values) == (["a", "b", "c"], [11, 2, 0])

    def test_have_room_for_every_day_but_not_for_everybody(self):
        days, *_ = pictures(self.report(Chart("line", "day", ("credits",))), rows_of(300))
        people, *_ = pictures(self.report(Chart("bars", "who", ("credits",))), rows_of(300))
        assert (len(days.labels), len(people.labels)) == (300, 12)

    def test_are_none_of_nothing(self):
        assert pictures(self.report(Chart("bars", "day", ("paid",))), []) == []
        assert pictures(self.report(None), rows_of(3)) == []

    @pytest.mark.django_db
    def test_have_words_for_who_does_not_see_them(self, made_up):
        shown = text(page(as_role("Finance"), first="2026-01-01", last="2026-01-03"))
        assert shown.count('role="img"') == 4  # of two currencies, for desk and phone
        assert shown.count("<desc") == 4
        ids = re.findall(r' id="([^"]+)"', shown)
        for labelled in re.findall(r'aria-labelledby="(picture[^"]+)"', shown):
            assert all(ids.count(each) == 1 for each in labelled.split())

    @pytest.mark.django_db
    def test_and_pages_bring_neither_script_nor_style_of_their_own(self, made_up):
        shown = text(page(as_role("Finance"), first="2026-01-01", last="2026-01-03"))
        ours = shown.split('id="content-main"')[1].split("</main>")[0]
        figures = ours.split("<figure")[1].split("</figure>")[0]
        assert "style=" not in figures
        assert "<script" not in figures
        assert not re.search(r"\son\w+=", figures)


@pytest.mark.django_db
class TestFiles:
    DAYS = "?first=2026-01-01&last=2027-12-31"

    def test_have_every_row_exactly_and_no_formulas(self, made_up):
        response = as_role("Finance").post(f"{INDEX}made-up/export/{self.DAYS}")
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert 'filename="made-up-2026-01-01-2027-12-31.csv"' in response["Content-Disposition"]
        head, *rows = csv.reader(StringIO(b"".join(response.streaming_content).decode()))
        assert head == ["day", "who", "currency", "paid", "credits"]
        assert len(rows) == 730 > MOST_ROWS
        assert rows[1] == ["2026-01-02", "'=user1@example.com", "jpy", "100", "1"]
        assert rows[2] == ["2026-01-03", "'=user2@example.com", "usd", "2.00", "2"]

    def test_are_recorded_with_who_took_what(self, made_up):
        client = as_role("Auditor")
        client.post(f"{INDEX}made-up/export/?first=2026-01-01&last=2026-01-31")
        event = AuditEvent.objects.get(action="ledger.report.exported")
        assert str(event) == (
            "auditor@staff.example.com exported the report Made up, 2026-01-01 to 2026-01-31"
        )
        assert event.after == {"report": "made-up", "first": "2026-01-01", "last": "2026-01-31"}

    def test_are_there_of_every_report(self):
        wallet = wallet_with_credits(award=50, at=timezone.now() - DAY)
        spend(wallet, 20, at=timezone.now())
        client, today = as_role("Finance"), timezone.now().date()
        for slug, kind in REPORTS.items():
            response = client.post(f"{INDEX}{slug}/export/")
            head, *rows = csv.reader(StringIO(b"".join(response.streaming_content).decode()))
            columns = kind.build(Period(today, today), timezone.now()).columns
            assert head == [column.name for column in columns], slug
            assert all(len(row) == len(head) for row in rows), slug

    def test_are_asked_for_before_they_are_sent_to_who_comes_by_address(self, made_up):
        client = as_role("Finance")
        shown = client.get(f"{INDEX}made-up/export/{self.DAYS}")
        assert "Download" in text(shown)
        assert not AuditEvent.objects.filter(action="ledger.report.exported").exists()

    def test_take_a_recent_sign_in(self, made_up):
        client = as_role("Finance")
        session = client.session
        for method in session["account_authentication_methods"]:
            method["at"] -= 600
        session.save()
        address = f"{INDEX}made-up/export/{self.DAYS}"
        assert "/accounts/reauthenticate/" in client.get(address)["Location"]
        shown = client.post(address)
        assert "Confirm that it is you" in text(shown)
        assert not AuditEvent.objects.filter(action="ledger.report.exported").exists()

    def test_of_wrong_days_lead_back_to_the_page_that_says_so(self, made_up):
        client = as_role("Finance")
        response = client.post(f"{INDEX}made-up/export/?first=x&last=y", follow=True)
        assert response.redirect_chain == [(f"{INDEX}made-up/?first=x&last=y", 302)]
        assert "Enter a valid date." in text(response)


@pytest.mark.parametrize(
    ("takes", "words"),
    [
        (Takes.PERIOD, "2026-01-01 to 2026-01-31"),
        (Takes.DAY, "at the end of 2026-01-31"),
        (Takes.NOW, "on 2026-02-03 at 04:05 UTC"),
    ],
)
def test_about_says_which_days(takes, words):
    kind = ReportKind("x", "X", "An x.", balances.distribution, takes)
    at = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
    assert about(kind, Period(date(2026, 1, 1), date(2026, 1, 31)), at) == words

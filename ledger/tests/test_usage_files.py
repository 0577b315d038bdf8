import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.models import AuditEvent
from creditsite.errors import InvalidRequest
from creditsite.testing import command_running
from ledger import errors
from ledger.models import CreditTransaction
from ledger.services.adjustments import pause_wallet
from ledger.services.charges import price_list
from ledger.services.features import change_feature
from ledger.services.usage_files import Row, import_usage, read_rows
from ledger.tests.factories import (
    AT,
    DAY,
    CustomerFactory,
    available,
    catalogue,
    finance,
    moves_of,
    nothing_changes,
    pool_of_team_admin,
    price_of,
    priced_feature,
    quantities,
    transactions_of,
    wallet_with_credits,
)

COLUMNS = {"llm.input": "ContextTokens", "llm.output": "GeneratedTokens"}
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
# A few lines in the shape of a trace, with what each costs.
TRACE = [
    ("2023-11-16 18:17:03.9799600,4808,10", 5),
    ("2023-11-16 18:17:04.0319600,3180,8", 4),
    ("2023-11-16 18:17:04.0781490,110,27", 1),
    ("2023-11-16 18:17:04.0781490,110,27", 1),
    ("2023-11-16 18:17:05.1206440,0,0", 0),
    ("2023-11-16T18:17:06+00:00,7433,140.5", 8),
]
TOTAL = 19


@pytest.fixture
def write(tmp_path):
    """Write a CSV file of these rows and return its path."""

    def write(*rows, header=HEADER, name="trace.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
        return path

    return write


@pytest.fixture
def trace(write):
    return write(*[row for row, _ in TRACE])


def customer(**credits):
    user = CustomerFactory()
    return user, wallet_with_credits(user, **credits)


def run(path, user, *, columns=COLUMNS, occurred_at="TIMESTAMP", at=AT, **more):
    return import_usage(
        path=path,
        user=user,
        quantities=columns,
        occurred_at=occurred_at,
        clock=lambda: at,
        **more,
    )


def counts(summary):
    return summary.rows, summary.charged, summary.repeated, summary.free, summary.credits


class TestReadRows:
    def read(self, path, columns=COLUMNS, occurred_at="TIMESTAMP"):
        return list(read_rows(path, quantities=columns, occurred_at=occurred_at))

    def test_tells_line_quantities_and_time_of_each_row(self, trace):
        rows = self.read(trace)
        assert [row.line for row in rows] == [2, 3, 4, 5, 6, 7]
        assert rows[0].quantities == quantities(llm_input=4808, llm_output=10)
        assert rows[0].occurred_at == datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC)

    def test_gives_each_row_a_key_of_its_own_that_stays(self, trace):
        keys = [row.key for row in self.read(trace)]
        assert len(set(keys)) == len(TRACE)
        assert [row.key for row in self.read(trace)] == keys

    @pytest.mark.parametrize(
        ("text", "hour"),
        [
            ("2023-11-16 18:17:03", 18),
            ("2023-11-16T18:17:03Z", 18),
            ("2023-11-16T18:17:03+02:00", 16),
            ("2023-11-16 18:17:03.9799600", 18),
        ],
    )
    def test_takes_a_time_in_utc_unless_it_says_otherwise(self, write, text, hour):
        (row,) = self.read(write(f"{text},1,1"))
        assert (row.occurred_at.hour, row.occurred_at.tzinfo) == (hour, UTC)

    def test_passes_over_a_byte_order_mark_blank_lines_and_other_columns(self, write):
        header = f"{HEADER},Model"
        path = write("", "2023-11-16 18:17:03,1,2,small", header=header, encoding="utf-8-sig")
        (row,) = self.read(path)
        assert row.quantities == quantities(llm_input=1, llm_output=2)

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            ("2023-11-16 18:17:03,-1,2", "ContextTokens is '-1'"),
            ("2023-11-16 18:17:03,1,1e3", "GeneratedTokens is '1e3'"),
            ("2023-11-16 18:17:03,1,", "GeneratedTokens is ''"),
            ("2023-11-16 18:17:03,1", "GeneratedTokens is ''"),
            ("2023-11-16 18:17:03,1.1234567,1", "ContextTokens is '1.1234567'"),
            ("2023-11-16 18:17:03,NaN,1", "ContextTokens is 'NaN'"),
            ("2023-11-16 18:17:03,٣,1", "ContextTokens is '٣'"),
            ("2023-11-16 18:17:03, 1,1", "ContextTokens is ' 1'"),
            ("yesterday,1,1", "TIMESTAMP is 'yesterday'"),
            (",1,1", "TIMESTAMP is ''"),
            ("0001-01-01T00:00:00+05:00,1,1", "TIMESTAMP is '0001-01-01T00:00:00+05:00'"),
        ],
    )
    def test_says_what_is_wrong_with_a_row_and_goes_on(self, write, row, told):
        good = "2023-11-16 18:17:03,1,1"
        first, wrong, last = self.read(write(good, row, good))
        assert wrong.startswith(f"line 3: {told}")
        assert [type(row) for row in (first, last)] == [Row, Row]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("TIMESTAMP,ContextTokens\n2023-11-16 18:17:03,1\n", "has no column GeneratedTokens"),
            ("", "has no column ContextTokens, GeneratedTokens, TIMESTAMP"),
            (f'{HEADER}\n2023-11-16 18:17:03,"1"2,3\n', "not CSV"),
            (f"{HEADER}\n2023-11-16 18:17:03,\xff,3\n", "not text in UTF-8"),
        ],
    )
    def test_refuses_a_file_that_is_not_such(self, tmp_path, text, told):
        path = tmp_path / "trace.csv"
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(InvalidRequest, match=told):
            self.read(path)


@pytest.mark.django_db
class TestImportUsage:
    def test_charges_each_row_once_at_the_prices_of_the_catalogue(self, trace):
        catalogue()
        user, wallet = customer(award=100)
        assert counts(run(trace, user)) == (6, 5, 0, 1, TOTAL)
        assert [-t.amount for t in transactions_of(wallet)[1:]] == [5, 4, 1, 1, 8]
        booked = transactions_of(wallet)[1]
        assert (booked.feature, booked.actor) == ("llm.input+llm.output", user)
        assert booked.occurred_at == datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC)
        assert (booked.recorded_at, booked.description) == (AT, "Imported usage")

    def test_charges_nothing_the_second_time_and_tells_the_same_total(self, trace):
        catalogue()
        user, wallet = customer(award=100)
        run(trace, user)
        assert counts(run(trace, user)) == (6, 0, 5, 1, TOTAL)
        assert available(wallet) == 100 - TOTAL

    def test_knows_a_file_that_was_renamed_or_has_grown(self, trace, write):
        catalogue()
        user, wallet = customer(award=100)
        run(trace, user)
        rows = [row for row, _ in TRACE] + ["2023-11-17 00:00:00,1,1"]
        assert counts(run(write(*rows, name="later.csv"), user)) == (7, 1, 5, 1, TOTAL + 1)
        assert available(wallet) == 100 - TOTAL - 1

    def test_charges_each_user_for_the_same_file(self, trace):
        catalogue()
        for user, wallet in (customer(award=100), customer(award=100)):
            run(trace, user)
            assert available(wallet) == 100 - TOTAL

    def test_records_who_was_charged_for_which_file(self, trace):
        catalogue()
        user, wallet = customer(award=100)
        before = AuditEvent.objects.count()
        run(trace, user)
        assert AuditEvent.objects.count() == before + 1
        event = AuditEvent.objects.get(action="ledger.usage.imported")
        assert (event.target_id, event.actor_label) == (str(wallet.pk), "The system")
        assert event.after == {"file": "trace.csv", "rows": 6}

    def test_reports_how_far_it_is(self, trace):
        catalogue()
        seen = []
        run(trace, customer(award=100)[0], report=lambda *progress: seen.append(progress))
        assert seen == [(n, 6) for n in range(7)]

    def test_prices_a_row_when_it_happened_and_now_without_a_time(self, write):
        feature = priced_feature("report", 40)
        new_year = datetime(2024, 1, 1, tzinfo=UTC)
        price_of(feature, 50, valid_from=new_year, at=new_year - DAY)
        path = write("2023-12-31 23:59:59.9999999,1", "2024-01-01,1", header="when,reports")
        user, wallet = customer(award=1_000)
        assert run(path, user, columns={"report": "reports"}, occurred_at="when").credits == 90
        user, wallet = customer(award=1_000)
        assert run(path, user, columns={"report": "reports"}, occurred_at=None).credits == 100
        assert transactions_of(wallet)[1].occurred_at == AT

    def test_lets_the_pool_pay_where_the_own_wallet_does_not_cover_a_row(self, trace):
        catalogue()
        member = CustomerFactory()
        _, pool = pool_of_team_admin(member)
        own = wallet_with_credits(member, award=10)
        for _ in range(2):
            assert run(trace, member).credits == TOTAL
        assert (available(own), available(pool)) == (0, 5_000 - 9)


@pytest.mark.django_db
class TestImportOfAFileWithWrongRows:
    GOOD = "2023-11-16 18:17:03,1000,0"

    def assert_told(self, path, errors, **more):
        catalogue()
        user, wallet = customer(award=100)
        with nothing_changes(wallet):
            summary = run(path, user, **more)
        assert summary.errors == errors
        assert (summary.rows, summary.charged, summary.credits) == (3, 0, 0)

    def test_charges_nothing_and_names_the_lines(self, write):
        path = write(self.GOOD, "2023-11-16 18:17:03,x,0", "soon,1000,0")
        self.assert_told(
            path,
            [
                "line 3: ContextTokens is 'x', not a quantity such as 12 or 12.5",
                "line 4: TIMESTAMP is 'soon', not a time such as 2026-01-31 12:00:00",
            ],
        )

    def test_refuses_the_future(self, write):
        path = write(self.GOOD, "2026-06-01 12:00:00,1000,0", "2026-06-01 12:00:00.000001,1,0")
        self.assert_told(path, ["line 4: TIMESTAMP is in the future"])

    def test_refuses_more_than_can_be_charged_at_once(self, write):
        path = write(self.GOOD, self.GOOD, "2023-11-16 18:17:03,9999999999999,0")
        self.assert_told(path, ["line 4: An amount is 1 to 1,000,000,000 credits."])

    def test_refuses_a_time_before_the_first_price(self, write):
        path = write(self.GOOD, "1969-12-31 23:59:59,1000,0", self.GOOD)
        told = "line 3: There is no feature 'llm.input' with a price at that time."
        self.assert_told(path, [told])

    def test_refuses_an_unknown_feature_in_every_row_it_was_used_in(self, write):
        path = write(self.GOOD, "2023-11-16 18:17:03,0,0", self.GOOD)
        told = "There is no feature 'x' with a price at that time."
        self.assert_told(
            path, [f"line 2: {told}", f"line 4: {told}"], columns={"x": "ContextTokens"}
        )

    def test_refuses_a_feature_that_is_sold_no_longer_but_not_what_was_charged(self, write):
        feature = priced_feature("llm.input", 1, per=1_000)
        user, wallet = customer(award=100)
        columns = {"llm.input": "ContextTokens"}
        run(write(self.GOOD), user, columns=columns)
        change_feature(feature=feature, actor=finance(), at=AT, reason="test", is_active=False)
        price_list.forget()
        assert counts(run(write(self.GOOD), user, columns=columns)) == (1, 0, 1, 0, 1)
        with nothing_changes(wallet):
            summary = run(write(self.GOOD, self.GOOD), user, columns=columns)
        assert summary.errors == ["line 3: The feature 'llm.input' is sold no longer."]

    def test_refuses_a_missing_column(self, write):
        catalogue()
        user, wallet = customer(award=100)
        with nothing_changes(wallet), pytest.raises(InvalidRequest, match="no column Tokens"):
            run(write(self.GOOD), user, columns={"llm.input": "Tokens"})

    def test_refuses_the_rows_of_a_file_under_other_columns(self, write):
        catalogue()
        user, wallet = customer(award=100)
        run(write(self.GOOD), user)
        with pytest.raises(errors.IdempotencyKeyReused):
            run(write(self.GOOD), user, columns={"llm.output": "ContextTokens"})
        assert available(wallet) == 99


@pytest.mark.django_db
class TestImportIntoAWalletThatRunsDry:
    def test_stops_with_an_account_of_what_was_charged(self, trace):
        catalogue()
        user, wallet = customer(award=10)
        summary = run(trace, user)
        assert counts(summary) == (6, 3, 0, 0, 10)
        assert (summary.stopped_line, summary.left, summary.errors) == (5, 3, [])
        assert summary.stopped.numbers == {"needed": 1, "available": 0}
        assert moves_of(wallet)[1:] == [("usage", -5), ("usage", -4), ("usage", -1)]

    def test_does_not_pass_over_a_row_for_a_cheaper_one(self, trace):
        catalogue()
        summary = run(trace, customer(award=8)[0])
        assert (summary.charged, summary.stopped_line) == (1, 3)

    def test_goes_on_after_a_top_up(self, trace):
        catalogue()
        user, wallet = customer(award=10)
        run(trace, user)
        wallet_with_credits(user, purchase=9)
        assert counts(run(trace, user)) == (6, 2, 3, 1, TOTAL)
        assert available(wallet) == 0

    def test_charges_nothing_to_a_paused_wallet(self, trace):
        catalogue()
        user, wallet = customer(award=100)
        pause_wallet(wallet=wallet, reason="test", actor=finance(), at=AT)
        with pytest.raises(errors.WalletPaused):
            run(trace, user)
        assert available(wallet) == 100


@pytest.mark.django_db
class TestImportThatIsKilled:
    def test_charges_each_row_once_when_it_is_run_again(self, ledger_db, write):
        catalogue()
        user, wallet = customer(award=10_000)
        rows = [f"2023-11-16 18:17:03.{n:07},{700 * (n % 5)},{n}" for n in range(300)]
        path = write(*rows)
        command = [
            "import_usage", str(path), f"--user={user.email}", "--occurred-at=TIMESTAMP",
            "--quantity=llm.input=ContextTokens", "--quantity=llm.output=GeneratedTokens",
        ]  # fmt: skip
        with command_running(*command) as first:
            first.kill_when(CreditTransaction.objects.filter(kind="usage")[20:].exists)
        charged = CreditTransaction.objects.filter(kind="usage").count()
        assert 20 < charged < 299
        # ⌈(700 × (n mod 5) + 3n) ÷ 1,000⌉, a row that used nothing is free.
        total = sum(-((-700 * (n % 5) - 3 * n) // 1_000) for n in range(300))
        summary = run(path, user, at=AT.replace(year=2036))
        assert (summary.credits, summary.free) == (total, 1)
        assert summary.repeated in {charged, charged + 1}  # What it was at when it was killed.
        assert summary.charged + summary.repeated == 299
        assert available(wallet) == 10_000 - total
        assert counts(run(path, user, at=AT.replace(year=2036))) == (300, 0, 299, 1, total)


TRACE_FILE = os.environ.get("USAGE_TRACE")


@pytest.mark.skipif(not TRACE_FILE, reason="needs the real trace, its path in USAGE_TRACE")
@pytest.mark.django_db
class TestImportOfTheRealTrace:
    def test_takes_exactly_the_credits_it_is_worth_however_often_it_is_run(self, ledger_db):
        catalogue()
        user, wallet = customer(award=30_000)
        for charged, repeated in ((8_819, 0), (0, 8_819)):
            summary = run(Path(TRACE_FILE or ""), user)
            assert counts(summary) == (8_819, charged, repeated, 0, 23_635)
        assert available(wallet) == 30_000 - 23_635

from contextlib import redirect_stderr
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.choices import JobStatus
from accounts.models import Job, JobChunk, Role
from accounts.tests.factories import UserFactory
from audit.models import AuditEvent
from creditsite.progress import ProgressBar
from ledger.models import CreditTransaction, Grant
from ledger.services import backfill
from ledger.tests.factories import (
    AT,
    CustomerFactory,
    bulk_created,
    catalogue,
    close,
    moves_of,
    wallet_with_credits,
)

QUANTITIES = ["--quantity=llm.input=ContextTokens", "--quantity=llm.output=GeneratedTokens"]


class Terminal(StringIO):
    def isatty(self):
        return True


def call(name, *arguments, stderr=None):
    out = StringIO()
    call_command(name, *map(str, arguments), stdout=out, stderr=stderr or StringIO())
    return out.getvalue()


def refusal(name, *arguments, **more):
    """Return the message that the command ends with, and the status that it would exit with."""
    with pytest.raises(CommandError) as error:
        call(name, *arguments, **more)
    return str(error.value), error.value.returncode


class TestProgressBar:
    def test_draws_one_line_over_itself(self):
        stream = Terminal()
        bar = ProgressBar(stream, "rows")
        bar.draw(0, 2_000)
        bar.draw(1_000, 2_000)
        bar.draw(2_000, 2_000)
        bar.end()
        assert stream.getvalue() == (
            f"\r[{'-' * 30}] 0 of 2,000 rows"
            f"\r[{'#' * 15}{'-' * 15}] 1,000 of 2,000 rows"
            f"\r[{'#' * 30}] 2,000 of 2,000 rows\n"
        )

    def test_is_full_when_there_is_nothing_to_do(self):
        stream = Terminal()
        ProgressBar(stream, "rows").draw(0, 0)
        assert stream.getvalue() == f"\r[{'#' * 30}] 0 of 0 rows"

    def test_is_silent_where_nobody_looks_on(self):
        stream = StringIO()
        bar = ProgressBar(stream, "rows")
        bar.draw(1, 2)
        bar.end()
        assert stream.getvalue() == ""


@pytest.mark.django_db
class TestBackfillCredits:
    def test_prints_a_summary_by_role(self):
        bulk_created(3)
        bulk_created(2, role=Role.objects.get(code="team_admin"))
        UserFactory()
        expected = [
            "role                       found{}     skipped         credits",
            "member                         4           3           1           1,050",
            "team_admin                     2           2           0          10,000",
            "all                            6           5           1          11,050",
        ]
        dry = call("backfill_credits", "--dry-run")
        assert dry.splitlines() == [line.format("    to grant") for line in expected]
        assert CreditTransaction.objects.count() == 1
        done = call("backfill_credits")
        assert done.splitlines() == [line.format("     granted") for line in expected]
        assert CreditTransaction.objects.count() == 6

    def test_leaves_no_trace_of_a_dry_run(self):
        bulk_created(1)
        call("backfill_credits", "--dry-run")
        assert not Job.objects.exists()
        assert not AuditEvent.objects.exists()

    def test_takes_one_role(self):
        bulk_created(1)
        bulk_created(1, role=Role.objects.get(code="admin"))
        assert call("backfill_credits", "--role=admin").splitlines()[1:] == [
            "admin                          1           1           0           1,000",
            "all                            1           1           0           1,000",
        ]

    def test_says_which_roles_there_are_when_there_is_no_such(self):
        message = (
            "There is no role 'membre'. Roles: admin, member, recruitpro, super_admin, team_admin."
        )
        for options in (["--role=membre"], ["--role=membre", "--dry-run"]):
            assert refusal("backfill_credits", *options) == (message, 1)
        assert not Job.objects.exists()

    def test_shows_how_far_it_is(self):
        bulk_created(1)
        with redirect_stderr(Terminal()) as terminal:
            call("backfill_credits")
        assert terminal.getvalue() == f"\r[{'#' * 30}] 1 of 1 chunks\n"

    def test_takes_up_a_run_of_the_same_role_that_was_killed(self):
        bulk_created(2)
        others = backfill.create_backfill(role="member", actor=None, at=AT)
        killed = backfill.create_backfill(role=None, actor=None, at=AT)
        Job.objects.filter(pk=killed.pk).update(status=JobStatus.RUNNING)
        call("backfill_credits")
        assert Job.objects.count() == 2
        assert Job.objects.get(pk=killed.pk).status == JobStatus.DONE
        assert Job.objects.get(pk=others.pk).status == JobStatus.PENDING

    def test_gives_to_those_too_who_came_after_the_run_that_was_killed(self):
        bulk_created(2)
        backfill.create_backfill(role=None, actor=None, at=AT, chunk=1)
        bulk_created(3)
        call("backfill_credits")
        assert Job.objects.filter(status=JobStatus.DONE).count() == 2
        assert Grant.objects.count() == 5

    def test_says_so_when_somebody_stopped_it(self, monkeypatch):
        bulk_created(2)
        job = backfill.create_backfill(role=None, actor=None, at=AT, chunk=1)

        def stopped(**chunk):
            Job.objects.filter(pk=job.pk).update(status=JobStatus.PAUSED)
            return work(**chunk)

        work = backfill.backfill_chunk
        monkeypatch.setattr(backfill, "backfill_chunk", stopped)
        message, status = refusal("backfill_credits")
        assert status == 1
        assert message.startswith(f"Job {job.pk} is paused: 1 of 2 chunks are done.")
        assert JobChunk.objects.filter(done_at=None).count() == 1

    def test_has_no_statement_timeout(self, monkeypatch):
        seen = []

        def look(**given):
            with connection.cursor() as cursor:
                cursor.execute("SHOW statement_timeout")
                seen.append(cursor.fetchone()[0])
            return {}

        monkeypatch.setattr(backfill, "preview_backfill", look)
        call("backfill_credits", "--dry-run")
        assert seen == ["0"]


@pytest.mark.django_db
class TestImportUsage:
    @pytest.fixture
    def trace(self, tmp_path):
        path = tmp_path / "trace.csv"
        path.write_text(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n"
            "2023-11-16 18:17:03.9799600,4808,10\n"
            "2023-11-16 18:17:04.0319600,3180,8\n"
            "2023-11-16 18:17:04.0781490,0,0\n"
        )
        return path

    def options(self, path, user, *more):
        return [path, f"--user={user.email}", "--occurred-at=TIMESTAMP", *(more or QUANTITIES)]

    def test_tells_what_was_charged_now_and_before(self, trace):
        catalogue()
        user = CustomerFactory()
        wallet = wallet_with_credits(user, award=100)
        assert call("import_usage", *self.options(trace, user)) == (
            "3 rows: 2 charged now, 0 charged before, 1 free; 9 credits in all\n"
        )
        assert call("import_usage", *self.options(trace, user)) == (
            "3 rows: 0 charged now, 2 charged before, 1 free; 9 credits in all\n"
        )
        assert moves_of(wallet)[1:] == [("usage", -5), ("usage", -4)]

    def test_finds_the_user_however_the_address_is_written(self, trace):
        catalogue()
        user = CustomerFactory(email="ada@example.com")
        wallet_with_credits(user, award=100)
        options = [trace, "--user=ADA@Example.com ", "--occurred-at=TIMESTAMP", *QUANTITIES]
        assert "2 charged now" in call("import_usage", *options)

    def test_shows_how_far_it_is(self, trace):
        catalogue()
        user = CustomerFactory()
        wallet_with_credits(user, award=100)
        with redirect_stderr(Terminal()) as terminal:
            call("import_usage", *self.options(trace, user))
        lines = terminal.getvalue().split("\r")[1:]
        assert [line[line.index("]") + 2 :] for line in lines] == [
            "0 of 3 rows",
            "1 of 3 rows",
            "2 of 3 rows",
            "3 of 3 rows\n",
        ]

    def test_tells_what_was_charged_when_the_credits_run_out(self, trace):
        catalogue()
        user = CustomerFactory()
        wallet_with_credits(user, award=6)
        out = StringIO()
        with pytest.raises(CommandError) as error:
            call_command("import_usage", *map(str, self.options(trace, user)), stdout=out)
        assert (
            out.getvalue() == "3 rows: 1 charged now, 0 charged before, 0 free; 5 credits in all\n"
        )
        assert str(error.value) == (
            "Stopped at line 3: 4 credits are needed; 1 are available. 2 rows are not charged."
            " Add credits and run the command again to go on."
        )
        assert error.value.returncode == 1

    def test_names_the_lines_that_are_wrong_and_how_many_there_are(self, tmp_path):
        catalogue()
        path = tmp_path / "trace.csv"
        path.write_text("ContextTokens\n" + "x\n" * 25 + "1\n")
        err = StringIO()
        options = [path, f"--user={CustomerFactory().email}", QUANTITIES[0]]
        told = refusal("import_usage", *options, stderr=err)
        assert told == ("25 of 26 rows are wrong; nothing was charged.", 1)
        lines = err.getvalue().splitlines()
        assert len(lines) == 20
        assert lines[0] == "line 2: ContextTokens is 'x', not a quantity such as 12 or 12.5"

    @pytest.mark.parametrize("quantity", ["llm.input", "llm.input=", "=ContextTokens"])
    def test_refuses_a_quantity_that_is_no_pair(self, trace, quantity):
        options = self.options(trace, CustomerFactory(), f"--quantity={quantity}")
        message = f"--quantity takes FEATURE=COLUMN, not {quantity!r}."
        assert refusal("import_usage", *options) == (message, 1)

    def test_refuses_a_user_or_a_file_that_is_none(self, trace, tmp_path):
        nobody = [trace, "--user=nobody@example.com", *QUANTITIES]
        assert refusal("import_usage", *nobody)[0] == "There is no user nobody@example.com."
        missing = tmp_path / "missing.csv"
        told = refusal("import_usage", *self.options(missing, CustomerFactory()))
        assert told[0] == f"There is no file {missing}."

    def test_tells_a_refusal_of_the_service(self, trace):
        catalogue()
        user = CustomerFactory()
        options = self.options(trace, user, "--quantity=llm.input=Tokens")
        assert refusal("import_usage", *options)[0] == "The file has no column Tokens."
        close(wallet_with_credits(user, award=100))
        assert refusal("import_usage", *self.options(trace, user))[0] == "The wallet is closed."

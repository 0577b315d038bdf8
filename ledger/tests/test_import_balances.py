from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Approval, User
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from creditsite.testing import command_running
from ledger.models import Batch, BatchItem, CreditTransaction, Grant
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import CustomerFactory, balances_of, set_credit_settings

HEADER = "email,awards,purchases,paid,currency,partner,as_of\n"


@pytest.fixture
def file(tmp_path):
    def written(lines, header=HEADER):
        path = tmp_path / "old.csv"
        path.write_text(header + lines)
        return path

    return written


@pytest.fixture
def bob(db):
    return CustomerFactory(email="bob@example.com")


def run(path, *options):
    """Return what the command prints: its answer, and the lines that it left out."""
    out, err = StringIO(), StringIO()
    call_command("import_balances", str(path), *options, stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue().splitlines()


def figures(out):
    """Return the table that was printed."""
    return {line[:9].strip(): line[9:].split() for line in out if line.startswith(NAMES)}


NAMES = ("Awards", "Purchases", "Partner", "Paid")


@pytest.mark.django_db
class TestImportBalances:
    def test_enters_what_the_file_says_and_ties_out(self, bob, file):
        out, err = run(file("bob@example.com,10,200,19.99,usd,5,\nx,7,,,,,\n"))
        assert balances_of(wallet_of(bob)) == {"award": 10, "partner": 5, "purchase": 200}
        assert err == ["line 3: email is 'x', not an address"]
        batch = Batch.objects.get()
        assert out[0] == f"Batch {batch.pk}, 2 lines:"
        assert figures(out)["Awards"] == ["17", "10", "0", "7", "0", "0"]
        assert out[-1].split() == ["Paid,", "USD", *["19.99", "USD"] * 2, *["0.00", "USD"] * 4]
        assert batch.maker is None

    def test_does_nothing_in_a_dry_run(self, bob, file):
        path = file("bob@example.com,10,,,,,\nnew@example.com,1,,,,,\n")
        out, _ = run(path, "--dry-run", "--create-users")
        assert figures(out)["Awards"] == ["11", "0", "0", "0", "11", "0"]
        assert out[-1] == "Dry run: nothing was entered."
        assert (Batch.objects.count(), Grant.objects.filter(source="opening").count()) == (0, 0)
        assert not User.objects.filter(email="new@example.com").exists()
        assert not AuditEvent.objects.filter(action__startswith="ledger.batch").exists()

    def test_enters_nothing_the_second_time(self, bob, file):
        path = file("bob@example.com,10,,,,,\n")
        run(path)
        out, err = run(path)
        assert figures(out)["Awards"] == ["10", "0", "10", "0", "0", "0"]
        assert out[-1] == "There is nothing to enter."
        assert err == ["line 2: entered before"]
        assert balances_of(wallet_of(bob))["award"] == 10

    def test_makes_accounts_if_asked(self, file, db):
        path = file("new@example.com,10,,,,,\n")
        assert run(path)[1] == ["line 2: there is no user with this e-mail"]
        run(path, "--create-users")
        new = User.objects.get(email="new@example.com")
        assert balances_of(wallet_of(new))["award"] == 10

    def test_writes_what_was_left_out_and_the_tie_out(self, bob, file, tmp_path):
        path = file("bob@example.com,10,,,,,\nx,7,,,,,\n")
        left_out, tie_out = tmp_path / "left-out.csv", tmp_path / "tie-out.csv"
        _, err = run(path, f"--left-out={left_out}", f"--tie-out={tie_out}")
        assert err == []
        header, line = left_out.read_text().splitlines()
        assert (header.split(",")[0], line.split(",")[0]) == ("line", "3")
        assert tie_out.read_text().splitlines()[1] == "Awards,17,10,0,7,0,0"

    def test_shows_some_of_what_was_left_out(self, bob, file):
        _, err = run(file("bob@example.com,1,,,,,\n" + "x,1,,,,,\n" * 30))
        assert len(err) == 21
        assert err[-1] == "… and more: --left-out FILE writes all of them."

    def test_waits_for_a_second_person_where_staff_bring_much(self, bob, file):
        set_credit_settings(approval_batch_credits_above=9)
        StaffFactory(email="ada@example.com", groups="Finance")
        out, _ = run(file("bob@example.com,10,,,,,\n"), "--as=Ada@example.com")
        approval = Approval.objects.get()
        assert out[-1].startswith(f"It waits for a second person: approval {approval.pk}, Enter")
        assert not Grant.objects.filter(source="opening").exists()

    def test_asks_nobody_where_the_system_does(self, bob, file):
        set_credit_settings(approval_batch_credits_above=9)
        run(file("bob@example.com,10,,,,,\n"))
        assert balances_of(wallet_of(bob))["award"] == 10

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--as=nobody@example.com"], "There is no user nobody@example.com."),
            (["--as=bob@example.com"], "Your staff group may not do this."),
        ],
    )
    def test_refuses_who_may_not(self, bob, file, options, says):
        with pytest.raises(CommandError) as refusal:
            run(file("bob@example.com,10,,,,,\n"), *options)
        assert str(refusal.value) == says

    def test_refuses_what_is_no_such_file(self, db, file, tmp_path):
        for path, says in (
            (tmp_path / "none.csv", "There is no file"),
            (file("", header="a;b\n"), "Columns are separated by commas"),
        ):
            with pytest.raises(CommandError, match=says):
                run(path)

    def test_enters_everyone_once_when_it_is_killed_and_run_again(self, ledger_db, file):
        lines = "".join(f"u{n}@example.com,{n + 1},,,,,\n" for n in range(450))
        path = file(lines)
        with command_running("import_balances", str(path), "--create-users") as command:
            command.kill_when(lambda: Grant.objects.filter(source="opening").exists())
        entered = Grant.objects.filter(source="opening").count()
        assert 0 < entered < 450
        out, _ = run(path, "--create-users")
        assert figures(out)["Awards"][0] == f"{450 * 451 // 2:,}"
        assert figures(out)["Awards"][-2:] == ["0", "0"]
        amounts = Grant.objects.filter(source="opening").values_list("amount", flat=True)
        assert sorted(amounts) == list(range(1, 451))
        assert CreditTransaction.objects.count() == 450
        assert BatchItem.objects.count() >= 450

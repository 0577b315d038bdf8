import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.services.jobs import run_job
from creditsite.testing.people import as_role
from ledger.choices import BatchKind
from ledger.models import Batch, Grant
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import AT, CustomerFactory, balances_of
from ledger.tests.pages import REASON, errors, page_of, resent, sent, text

PAGE = "/admin/ledger/batch/add/?kind=opening&of=file"
HEADER = "email,awards,purchases,paid,currency,partner,as_of\n"
LINES = (
    "bob@example.com,10,200,19.99,usd,5,2026-01-31\n"
    "nobody@example.com,1000,,,,,2026-01-31\n"
    "x,-1,,,,,2026-01-31\n"
)


def uploaded(client, lines=LINES, header=HEADER, name="old.csv"):
    content = header + lines if isinstance(lines, str) else lines
    data = content.encode() if isinstance(content, str) else content
    return resent(client, PAGE, {"file": SimpleUploadedFile(name, data), "request_id": ID})


ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def client(db):
    return as_role("Finance")


@pytest.fixture
def bob(db):
    return CustomerFactory(email="bob@example.com")


def figures_of(response):
    return {tie.label: tuple(tie.figures) for tie in response.context["ties"]}


@pytest.mark.django_db
class TestOpeningsForm:
    def test_leads_to_the_dry_run_and_moves_nothing(self, client, bob):
        response = uploaded(client)
        batch = Batch.objects.get()
        assert response.redirect_chain == [(page_of(batch), 302)]
        assert (batch.kind, batch.reason, batch.maker) == (BatchKind.OPENING, REASON, client.user)
        assert not Grant.objects.exists()
        assert figures_of(response) == {
            "Awards": ("1,010", "0", "0", "1,000", "10", "0"),
            "Purchases": ("200", "0", "0", "0", "200", "0"),
            "Partner": ("5", "0", "0", "0", "5", "0"),
            "Paid, USD": ("19.99 USD", "0.00 USD", "0.00 USD", "0.00 USD", "19.99 USD", "0.00 USD"),
        }
        page = text(response)
        assert "3 lines of old.csv, as of 2026-01-31" in page
        assert "In 1 of them a figure cannot be read" in page
        assert "Every other credit and cent of the file is accounted for." in page

    def test_enters_it_once_it_is_confirmed(self, client, bob):
        uploaded(client)
        batch = Batch.objects.get()
        sent(client, page_of(batch, "confirm"))
        batch.refresh_from_db()
        run_job(batch.job, clock=lambda: AT)
        assert balances_of(wallet_of(bob)) == {"award": 10, "partner": 5, "purchase": 200}
        response = client.get(page_of(batch))
        assert figures_of(response)["Awards"] == ("1,010", "10", "0", "1,000", "0", "0")
        lines = [line.decode() for line in client.get(page_of(batch, "tie-out")).streaming_content]
        assert lines[1] == "Awards,1010,10,0,1000,0,0\r\n"
        assert lines[4] == '"Paid, USD",19.99,19.99,0.00,0.00,0.00,0.00\r\n'
        left_out = b"".join(client.get(page_of(batch, "left-out")).streaming_content).decode()
        assert "there is no user with this e-mail" in left_out
        assert "awards is a negative number" in left_out

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "The submitted file is empty."),
            (b"PK\x03\x04", "The file is a spreadsheet; save it as CSV in UTF-8."),
            (b"mail,awards\n", "Unknown columns: 'mail'."),
            (b"email,awards\n", "The file names the columns, and has no line after that."),
            (b'email,awards\n"', "Line 2 is not CSV: unexpected end of data."),
        ],
    )
    def test_says_what_is_wrong_with_a_file(self, client, content, says):
        (error,) = errors(uploaded(client, content))
        assert error.startswith(says)
        assert not Batch.objects.exists()

    def test_stands_on_the_page_of_new_batches(self, client):
        assert 'href="?kind=opening&amp;of=file"' in text(client.get("/admin/ledger/batch/add/"))
        assert "form" not in client.get(PAGE.replace("file", "all")).context

    def test_is_for_who_may_run_batches(self, bob):
        assert as_role("Support").get(PAGE).status_code == 403

    def test_other_batches_have_no_tie_out(self, client):
        batch = Batch.objects.create(
            kind=BatchKind.ADD,
            credit_type="award",
            amount=1,
            selection={"of": "all"},
            reason=REASON,
            created_at=AT,
        )
        assert client.get(page_of(batch, "tie-out")).status_code == 404
        assert "ties" not in client.get(page_of(batch)).context

"""The pages of batches: from what is asked for to the result, and back."""

import csv
import io
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from accounts.models import Approval, Job, Role
from accounts.services.jobs import run_job
from accounts.tests.factories import TeamFactory
from audit.models import AuditEvent
from creditsite.testing.people import as_role
from ledger.models import Batch, CreditSettings, Wallet
from ledger.queries.batches import wallets_of
from ledger.queries.wallets import wallet_of
from ledger.services.adjustments import pause_wallet
from ledger.tests.factories import (
    AT,
    CustomerFactory,
    balances_of,
    close,
    finance,
    spend,
    transactions_of,
    wallet_with_credits,
)
from ledger.tests.pages import REASON, errors, opened, page_of, resent, said, sent, text

LIST = "/admin/ledger/batch/"
WALLETS = "/admin/ledger/wallet/"
ADD, DEDUCT = f"{LIST}add/?kind=add&of=all", f"{LIST}add/?kind=deduct&of=all"
ADD_FILE, DEDUCT_FILE = f"{LIST}add/?kind=add&of=file", f"{LIST}add/?kind=deduct&of=file"


@pytest.fixture
def client(db):
    return as_role("Finance")


@pytest.fixture
def wallets(db):
    return [
        wallet_with_credits(CustomerFactory(email=f"{name}@example.com"), award=award)
        for name, award in [("ada", 100), ("bob", 300), ("eve", 900)]
    ]


def of_filter(kind, **query):
    return f"{LIST}add/?{urlencode(query | {'kind': kind, 'of': 'filter'})}"


def drafted(client, url=ADD, **typed):
    """Draft and plan a batch by its page, and return it."""
    typed = {"credit_type": "award"} | ({} if "of=file" in url else {"amount": "50"}) | typed
    response = sent(client, url, **typed)
    assert response.redirect_chain, errors(response)
    return Batch.objects.get(pk=int(response.redirect_chain[0][0].split("/")[-3]))


def upload(*lines, name="list.csv"):
    content = lines[0] if isinstance(lines[0], bytes) else "\n".join(lines).encode()
    return SimpleUploadedFile(name, content, "text/csv")


def started(client, batch, **typed):
    """Confirm a batch by its page."""
    sent(client, page_of(batch, "confirm"), **typed)
    batch.refresh_from_db()
    return batch


def done(client, batch, **typed):
    """Confirm a batch by its page and work it to the end."""
    run_job(started(client, batch, **typed).job)
    return Batch.objects.get(pk=batch.pk)


def offered(client, batch):
    return [act["name"] for act in client.get(page_of(batch)).context["page_actions"]]


def rows_of(response):
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode())))


def awards(wallets):
    return [balances_of(wallet, timezone.now())["award"] for wallet in wallets]


def settings_of(**changed):
    CreditSettings.objects.create(changed_at=AT, **changed)


class TestANewBatch:
    def test_offers_what_there_is_to_do(self, client):
        page = client.get(f"{LIST}add/")
        assert "form" not in page.context
        for kind in ("add", "deduct"):
            for of in ("all", "file"):
                assert f"?kind={kind}&amp;of={of}" in text(page)
        assert text(client.get(f"{LIST}add/?kind=burn&of=all")) != ""

    def test_is_closed_without_the_permission(self, wallets):
        typed = {"credit_type": "award", "amount": "50"}
        for group in ["Support", "Auditor", ""]:
            client = as_role(group)
            assert client.get(ADD).status_code == 403
            assert resent(client, ADD, typed).status_code == 403
        assert not Batch.objects.exists()

    def test_asks_who_it_is_after_five_minutes(self, client, time_machine):
        time_machine.move_to(timezone.now() + timedelta(minutes=6))
        for url in (ADD, f"{LIST}add/"):
            assert "reauthenticate" in client.get(url)["Location"]
        response = client.post(ADD, {"confirmed": "yes"})
        assert "Confirm that it is you" in text(response)
        assert not Batch.objects.exists()

    def test_plans_for_all_users_and_moves_nothing(self, client, wallets):
        batch = drafted(client, last_day="2999-01-31")
        assert (batch.kind, batch.amount, batch.selection) == ("add", 50, {"of": "all"})
        assert (batch.status, batch.maker, batch.reason) == ("planned", client.user, REASON)
        assert f"{batch.expires_at:%Y-%m-%d %H:%M}" == "2999-02-01 00:00"
        assert batch.plan["wallets"] == 3
        assert awards(wallets) == [100, 300, 900]

    @pytest.mark.parametrize(("policy", "wallets_in_it"), [("skip", 2), ("take", 3)])
    def test_does_with_who_has_less_what_is_chosen(self, client, wallets, policy, wallets_in_it):
        batch = drafted(client, DEDUCT, amount="200", policy=policy)
        assert (batch.plan["wallets"], batch.plan["would_fall_below"]) == (wallets_in_it, 1)
        assert batch.plan["shortfall"] == 100

    def test_takes_whole_ascii_numbers_only(self, client):
        hostile = ["", "0", "-5", "+5", "1e3", "１２", "٣", "1_000", "7.0", "1,000", " 5", "5\n"]
        hostile += ["0x10", "5\0", "5\u202e0", "1000000001", "9" * 1_000_000]
        for url in (ADD, DEDUCT):
            right = opened(client, url) | {"credit_type": "award", "policy": "skip"}
            for typed in hostile:
                page = resent(client, url, right | {"amount": typed})
                assert page.context["form"].errors.keys() == {"amount"}, typed[:20]
        assert not Batch.objects.exists()

    def test_takes_a_reason(self, client):
        for reason in ["", "too short", "x" * 501, "hidden \u202e direction"]:
            page = sent(client, ADD, credit_type="award", amount="5", reason=reason)
            assert page.context["form"].errors.keys() == {"reason"}
        assert not Batch.objects.exists()

    def test_takes_no_last_day_that_is_over(self, client, wallets):
        page = sent(client, ADD, credit_type="award", amount="5", last_day="2020-01-01")
        assert errors(page)
        assert not Batch.objects.exists()

    def test_takes_no_type_or_policy_of_its_own(self, client, wallets):
        page = sent(client, DEDUCT, credit_type="gold", amount="5", policy="all")
        assert page.context["form"].errors.keys() == {"credit_type", "policy"}


class TestABatchOfAFilter:
    def everyone(self):
        """Somebody for each filter of the list, and somebody for none of them."""
        member = CustomerFactory(email="m@example.com", role=Role.objects.get(code="recruitpro"))
        wallet_of(CustomerFactory(email="p@example.com", is_partner=True))
        paused = wallet_of(CustomerFactory(email="s@example.com", name="North"))
        pause_wallet(wallet=paused, reason="for the test", actor=finance(), at=AT)
        wallet_of(TeamFactory(name="Northwind"))
        return member

    def test_finds_whom_the_list_finds(self, client):
        member = self.everyone()
        ids = Wallet.objects.order_by("pk").values_list("pk", flat=True)[:2]
        for query in [
            {"status__exact": "paused"},
            {"status__exact": "active"},
            {"user__role__id__exact": str(member.role_id)},
            {"partner": "yes"},
            {"partner": "no"},
            {"debt": "yes"},
            {"debt": "no"},
            {"q": "north"},
            {"q": " M@example.com"},
            {"q": "nobody"},
            {"q": "north", "status__exact": "paused"},
            {"partner": "no", "debt": "no", "status__exact": "active"},
            {"id__in": ",".join(map(str, ids))},
        ]:
            listed = {wallet.pk for wallet in client.get(WALLETS, query).context["cl"].result_list}
            found = set(wallets_of({"of": "filter", "query": query}).values_list("pk", flat=True))
            assert found == listed, query

    def test_is_reached_from_the_list_as_it_is_filtered(self, client, wallets):
        page = client.get(WALLETS, {"q": "a@example", "debt": "no", "p": "1"})
        assert page.context["found"] == "all that are found: “a@example”; who owe nothing"
        (_, add), (_, deduct) = page.context["acts_on_found"]
        assert add == of_filter("add", q="a@example", debt="no")
        assert (add in text(page).replace("&amp;", "&"), "kind=deduct" in deduct) == (True, True)
        batch = drafted(client, add)
        assert batch.selection == {"of": "filter", "query": {"q": "a@example", "debt": "no"}}
        assert [item.wallet for item in batch.items.all()] == [wallets[0]]

    def test_is_for_all_where_nothing_is_filtered(self, client, wallets):
        ((_, add), _) = client.get(WALLETS).context["acts_on_found"]
        assert drafted(client, add).selection == {"of": "all"}

    def test_is_not_offered_to_who_may_not(self, wallets):
        page = as_role("Support").get(WALLETS)
        assert "acts_on_found" not in page.context
        assert "add_selected" not in text(page)

    @pytest.mark.parametrize("kind", ["add", "deduct"])
    def test_is_of_those_ticked(self, client, wallets, kind):
        ticked = [wallet.pk for wallet in wallets[:2]]
        data = {"action": f"{kind}_selected", "_selected_action": ticked, "index": "0"}
        page = client.post(WALLETS, data, follow=True)
        ((url, _),) = page.redirect_chain
        assert "the 2 that were ticked" in page.context["form"].changes()[0]
        batch = drafted(client, url, policy="skip")
        assert (batch.kind, {item.wallet_id for item in batch.items.all()}) == (kind, {*ticked})

    def test_is_refused_rather_than_made_wider(self, client):
        for query in [
            {"user__password__startswith": "a"},
            {"status__exact": "rich"},
            {"partner": "perhaps"},
            {"user__role__id__exact": "x"},
            {"id__in": "1;2"},
            {"id__in": "1,"},
            {"id__in": "1" * 30},
            {"size": "1"},
        ]:
            page = client.get(of_filter("add", **query), follow=True)
            assert page.redirect_chain[0][0] == WALLETS, query
            assert len(said(page)) == 1


class TestABatchOfAFile:
    def test_moves_what_its_lines_say(self, client, wallets):
        file = upload("email,amount,reason", "ada@example.com,7,prize", "EVE@example.com,9,")
        batch = drafted(client, ADD_FILE, file=file)
        assert (batch.amount, batch.selection["name"]) == (None, "list.csv")
        assert len(batch.selection["sha256"]) == 64
        assert (batch.plan["wallets"], batch.plan["credits"]) == (2, 16)
        done(client, batch)
        assert awards(wallets) == [107, 300, 909]
        assert transactions_of(wallets[0])[-1].description == "prize"

    def test_lists_each_wrong_line_with_what_is_wrong(self, client, wallets):
        file = upload(
            "email,amount",
            "ada@example.com,7",
            "bob@example.com,1e3",
            "eve@example.com,１２",
            "nobody@example.com,5",
            "ada@example.com,5",
            "=cmd|'/c calc'!A1,5",
            "x@example.com",
        )
        batch = drafted(client, ADD_FILE, file=file)
        assert (batch.plan["wallets"], batch.plan["credits"]) == (1, 7)
        assert sum(batch.plan["excluded"].values()) == 6
        shown = text(client.get(page_of(batch)))
        assert "line 3" in shown
        assert "there is no user with this e-mail" in shown
        left_out = rows_of(client.get(page_of(batch, "left-out")))
        assert sorted(int(row[left_out[0].index("line")]) for row in left_out[1:]) == [
            3, 4, 5, 6, 7, 8,
        ]  # fmt: skip
        assert not [cell for row in left_out for cell in row if cell.startswith("=")]

    def test_reads_what_spreadsheets_write(self, client, wallets):
        for content in [
            b'\xef\xbb\xbfemail,amount\r\n"ada@example.com",7\r\n',
            b'email,amount\n"ada@example.com","7"\n\n',
            b"Email , AMOUNT\nada@example.com, 7",
        ]:
            assert drafted(client, ADD_FILE, file=upload(content)).plan["credits"] == 7

    def test_is_refused_whole_if_it_cannot_be_read(self, client):
        for content in [
            b"email;amount\nada@example.com;7",
            "email,amount\nada@example.com,7".encode("utf-16"),
            b"email,amount\nada@example.com,7\0",
            b"email,amount\nad\xe9@example.com,7",
            b"mail,amount\nada@example.com,7",
            b"email,amount,email\nada@example.com,7,x",
            b'email,amount\n"ada@example.com,7',
            b"PK\x03\x04 a spreadsheet",
            b"email,amount\n" + b"a" * 1_000_000,
            b"\n\n",
            b"",
        ]:
            page = sent(client, ADD_FILE, credit_type="award", file=upload(content))
            assert len(errors(page)) == 1, content[:40]
        assert not Batch.objects.exists()

    def test_needs_a_file_with_a_name_that_hides_nothing(self, client, wallets):
        page = sent(client, ADD_FILE, credit_type="award")
        assert page.context["form"].errors.keys() == {"file"}
        file = upload("email,amount", "ada@example.com,7", name="a\ufffdb.csv")
        page = sent(client, ADD_FILE, credit_type="award", file=file)
        assert page.context["form"].errors.keys() == {"file"}
        assert not Batch.objects.exists()

    def test_would_move_nothing_if_all_lines_are_wrong(self, client, wallets):
        batch = drafted(client, DEDUCT_FILE, file=upload("email,amount", "x,1"), policy="skip")
        assert "Nothing would move" in text(client.get(page_of(batch)))
        assert "confirm" not in offered(client, batch)
        page = client.get(page_of(batch, "confirm"), follow=True)
        assert said(page) == ["That is not possible here, or no longer."]


class TestThePreview:
    def test_shows_the_figures_and_who_is_left_out(self, client, wallets):
        close(wallets[1])
        wallet_of(client.user)
        page = text(client.get(page_of(drafted(client))))
        for words in ["+100", "Of staff", "The wallet is closed", "Nothing has moved yet"]:
            assert words in page
        for wallet in (wallets[0], wallets[2]):
            assert f"{wallet}</a>" in page

    def test_says_who_has_less(self, client, wallets):
        batch = drafted(client, DEDUCT, amount="200", policy="take")
        page = text(client.get(page_of(batch)))
        assert (batch.plan["credits"], batch.plan["expected"]) == (600, 500)
        assert "−500" in page
        assert "1 wallet has less than is to be taken, and lacks 100 credits." in page

    def test_gives_those_left_out_as_a_file(self, client, wallets):
        close(wallets[1])
        rows = rows_of(client.get(page_of(drafted(client), "left-out")))
        assert [row for row in rows if "bob@example.com" in row]

    def test_costs_the_same_for_few_and_many(self, client, wallets, django_assert_num_queries):
        batch = drafted(client)
        client.get(page_of(batch))
        with django_assert_num_queries(10) as one:
            client.get(page_of(batch))
        for _ in range(12):
            wallet_with_credits(award=1)
        batch = drafted(client)
        with django_assert_num_queries(10):
            client.get(page_of(batch))
        asked = [query["sql"] for query in one.captured_queries if "ledger_batch" in query["sql"]]
        assert not [sql for sql in asked if "COUNT(" in sql]
        assert all("LIMIT" in sql or "_batch" in sql for sql in asked)

    def test_can_be_planned_again(self, client, wallets, time_machine):
        batch = drafted(client)
        wallet_with_credits(CustomerFactory(email="new@example.com"))
        page = sent(client, page_of(batch, "plan"))
        assert said(page)[0].startswith("Planned anew")
        batch.refresh_from_db()
        assert batch.plan["wallets"] == 4

    def test_is_too_old_after_an_hour(self, client, wallets, time_machine):
        batch = drafted(client)
        time_machine.move_to(timezone.now() + timedelta(minutes=61))
        client = as_role("Auditor")
        page = client.get(page_of(batch))
        assert (page.context["state"], "Plan it again" in text(page)) == ("plan expired", True)

    def test_can_be_discarded(self, client, wallets):
        batch = drafted(client)
        assert said(sent(client, page_of(batch, "discard")))[0].startswith("Discarded")
        assert offered(client, batch) == []
        assert "Discarded: nothing moved" in text(client.get(page_of(batch)))


class TestConfirming:
    def test_starts_what_was_shown(self, client, wallets):
        batch = drafted(client)
        page = sent(client, page_of(batch, "confirm"))
        assert said(page)[0].startswith("Started")
        batch.refresh_from_db()
        assert batch.status == "started"
        assert awards(wallets) == [100, 300, 900]
        run_job(batch.job)
        assert awards(wallets) == [150, 350, 950]

    def test_asks_for_the_phrase_when_it_is_large(self, client, wallets):
        settings_of(typed_confirmation_from=150)
        batch = drafted(client)
        form = client.get(page_of(batch, "confirm")).context["form"]
        assert form.phrase == "ADD 50 TO 3 USERS"
        page = sent(client, page_of(batch, "confirm"), confirmation="add 50 to 3 users")
        assert errors(page) == ["That is not what is to be typed."]
        assert Batch.objects.get().status == "planned"
        assert started(client, batch, confirmation="ADD 50 TO 3 USERS").status == "started"

    def test_refuses_a_page_of_another_plan(self, client, wallets):
        batch = drafted(client)
        data = opened(client, page_of(batch, "confirm"))
        wallet_with_credits(CustomerFactory(email="new@example.com"))
        sent(client, page_of(batch, "plan"))
        page = resent(client, page_of(batch, "confirm"), data)
        assert len(errors(page)) == 1
        assert Batch.objects.get().status == "planned"

    def test_starts_once_however_often_it_is_sent(self, client, wallets):
        batch = drafted(client)
        data = opened(client, page_of(batch, "confirm"))
        for _ in range(2):
            page = resent(client, page_of(batch, "confirm"), data)
        assert said(page) == ["That is not possible here, or no longer."]
        assert Job.objects.filter(batch=batch).count() == 1

    def test_is_left_to_who_made_it(self, client, wallets):
        batch = drafted(client)
        other = as_role("Admin")
        assert "confirm" not in offered(other, batch)
        assert "Whoever made it confirms it." in text(other.get(page_of(batch)))
        assert len(errors(sent(other, page_of(batch, "confirm")))) == 1
        assert Batch.objects.get().status == "planned"

    def test_says_before_that_it_takes_two_and_waits(self, client, wallets):
        settings_of(approval_batch_wallets_above=2)
        batch = drafted(client)
        assert "It takes a second person." in text(client.get(page_of(batch)))
        form = client.get(page_of(batch, "confirm")).context["form"]
        assert form.button == "Ask for approval"
        assert "It waits for a second person" in form.changes()[-1]
        page = sent(client, page_of(batch, "confirm"))
        approval = Approval.objects.get()
        assert f'href="{page_of(approval)}"' in said(page)[0]
        assert page.context["state"] == "waiting for approval"
        assert awards(wallets) == [100, 300, 900]

    def test_runs_once_a_second_person_approved(self, client, wallets):
        settings_of(approval_batch_wallets_above=2)
        batch = started(client, drafted(client))
        admin = as_role("Admin")
        page = admin.get(page_of(batch.approval))
        assert f'href="{page_of(batch)}"' in text(page)
        sent(admin, page_of(batch.approval, "approve"))
        batch.refresh_from_db()
        run_job(batch.job)
        assert awards(wallets) == [150, 350, 950]
        assert f'href="{page_of(batch)}"' in text(admin.get(page_of(batch.job)))

    def test_says_that_it_was_refused(self, client, wallets):
        settings_of(approval_batch_wallets_above=2)
        batch = started(client, drafted(client))
        sent(as_role("Admin"), page_of(batch.approval, "refuse"), reason="Not this month, please.")
        page = text(client.get(page_of(batch)))
        assert "Its request was refused: Not this month, please." in page

    def test_is_closed_without_the_permission(self, client, wallets):
        batch = drafted(client)
        data = opened(client, page_of(batch, "confirm"))
        for group in ["Support", "Auditor", ""]:
            other = as_role(group)
            for act in ("confirm", "plan", "discard", "reverse", "pause", "cancel"):
                assert resent(other, page_of(batch, act), data).status_code == 403
        assert Batch.objects.get().status == "planned"

    def test_asks_who_it_is_after_five_minutes(self, client, wallets, time_machine):
        batch = drafted(client)
        data = opened(client, page_of(batch, "confirm"))
        time_machine.move_to(timezone.now() + timedelta(minutes=6))
        assert "reauthenticate" in client.get(page_of(batch, "confirm"))["Location"]
        assert "Confirm that it is you" in text(resent(client, page_of(batch, "confirm"), data))
        assert Batch.objects.get().status == "planned"


class TestRunning:
    def test_tells_how_far_it_is(self, client, wallets):
        batch = started(client, drafted(client))
        door = page_of(batch, "progress")
        page = client.get(page_of(batch))
        assert f'data-progress="{door}" data-state="queued"' in text(page)
        assert "ledger/batch.js" in text(page)
        told = {"state": "queued", "done": 0, "total": 3, "credits": 0, "skipped": 0}
        assert client.get(door).json() == told
        run_job(batch.job)
        told = {"state": "done", "done": 3, "total": 3, "credits": 150, "skipped": 0}
        assert as_role("Support").get(door).json() == told
        assert "data-progress" not in text(client.get(page_of(batch)))

    def test_tells_nothing_of_what_has_not_begun_or_is_not_there(self, client, wallets):
        batch = drafted(client)
        assert client.get(page_of(batch, "progress")).json() == {"state": "to be confirmed"}
        assert client.get(f"{LIST}{batch.pk + 1}/progress/").status_code == 404
        assert as_role("").get(page_of(batch, "progress")).status_code == 403

    def test_is_paused_resumed_and_cancelled(self, client, wallets):
        batch = started(client, drafted(client))
        assert offered(client, batch) == ["pause", "cancel"]
        assert said(sent(client, page_of(batch, "pause")))[0].startswith("Paused")
        assert client.get(page_of(batch)).context["state"] == "paused"
        run_job(Job.objects.get(batch=batch))
        assert awards(wallets) == [100, 300, 900]
        assert offered(client, batch) == ["resume", "cancel"]
        assert said(sent(client, page_of(batch, "resume")))[0].startswith("Resumed")
        page = sent(client, page_of(batch, "cancel"), confirmation="CANCEL BATCH")
        assert errors(page) == ["That is not what is to be typed."]
        phrase = f"CANCEL BATCH {batch.pk}"
        page = sent(client, page_of(batch, "cancel"), confirmation=phrase)
        assert said(page)[0].startswith("Cancelled")
        page = client.get(page_of(batch))
        assert (page.context["state"], offered(client, batch)) == ("cancelled", ["reverse"])
        assert "Not reached: it was cancelled before" in text(page)

    def test_shows_why_it_stopped(self, client, wallets):
        batch = started(client, drafted(client))
        Job.objects.filter(batch=batch).update(status="failed", error="DataError: disk full")
        page = client.get(page_of(batch))
        assert "DataError: disk full" in text(page)
        assert offered(client, batch) == ["resume", "cancel"]


class TestTheResult:
    def test_says_what_became_of_everybody(self, client, wallets):
        batch = started(client, drafted(client, DEDUCT, amount="200", policy="skip"))
        spend(wallets[1], 250, at=timezone.now())
        run_job(batch.job)
        page = text(client.get(page_of(batch)))
        assert "200 credits were taken" in page
        assert "has less than that" in page
        rows = rows_of(client.get(page_of(batch, "results")))
        assert {"bob@example.com", "eve@example.com"} <= {cell for row in rows for cell in row}
        assert len(rows) == 3

    def test_leads_from_a_transaction_to_its_batch(self, client, wallets):
        batch = done(client, drafted(client))
        move = transactions_of(wallets[0])[-1]
        assert f'href="{page_of(batch)}"' in text(client.get(page_of(move)))
        assert move.reference_id == str(batch.public_id)
        assert str(batch.public_id) in text(client.get(page_of(batch)))

    def test_is_not_what_a_caller_of_ours_says(self, client, wallets):
        batch = done(client, drafted(client))
        spend(wallets[0], 1, at=timezone.now(), reference_id=str(batch.public_id))
        move = transactions_of(wallets[0])[-1]
        assert client.get(page_of(move)).context["batch"] is None

    def test_is_reversed_as_a_batch_of_its_own(self, client, wallets):
        batch = done(client, drafted(client))
        page = sent(client, page_of(batch, "reverse"))
        reversal = Batch.objects.latest("pk")
        assert page.redirect_chain == [(page_of(reversal), 302)]
        assert (reversal.kind, reversal.status, reversal.reverses) == (
            "reversal", "planned", batch,
        )  # fmt: skip
        assert awards(wallets) == [150, 350, 950]
        assert "reverse" not in offered(client, batch)
        assert f'href="{page_of(reversal)}"' in text(client.get(page_of(batch)))
        done(client, reversal)
        assert awards(wallets) == [100, 300, 900]
        assert offered(client, reversal) == []

    def test_is_reversed_after_a_discarded_reversal(self, client, wallets):
        batch = done(client, drafted(client))
        sent(client, page_of(batch, "reverse"))
        sent(client, page_of(Batch.objects.latest("pk"), "discard"))
        assert offered(client, batch) == ["reverse"]


class TestTheList:
    def test_shows_where_each_stands(self, client, wallets):
        drafted(client, DEDUCT, policy="skip")
        batch = started(client, drafted(client))
        done(client, drafted(client))
        page = client.get(LIST)
        assert [str(each.pk) for each in page.context["cl"].result_list] == [
            str(batch.pk + 1), str(batch.pk), str(batch.pk - 1),
        ]  # fmt: skip
        for words in ["queued · 0 %", "to be confirmed", "done", "−150", "+150"]:
            assert words in text(page)

    def test_is_filtered_by_where_they_stand(self, client, wallets):
        plan, queued, ended = (drafted(client) for _ in range(3))
        started(client, queued)
        done(client, ended)
        for state, found in {
            "plan": [plan],
            "waiting": [],
            "running": [queued],
            "halted": [],
            "ended": [ended],
            "discarded": [],
            "": [ended, queued, plan],
        }.items():
            page = client.get(LIST, {"state": state} if state else {})
            assert [*page.context["cl"].result_list] == found, state

    def test_is_searched_by_number_and_reason(self, client, wallets):
        batch = drafted(client)
        drafted(client, reason="Something else altogether.")
        assert [*client.get(LIST, {"q": str(batch.pk)}).context["cl"].result_list] == [batch]
        assert [*client.get(LIST, {"q": REASON}).context["cl"].result_list] == [batch]

    def test_costs_the_same_for_one_and_three(self, client, wallets, django_assert_num_queries):
        client.get(LIST)
        for more in (1, 2):
            for _ in range(more):
                started(client, drafted(client))
            with django_assert_num_queries(6):
                client.get(LIST)

    def test_is_open_to_who_may_look(self, client, wallets):
        batch = drafted(client)
        pages = [LIST, *(page_of(batch, end) for end in ("change", "left-out", "results"))]
        for group, to_files in [("Admin", 200), ("Auditor", 200), ("Support", 403)]:
            other = as_role(group)
            seen = [other.get(page).status_code for page in pages]
            assert seen == [200, 200, to_files, to_files]
            assert (offered(other, batch) == []) == (group != "Admin")
            assert ("left-out/" in text(other.get(pages[1]))) == (to_files == 200)

    def test_records_who_took_its_rows_away(self, client, wallets, time_machine):
        batch = drafted(client)
        client.get(page_of(batch, "results"))
        event = AuditEvent.objects.get(action="ledger.batch.exported")
        assert (event.actor_id, event.after) == (client.user.pk, {"file": "results"})
        time_machine.move_to(timezone.now() + timedelta(minutes=6))
        assert "reauthenticate" in client.get(page_of(batch, "left-out"))["Location"]
        assert AuditEvent.objects.filter(action="ledger.batch.exported").count() == 1

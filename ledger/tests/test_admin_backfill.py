import pytest

from accounts.models import Approval, Job, Role
from accounts.services.jobs import run_job
from creditsite.testing.people import as_role
from ledger.models import CreditTransaction
from ledger.queries.wallets import wallet_of
from ledger.tests.factories import AT, balances_of, bulk_created, set_credit_settings
from ledger.tests.pages import REASON, errors, opened, resent, said, sent, text

LIST = "/admin/ledger/wallet/"
PAGE = f"{LIST}backfill/"


def imported(number=1, code="member", **fields):
    return bulk_created(number, role=Role.objects.get(code=code), **fields)


def lines(response):
    return [
        (line.name, line.found, line.granted, line.skipped, line.credits)
        for line in response.context["form"].lines()
    ]


def run_page(job):
    return f"{LIST}{job.pk}/backfill-run/"


@pytest.fixture
def client(db):
    return as_role("Finance")


@pytest.mark.django_db
class TestDryRun:
    def test_says_by_role_what_would_be_given_and_changes_nothing(self, client):
        imported(3)
        imported(1, "admin")
        wallet_of(imported(1, is_active=False)[0])
        assert lines(client.get(PAGE)) == [
            ("Admin", 1, 1, 0, 1_000),
            ("Member", 3, 3, 0, 1_050),
            ("All", 4, 4, 0, 2_050),
        ]
        assert not CreditTransaction.objects.exists()

    def test_is_of_one_role_if_asked(self, client):
        imported(3)
        imported(1, "admin")
        response = client.get(PAGE, {"role": "admin"})
        assert lines(response) == [("Admin", 1, 1, 0, 1_000), ("All", 1, 1, 0, 1_000)]
        assert client.get(PAGE, {"role": "nobody"}).status_code == 404

    def test_offers_nothing_when_nobody_is_due_anything(self, client):
        response = client.get(PAGE)
        assert "Nobody is due anything." in text(response)
        assert 'name="confirmed"' not in text(response)

    def test_stands_on_the_list_of_users_for_who_may(self, client):
        assert f'href="{PAGE}"' in text(client.get(LIST))
        assert f'href="{PAGE}"' not in text(as_role("Support").get(LIST))
        assert as_role("Auditor").get(PAGE).status_code == 403

    @pytest.mark.parametrize("number", [1, 30])
    def test_takes_as_many_queries_however_many_users(
        self, client, number, django_assert_max_num_queries
    ):
        imported(number)
        client.get(PAGE)
        with django_assert_max_num_queries(25):
            client.get(PAGE)


@pytest.mark.django_db
class TestConfirm:
    def test_leads_to_the_page_of_what_runs(self, client):
        (user,) = imported()
        response = sent(client, PAGE)
        job = Job.objects.get()
        assert response.redirect_chain == [(run_page(job), 302)]
        assert (job.created_by, job.params) == (client.user, {"role": None})
        run_job(job, clock=lambda: AT)
        assert balances_of(wallet_of(user))["award"] == 350

    def test_is_for_the_role_that_was_shown(self, client):
        imported()
        imported(1, "admin")
        page = f"{PAGE}?role=admin"
        resent(client, page, opened(client, page))
        assert Job.objects.get().params == {"role": "admin"}

    def test_asks_to_type_how_much_and_to_how_many_from_10000_credits_on(self, client):
        imported(2, "team_admin")
        response = sent(client, PAGE, confirmation="GIVE 10,000 TO 3 USERS")
        assert errors(response) == ["That is not what is to be typed."]
        assert not Job.objects.exists()
        sent(client, PAGE, confirmation="GIVE 10,000 TO 2 USERS")
        assert Job.objects.exists()

    def test_shows_the_new_figures_if_they_have_changed_meanwhile(self, client):
        imported()
        seen = opened(client, PAGE)
        imported()
        response = resent(client, PAGE, seen)
        assert errors(response) == ["What is due has changed meanwhile. These are the new figures."]
        assert lines(response)[-1] == ("All", 2, 2, 0, 700)
        assert not Job.objects.exists()
        form = response.context["form"]
        resent(client, PAGE, {name: form[name].value() for name in form.fields})
        assert Job.objects.exists()

    def test_says_that_it_waits_for_a_second_person(self, client):
        set_credit_settings(approval_batch_wallets_above=1)
        imported(2)
        assert "it waits for a second person" in text(client.get(PAGE))
        response = sent(client, PAGE)
        approval = Approval.objects.get()
        assert said(response)[0].startswith("It waits for a second person")
        assert (approval.kind, approval.reason) == ("ledger.run_backfill", REASON)
        assert approval.sentence == (
            "Give users who never had credits what registering brings: 700 credits to 2 users"
        )
        other = as_role("Finance", email="other@staff.example.com")
        page = f"/admin/accounts/approval/{approval.pk}/approve/"
        assert "As of now, 700 credits are due to 2 users." in text(other.get(page))
        sent(other, page)
        assert Job.objects.get().created_by == client.user


@pytest.mark.django_db
class TestRunPage:
    def test_says_how_far_it_is_and_what_was_given(self, client):
        imported(2)
        sent(client, PAGE)
        job = Job.objects.get()
        progress = f"{LIST}{job.pk}/backfill-progress/"
        response = client.get(run_page(job))
        assert f'data-progress="{progress}"' in text(response)
        assert client.get(progress).json() == {"state": "pending", "done": 0, "total": 1}
        run_job(job, clock=lambda: AT)
        response = client.get(run_page(job))
        assert "data-progress" not in text(response)
        (member, total) = response.context["lines"]
        assert (member.name, member.granted, total.credits) == ("Member", 2, 700)

    def test_says_what_was_given_so_far(self, client):
        users = imported(2)
        sent(client, PAGE)
        job = Job.objects.get()
        job.chunks.update(done_at=AT, result={"member": dict.fromkeys(KEYS, 2)})
        job.chunks.create(lower=users[1].pk + 10_000, upper=users[1].pk + 20_000)
        (member, _) = client.get(run_page(job)).context["lines"]
        assert (member.found, member.credits) == (2, 2)

    def test_is_there_for_backfills_only(self, client):
        other = Job.objects.create(kind="batch", params={})
        for pk in (other.pk, other.pk + 1, "x", "１", "9" * 30):
            assert client.get(f"{LIST}{pk}/backfill-run/").status_code == 404
            assert client.get(f"{LIST}{pk}/backfill-progress/").status_code == 404


KEYS = ("found", "granted", "skipped", "credits")

"""The page of awards: the rules in force, what is due, what ran; and who was referred."""

import pytest
from django.utils import timezone

from accounts.services import jobs
from accounts.tests.factories import UserFactory
from audit.models import AuditEvent
from creditsite.testing.people import as_role
from ledger.choices import SignUpFrequency
from ledger.models import AwardRun, Referral
from ledger.services.award_runs import run_due_awards
from ledger.tests.factories import CustomerFactory, set_credit_settings
from ledger.tests.pages import REASON, opened, page_of, resent, said, sent, text
from ledger.tests.test_periods import utc

LIST = "/admin/ledger/awardrun/"
RUN = f"{LIST}run-due/"
REFERRALS = "/admin/ledger/referral/"


@pytest.fixture(autouse=True)
def partner(db, time_machine):
    """A partner, on 10 January 2026, when nothing of that month was run yet."""
    time_machine.move_to(utc(2026, 1, 10))
    return CustomerFactory(date_joined=utc(2025, 12, 20), is_partner=True)


@pytest.fixture
def is_due():
    set_credit_settings(changed_at=utc(2025, 12, 25), partner_allotment=200, monthly_day=5)


def run_all() -> AwardRun:
    (run,) = run_due_awards(actor=None, at=timezone.now())
    jobs.run_job(run.job, clock=timezone.now)
    return AwardRun.objects.get()


class TestList:
    @pytest.mark.parametrize("group", ["Admin", "Finance", "Auditor", "Support"])
    def test_shows_the_rules_in_force(self, group):
        set_credit_settings(
            sign_up_credits=25,
            sign_up_frequency=SignUpFrequency.MONTHLY,
            referral_credits=1_030,
            referral_monthly_limit=4,
            award_expiry_days=60,
            monthly_day=31,
            time_zone="Pacific/Chatham",
        )
        client = as_role(group)
        run_due_awards(actor=None, at=timezone.now())
        response = client.get(LIST)
        rules = {rule["name"]: rule for rule in response.context["rules"]}
        assert [rule["credits"] for rule in rules.values()] == ["by role", 25, 1_030, 0]
        assert rules["Sign-up credits"]["next"] == "2026-01, due 2026-01-30 10:15 UTC"
        assert rules["Partner allotment"]["next"] == ""
        page = text(response)
        assert "1,030" in page
        assert "at most 4 in a month" in page
        assert "when day 31 begins in Pacific/Chatham" in page
        assert "Awards last 60 days" in page
        assert "Due, and not started" not in page

    def test_shows_what_is_due_and_what_ran(self, is_due):
        client = as_role("Finance")
        assert "Partner allotment for 2026-01. The worker" in text(client.get(LIST))
        run = run_all()
        page = text(client.get(LIST))
        assert "Due, and not started" not in page
        assert "2026-01-05 00:00" in page
        page = text(client.get(page_of(run)))
        assert "Partner allotment for 2026-01" in page
        assert f"/admin/accounts/job/{run.job_id}/change/" in page

    def test_asks_the_same_however_many_runs_there_are(
        self, is_due, time_machine, django_assert_num_queries, django_assert_max_num_queries
    ):
        client = as_role("Finance")
        run_all()
        client.get(LIST)
        with django_assert_max_num_queries(50) as one:
            client.get(LIST)
        number = len(one)  # The next request forgets them.
        time_machine.move_to(utc(2026, 3, 10))
        for run in run_due_awards(actor=None, at=timezone.now()):
            jobs.run_job(run.job, clock=timezone.now)
        client = as_role("Finance", email="another@example.com")
        client.get(LIST)
        with django_assert_num_queries(number):
            assert len(client.get(LIST).context["cl"].result_list) == 3


class TestRunDue:
    def test_says_what_would_be_given_and_starts_it(self, is_due):
        client = as_role("Finance")
        assert RUN in text(client.get(LIST))
        assert (
            "Partner allotment for 2026-01: 200 credits to every partner who registered by"
            " 2026-01-05 00:00 UTC" in text(client.get(RUN))
        )
        response = sent(client, RUN)
        assert said(response) == ["Started: Partner allotment for 2026-01."]
        run = AwardRun.objects.get()
        assert run.job.created_by == client.user
        event = AuditEvent.objects.get(action="ledger.awards.started")
        assert (event.reason, event.target_label) == (REASON, "Partner allotment for 2026-01")

    def test_starts_nothing_twice(self, is_due):
        client = as_role("Finance")
        typed = opened(client, RUN)
        sent(client, RUN)
        assert "Nothing is due" in text(resent(client, RUN, typed))
        assert AwardRun.objects.count() == 1

    @pytest.mark.parametrize("group", ["Auditor", "Support"])
    def test_is_neither_offered_nor_open_to_who_may_not(self, is_due, group):
        client = as_role(group)
        assert RUN not in text(client.get(LIST))
        assert client.get(RUN).status_code == 403
        assert client.post(RUN, {"confirmed": "yes", "reason": REASON}).status_code == 403
        assert not AwardRun.objects.exists()


class TestReferrals:
    def test_show_what_was_awarded_and_what_was_not(self):
        set_credit_settings(referral_credits=1_030, referral_monthly_limit=1)
        referrer = CustomerFactory(email="referrer@example.com")
        referred = [UserFactory(referrer=referrer, date_joined=timezone.now()) for _ in range(2)]
        client = as_role("Support")
        page = text(client.get(REFERRALS))
        assert "1,030" in page
        assert "over the monthly limit" in page
        found = client.get(REFERRALS, {"q": referred[1].email}).context["cl"].result_list
        assert [referral.referred for referral in found] == [referred[1]]
        assert client.get(page_of(Referral.objects.first())).status_code == 200

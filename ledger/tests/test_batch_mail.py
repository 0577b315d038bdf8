"""Who hears by e-mail that a batch waits, runs and has ended, and what they are told."""

import pytest
from django.core import mail

from accounts.services.jobs import cancel_job
from accounts.tests.factories import StaffFactory
from ledger.tests.batches import WHY, approve, confirm, fresh, planned, run, start, users_with
from ledger.tests.factories import AT, finance, set_credit_settings


@pytest.fixture
def mails(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    return mail.outbox


def told(mails, subject):
    return sorted(message.to[0] for message in mails if message.subject == subject)


@pytest.mark.django_db
class TestBatchMail:
    def test_tells_of_one_that_waits_is_approved_and_finishes(self, mails):
        set_credit_settings(approval_batch_credits_above=100)
        admin, colleague, maker = StaffFactory(), finance(), finance()
        StaffFactory(groups="Auditor")
        users_with(3)
        batch = planned(maker=maker)
        approval = confirm(batch)
        assert told(mails, f"Batch {batch.pk} waits for approval") == sorted(
            [admin.email, colleague.email]
        )
        assert len(mails) == 2
        for said in [
            f"{maker} asks for a second person:",
            "Add 50 award credits to each of 3 users.",
            f"Reason: {WHY}",
            "Users: 3\nCredits: 150\nAt the recovery cost: 2.74 ZAR",
        ]:
            assert said in mails[0].body
        mails.clear()

        approve(approval, colleague)
        assert told(mails, f"Batch {batch.pk} has started") == [admin.email]
        assert told(mails, "What you asked for was decided") == [maker.email]
        assert "It was approved, and runs now." in mails[0].body
        mails.clear()

        run(fresh(batch))
        subject = f"Batch {batch.pk} is finished"
        assert told(mails, subject) == sorted([admin.email, maker.email])
        assert "Done: 3 of 3\nCredits moved: 150" in mails[0].body
        assert all(message.alternatives for message in mails)

    def test_tells_of_a_small_one_that_starts_at_once(self, mails):
        admin, maker = StaffFactory(), finance()
        users_with(1)
        batch = start(planned(maker=maker))
        assert [message.subject for message in mails] == [f"Batch {batch.pk} has started"]
        assert mails[0].to == [admin.email]
        assert "It runs now." in mails[0].body

    def test_tells_once_who_is_admin_and_made_it(self, mails):
        maker = StaffFactory()
        users_with(1)
        run(start(planned(maker=maker)))
        assert [message.to for message in mails] == [[maker.email]]

    def test_tells_of_one_that_was_cancelled(self, mails):
        admin, maker = StaffFactory(), finance()
        users_with(2)
        batch = start(planned(maker=maker))
        mails.clear()
        cancel_job(job=batch.job, actor=maker, reason="not needed any more", at=AT)
        assert told(mails, f"Batch {batch.pk} was cancelled") == sorted([admin.email, maker.email])
        assert "Done: 0 of 2" in mails[0].body

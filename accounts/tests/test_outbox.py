"""E-mail: written with the act, sent by real SMTP, again after a crash, given up in the end."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail
from django.db import transaction

from accounts.errors import EmailRefused
from accounts.models import Email
from accounts.services import outbox
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict, NotPermitted
from creditsite.testing import race
from creditsite.testing.mail_server import mail_server
from creditsite.testing.people import as_role

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
REASON = "asked for by telephone"


@pytest.fixture(autouse=True)
def through_the_outbox(settings):
    settings.EMAIL_BACKEND = "accounts.services.outbox.OutboxBackend"
    settings.EMAIL_IS_SENT = True
    settings.EMAIL_DELIVERY_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.DEFAULT_FROM_EMAIL = "Credits <credits@example.com>"


@pytest.fixture
def server(settings):
    with mail_server() as running:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", running.port
        yield running


def mail(*recipients: str, subject: str = "Hello", text: str = "A text.") -> None:
    send_mail(subject, text, None, list(recipients) or ["bob@example.com"])


def deliver(at: datetime | None = None) -> int:
    now = at or Email.objects.latest("created_at").created_at
    return outbox.deliver_emails(clock=lambda: now)


def row() -> Email:
    return Email.objects.get()


def say(command: str, answer: str | None):
    return lambda asked, usual: answer if asked.upper().startswith(command) else usual


@pytest.mark.django_db
class TestWriting:
    def test_is_part_of_the_transaction(self):
        with transaction.atomic():
            mail()
            assert Email.objects.count() == 1
            transaction.set_rollback(True)
        assert not Email.objects.exists()

    def test_makes_a_row_for_each_recipient(self):
        EmailMessage(
            "Hello", "A text.", to=["a@x.io", "b@x.io"], cc=["b@x.io"], bcc=["c@x.io"]
        ).send()
        assert [email.recipient for email in Email.objects.order_by("pk")] == [
            "a@x.io",
            "b@x.io",
            "c@x.io",
        ]

    def test_wakes_a_worker_after_commit(self, django_capture_on_commit_callbacks, monkeypatch):
        woken = []
        monkeypatch.setattr(outbox.tasks.deliver_emails, "delay", lambda: woken.append(True))
        with django_capture_on_commit_callbacks(execute=True):
            mail("a@x.io", "b@x.io")
        assert woken == [True]

    def test_keeps_the_html_beside_the_text(self):
        message = EmailMultiAlternatives("Hello", "A text.", to=["a@x.io"])
        message.attach_alternative("<p>A text.</p>", "text/html")
        message.send()
        assert (row().text, row().html) == ("A text.", "<p>A text.</p>")

    def test_only_keeps_it_in_a_demo_without_a_server(self, settings):
        settings.EMAIL_IS_SENT, settings.DEMO = False, True
        mail()
        assert row().status == "kept"
        assert deliver() == 0

    def test_lets_it_wait_in_production_without_a_server(self, settings):
        settings.EMAIL_IS_SENT = settings.DEMO = False
        mail()
        assert row().status == "waiting"
        assert deliver() == 0
        assert row().tries == 0

    @pytest.mark.parametrize(
        "address",
        [
            "bob@example.com\nBcc: eve@example.com",
            "bob@example.com\r\n\r\nAnother text",
            "bob@example.com, eve@example.com",
            "Bob <bob@example.com>",
            '"eve@evil.example, b"@example.com',
            "bob@example.com\0",
            "\u202ebob@example.com",
            "bob",
            "",
            f"{'b' * 250}@example.com",
        ],
    )
    def test_refuses_what_is_not_one_address(self, address):
        with pytest.raises(EmailRefused):
            outbox.rows_of(
                EmailMessage("Hello", "A text.", to=["a@x.io"], bcc=[address or " "]), AT
            )

    @pytest.mark.parametrize(
        "subject", ["Hi\nBcc: eve@example.com", "Hi\rX: y", "Hi\u2028", "Hi\0", "h" * 251]
    )
    def test_refuses_a_subject_of_more_than_a_line(self, subject):
        with pytest.raises(EmailRefused):
            mail(subject=subject)

    def test_refuses_a_sender_of_more_than_a_line(self):
        with pytest.raises(EmailRefused):
            send_mail("Hello", "A text.", "a@x.io\nBcc: eve@example.com", ["bob@example.com"])

    def test_refuses_nul_in_the_text(self):
        with pytest.raises(EmailRefused):
            mail(text="a\0b")

    def test_refuses_attachments_and_headers(self):
        message = EmailMessage("Hello", "A text.", to=["a@x.io"], headers={"X-Mailer": "x"})
        with pytest.raises(EmailRefused):
            message.send()
        message = EmailMessage("Hello", "A text.", to=["a@x.io"])
        message.attach("a.txt", "x", "text/plain")
        with pytest.raises(EmailRefused):
            message.send()


@pytest.mark.django_db
class TestDelivering:
    def test_sends_it_once(self, server):
        mail("bob@example.com", subject="Grüße", text="Zeile 1\n.\nZeile 3 ü")
        assert (deliver(), deliver()) == (1, 0)
        [(recipient, message)] = server.received
        assert recipient == message["To"] == "bob@example.com"
        assert message["From"] == "Credits <credits@example.com>"
        assert message["Message-ID"] == f"<{row().message_id}@example.com>"
        assert message.get_payload(decode=True).decode() == "Zeile 1\r\n.\r\nZeile 3 ü\r\n"
        assert (row().status, row().sent_at) == ("sent", row().created_at)

    def test_sends_the_html_too(self, server):
        message = EmailMultiAlternatives("Hello", "A text.", to=["a@x.io"])
        message.attach_alternative("<p>A text.</p>", "text/html")
        message.send()
        deliver()
        kinds = [part.get_content_type() for part in server.received[0][1].walk()]
        assert kinds == ["multipart/alternative", "text/plain", "text/html"]

    def test_gives_up_at_once_when_there_is_no_such_person(self, server):
        server.answer = say("RCPT", "550 no such person")
        mail()
        assert deliver() == 0
        assert (row().status, row().tries) == ("failed", 1)
        assert "550" in row().error

    def test_waits_twice_as_long_each_time(self, server):
        server.answer = say("RCPT", "451 later")
        mail()
        at, pauses = row().created_at, []
        for _ in range(4):
            assert deliver(at) == 0
            pauses.append(row().next_try_at - at)
            at = row().next_try_at
        assert pauses == [1 * MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
        server.answer = lambda command, usual: usual
        assert deliver(at) == 1

    def test_gives_up_in_the_end(self, server, settings):
        settings.EMAIL_TRIES = 3
        server.answer = say("RCPT", "451 later")
        mail()
        for _ in range(5):
            deliver(row().created_at + DAY)
            Email.objects.filter(status="waiting").update(next_try_at=row().created_at)
        assert (row().status, row().tries) == ("failed", 3)

    def test_lets_the_others_wait_when_the_server_is_away(self, settings):
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # Nobody is there.
        mail("a@x.io", "b@x.io")
        assert deliver() == 0
        assert sorted(Email.objects.values_list("tries", flat=True)) == [0, 1]

    def test_goes_on_to_the_next_when_one_is_refused(self, server):
        server.answer = say("RCPT TO:<A@X.IO>", "550 no")
        mail("a@x.io", "b@x.io")
        server.answer = lambda command, usual: "550 no" if "a@x.io" in command else usual
        assert deliver() == 1
        assert [recipient for recipient, _ in server.received] == ["b@x.io"]

    def test_sends_it_again_when_the_worker_died_with_it(self, server):
        mail()
        at = row().created_at
        assert outbox.claim(at) is not None  # and the worker is gone
        assert deliver(at) == 0
        assert deliver(at + outbox.LEASE) == 1
        assert len(server.received) == 1

    def test_ends_when_every_worker_dies_with_it(self, server, settings):
        settings.EMAIL_TRIES = 2
        mail()
        at = row().created_at
        for number in range(3):
            outbox.claim(at + number * outbox.LEASE)
        assert (row().status, server.received) == ("failed", [])

    def test_is_told_apart_from_the_first_by_nothing_when_our_note_was_lost(self, server):
        mail()
        at = row().created_at
        claimed = outbox.claim(at)
        outbox.send(claimed)  # the server said yes, and we died
        assert deliver(at + outbox.LEASE) == 1
        first, second = [message["Message-ID"] for _, message in server.received]
        assert first == second

    def test_keeps_and_raises_what_nobody_expected(self, server, monkeypatch):
        def broken(email):
            raise KeyError("oops")

        monkeypatch.setattr(outbox, "send", broken)
        mail()
        with pytest.raises(KeyError):
            deliver()
        assert row().error == "KeyError: 'oops'"
        assert row().status == "waiting"


class TestManyWorkers:
    def test_send_each_once(self, ledger_db, server):
        mail(*[f"user{number}@example.com" for number in range(40)])
        race(*[deliver] * 8)
        recipients = [recipient for recipient, _ in server.received]
        assert len(recipients) == len(set(recipients)) == 40
        assert set(Email.objects.values_list("status", flat=True)) == {"sent"}


@pytest.mark.django_db
class TestResending:
    def sent(self) -> Email:
        mail()
        deliver()
        return row()

    def test_sends_it_once_more_as_a_new_message(self, server):
        email = self.sent()
        admin = StaffFactory()
        outbox.resend_email(email=email, reason=REASON, actor=admin, at=email.created_at)
        assert deliver() == 1
        first, second = [message["Message-ID"] for _, message in server.received]
        assert first != second
        event = AuditEvent.objects.get(action="accounts.email.resent")
        assert (event.actor_id, event.reason, event.target_label) == (admin.pk, REASON, str(email))

    def test_is_for_admin(self, server):
        email = self.sent()
        for group in ["Finance", "Support", "Auditor"]:
            with pytest.raises(NotPermitted):
                outbox.resend_email(
                    email=email, reason=REASON, actor=StaffFactory(groups=group), at=AT
                )

    def test_is_refused_while_it_waits_or_without_its_text(self, server):
        mail()
        with pytest.raises(Conflict):
            outbox.resend_email(email=row(), reason=REASON, actor=StaffFactory(), at=AT)
        deliver()
        outbox.erase_old_emails(at=row().created_at + 15 * DAY)
        with pytest.raises(Conflict):
            outbox.resend_email(email=row(), reason=REASON, actor=StaffFactory(), at=AT)


@pytest.mark.django_db
class TestRetention:
    def test_erases_the_text_and_then_the_rest(self, server, settings):
        settings.EMAIL_TEXT_DAYS, settings.EMAIL_DAYS = 14, 365
        mail()
        deliver()
        at = row().created_at
        outbox.erase_old_emails(at=at + 14 * DAY)
        assert row().text == "A text."
        outbox.erase_old_emails(at=at + 14 * DAY + MINUTE)
        assert (row().text, row().subject) == ("", "Hello")
        outbox.erase_old_emails(at=at + 365 * DAY + MINUTE)
        assert not Email.objects.exists()

    def test_leaves_what_still_waits(self):
        mail()
        outbox.erase_old_emails(at=row().created_at + 999 * DAY)
        assert row().text == "A text."


@pytest.mark.django_db
class TestPage:
    URL = "/admin/accounts/email/"

    def test_shows_the_text_in_the_demo_only(self, settings):
        mail(text="Reset it: https://x.io/reset/abc")
        admin = as_role("Admin")
        page = f"{self.URL}{row().pk}/change/"
        settings.DEMO = True
        assert "reset/abc" in admin.get(page).content.decode()
        settings.DEMO = False
        shown = admin.get(page).content.decode()
        assert "reset/abc" not in shown
        assert "bob@example.com" in shown

    def test_sends_again_what_is_selected(self, server):
        mail()
        deliver()
        posted = {
            "action": "resend_selected",
            "_selected_action": row().pk,
            "confirmed": "yes",
            "confirmation": "RESEND 1",
            "reason": REASON,
            "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        }
        admin = as_role("Admin")
        admin.post(self.URL, posted | {"confirmation": "RESEND"})
        assert row().status == "sent"
        admin.post(self.URL, posted)
        assert row().status == "waiting"

    def test_is_for_admin(self):
        assert [
            group
            for group in ["Admin", "Auditor", "Finance", "Support"]
            if as_role(group).get(self.URL).status_code == 200
        ] == ["Admin"]

"""E-mail: rows of the transaction they belong to, sent by whoever is free, again after a crash."""

import smtplib
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from accounts import tasks
from accounts.choices import EmailStatus
from accounts.errors import EmailRefused
from accounts.models import Email, User
from accounts.permissions import require
from audit import services as audit
from creditsite.errors import Conflict, InvalidRequest
from creditsite.text import clean_text

# How long a try may take before another worker believes that the one who made it has died. SMTP
# has some eight exchanges of EMAIL_TIMEOUT at the most.
LEASE = timedelta(minutes=10)
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
# What a mail server says about one e-mail; all else is about the server.
REFUSALS = (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError)


class OutboxBackend(BaseEmailBackend):
    """What Django's mail API sends by: each recipient of a message becomes a row."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """
        Keep the messages with what the open transaction does, and wake a worker after commit.

        :raises EmailRefused: a message that is not plain, or an address that is none.
        """
        rows = [row for message in email_messages for row in rows_of(message, timezone.now())]
        Email.objects.bulk_create(rows)
        if any(row.status == EmailStatus.WAITING for row in rows):
            transaction.on_commit(tasks.deliver_emails.delay, robust=True)
        return len(email_messages)


def rows_of(message: EmailMessage, at: datetime) -> list[Email]:
    """
    Return a row for each recipient of ``message``; none of them is shown the others.

    :raises EmailRefused: see :meth:`OutboxBackend.send_messages`.
    """
    if message.attachments or message.extra_headers or message.reply_to:
        raise EmailRefused("An e-mail here has a subject and a text, and nothing else.")
    subject, sender = one_line_of(message.subject, 250), one_line_of(message.from_email, 320)
    refuse_bad_address(parseaddr(sender)[1])
    text, html = str(message.body), html_of(message)
    if "\0" in text + html:
        raise EmailRefused("The text holds a NUL character.")
    recipients = list(dict.fromkeys(message.recipients()))
    for recipient in recipients:
        refuse_bad_address(recipient)
    is_sent = settings.EMAIL_IS_SENT or not settings.DEMO
    return [
        Email(
            sender=sender,
            recipient=recipient,
            subject=subject,
            text=text,
            html=html,
            status=EmailStatus.WAITING if is_sent else EmailStatus.KEPT,
            next_try_at=at if is_sent else None,
            created_at=at,
        )
        for recipient in recipients
    ]


def html_of(message: EmailMessage) -> str:
    alternatives = getattr(message, "alternatives", None) or []
    if any(kind != "text/html" for _, kind in alternatives) or len(alternatives) > 1:
        raise EmailRefused("The only alternative to a text is one in HTML.")
    return str(alternatives[0][0]) if alternatives else ""


def one_line_of(value: Any, max: int) -> str:
    """
    Return a header's text: a line break in it would begin another header.

    :raises EmailRefused: it holds one, or another character that hides or reorders, or is too long.
    """
    try:
        return clean_text(str(value), max=max)
    except InvalidRequest as refusal:
        raise EmailRefused(f"Not a line for an e-mail: {refusal}") from refusal


def refuse_bad_address(address: str) -> None:
    """
    Refuse what is not one bare address; a list, or a name with one, would reach somebody else.

    :raises EmailRefused: it is not.
    """
    try:
        validate_email(one_line_of(address, 254))
    except ValidationError:
        raise EmailRefused("That is not one e-mail address.") from None
    if address.startswith('"'):  # Quoted, anything may stand before the @.
        raise EmailRefused("Addresses in quotation marks are not sent to.")


def deliver_emails(*, clock: Callable[[], datetime] = timezone.now) -> int:
    """
    Send what is due, until nothing is or the server does not answer; return how many were sent.

    Any number of workers may do so at once. An e-mail is claimed by one of them before it is sent:
    it is sent once, unless the worker dies between the server's yes and our note of it; then it is
    sent again after ten minutes, under the same Message-ID.
    """
    sent = 0
    while settings.EMAIL_IS_SENT and (email := claim(clock())):
        try:
            send(email)
        except REFUSALS as refusal:
            _note_failure(email, refusal, clock(), is_final=is_final(refusal))
        except OSError as error:  # No server, or none that lets us in: the others can wait.
            _note_failure(email, error, clock(), is_final=False)
            break
        except Exception as error:
            _note_failure(email, error, clock(), is_final=False)
            raise
        else:
            _if_ours(email).update(status=EmailStatus.SENT, sent_at=clock(), next_try_at=None)
            sent += 1
    return sent


@transaction.atomic
def claim(at: datetime) -> Email | None:
    """Return a waiting e-mail that is due, ours until its lease ends; ``None`` if there is none."""
    due = Email.objects.filter(status=EmailStatus.WAITING, next_try_at__lte=at)
    email = due.select_for_update(skip_locked=True).order_by("next_try_at", "pk").first()
    if email is None:
        return None
    if email.tries >= settings.EMAIL_TRIES:
        _note_failure(email, OSError("Each worker ended while it was at it."), at, is_final=True)
        return claim(at)
    email.tries += 1
    email.next_try_at = at + LEASE
    email.save(update_fields=["tries", "next_try_at"])
    return email


def send(email: Email) -> None:
    """Hand ``email`` to the mail server that ``EMAIL_URL`` names."""
    message = EmailMultiAlternatives(
        subject=email.subject,
        body=email.text,
        from_email=email.sender,
        to=[email.recipient],
        headers={"Message-ID": f"<{email.message_id}@{parseaddr(email.sender)[1].split('@')[1]}>"},
        connection=get_connection(settings.EMAIL_DELIVERY_BACKEND),
    )
    if email.html:
        message.attach_alternative(email.html, "text/html")
    message.send()


def is_final(refusal: smtplib.SMTPException) -> bool:
    """Return whether the server said no for good (5xx), so that asking again is of no use."""
    if isinstance(refusal, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in refusal.recipients.values())
    return isinstance(refusal, smtplib.SMTPResponseException) and refusal.smtp_code >= 500


def _note_failure(email: Email, error: Exception, at: datetime, *, is_final: bool) -> None:
    noted: dict[str, Any] = {"error": f"{type(error).__name__}: {error}"[:2000]}
    if is_final or email.tries >= settings.EMAIL_TRIES:
        noted |= {"status": EmailStatus.FAILED, "next_try_at": None}
    else:
        noted["next_try_at"] = at + min(FIRST_PAUSE * 2 ** (email.tries - 1), LONGEST_PAUSE)
    _if_ours(email).update(**noted)


def _if_ours(email: Email) -> Any:
    """Return the row unless our lease ended and another worker has it, or it was sent again."""
    return Email.objects.filter(pk=email.pk, status=EmailStatus.WAITING, tries=email.tries)


@transaction.atomic
def resend_email(*, email: Email, reason: str, actor: User, at: datetime) -> Email:
    """
    Send ``email`` once more, as a new message.

    :raises NotPermitted: ``actor`` may not.
    :raises Conflict: it still waits, is kept here only, or its text has been erased.
    """
    require(actor, "accounts.resend_email")
    locked = Email.objects.select_for_update().get(pk=email.pk)
    if locked.status not in (EmailStatus.SENT, EmailStatus.FAILED):
        raise Conflict("Only an e-mail that was sent or given up can be sent again.")
    if locked.text_erased_at:
        raise Conflict("The text of this e-mail has been erased.")
    before, locked.status = locked.status, EmailStatus.WAITING
    locked.message_id = uuid.uuid4()
    locked.tries, locked.next_try_at, locked.error, locked.sent_at = 0, at, "", None
    locked.save()
    audit.record(
        "accounts.email.resent",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"status": before},
    )
    transaction.on_commit(tasks.deliver_emails.delay, robust=True)
    return locked


def erase_old_emails(*, at: datetime) -> None:
    """Erase texts after ``EMAIL_TEXT_DAYS`` and whole e-mails after ``EMAIL_DAYS``."""
    old = Email.objects.exclude(status=EmailStatus.WAITING)
    old.filter(created_at__lt=at - timedelta(days=settings.EMAIL_DAYS)).delete()
    old.filter(
        created_at__lt=at - timedelta(days=settings.EMAIL_TEXT_DAYS), text_erased_at=None
    ).update(text="", html="", text_erased_at=at)

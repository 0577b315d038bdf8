"""
Files that go with a dispute: kept in the database, so that whichever machine is asked has them.

What a file is, is read off its bytes. They are given out as downloads only, by the one door that
asks who may see the dispute.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from creditsite.errors import InvalidRequest
from creditsite.text import clean_text, refuse_hidden
from disputes.choices import OPEN, EventKind, FileType
from disputes.errors import (
    AttachmentNotFound,
    DisputeNotFound,
    FileRefused,
    InvalidFile,
    TooManyFiles,
)
from disputes.models import Attachment, Dispute
from disputes.queries.sides import REVIEW, visible_to
from disputes.services.changes import locked_dispute, note, refuse_own_dispute

BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": FileType.PNG,
    b"\xff\xd8\xff": FileType.JPEG,
    b"%PDF-": FileType.PDF,
}
LONGEST_NAME = 100
# Takes the bytes and the type of a file; returns whether it may be kept. What it raises as
# ``Unavailable`` has the user try again later.
Scanner = Callable[[bytes, str], bool]


def attach_file(
    *,
    dispute: Dispute,
    name: str,
    content: bytes,
    actor: User,
    at: datetime,
    as_staff: bool = False,
    is_internal: bool = False,
) -> Attachment:
    """
    Keep a file with an open dispute, of its user or of staff.

    :param is_internal: of staff, for staff.
    :raises NotPermitted: ``as_staff``, and they may not review disputes.
    :raises OwnWallet: ``as_staff``, and it is their own.
    :raises DisputeNotFound: not ``as_staff``, and it is not theirs.
    :raises InvalidFile: it is empty, too large, or not PNG, JPEG, PDF or text in UTF-8.
    :raises FileRefused: the scanner refuses it.
    :raises Unavailable: the scanner does not answer.
    :raises DisputeNotInState: the dispute is decided.
    :raises TooManyFiles: it has as many as it may.
    """
    refuse_who_may_not(actor, dispute, as_staff)
    kind = type_of(content)
    called = name_of(name, kind)
    # Not within a transaction: a scanner takes its time.
    if not scanner()(content, kind.value):
        raise FileRefused
    return _keep(dispute, called, kind, content, actor, at, as_staff, is_internal and as_staff)


def refuse_who_may_not(actor: User, dispute: Dispute, as_staff: bool) -> None:
    if as_staff:
        require(actor, REVIEW)
        refuse_own_dispute(actor, dispute)
    elif not visible_to(actor).filter(pk=dispute.pk).exists():
        raise DisputeNotFound


@transaction.atomic
def _keep(
    dispute: Dispute,
    name: str,
    kind: FileType,
    content: bytes,
    actor: User,
    at: datetime,
    by_staff: bool,
    is_internal: bool,
) -> Attachment:
    locked = locked_dispute(dispute, states=OPEN, verb="added to", version=None)
    if locked.attachments.count() >= settings.DISPUTE_FILES:
        raise TooManyFiles(most=settings.DISPUTE_FILES)
    kept = Attachment.objects.create(
        dispute=locked,
        name=name,
        content_type=kind,
        size=len(content),
        content=content,
        uploaded_by=actor,
        by_staff=by_staff,
        is_internal=is_internal,
        uploaded_at=at,
    )
    told = {"attachment": str(kept.pk), "size": kept.size, "type": kind}
    note(
        locked,
        EventKind.ATTACHED,
        actor=actor,
        at=at,
        by_staff=by_staff,
        is_internal=is_internal,
        data=told,
    )
    if by_staff:
        audit.record("disputes.file.attached", actor=actor, target=locked, at=at, after=told)
    return kept


def type_of(content: bytes) -> FileType:
    """
    Return what a file is, by its bytes.

    :raises InvalidFile: it is empty, too large, or nothing that is taken.
    """
    if not 0 < len(content) <= settings.DISPUTE_FILE_BYTES:
        raise InvalidFile(f"A file has 1 to {settings.DISPUTE_FILE_BYTES:,} bytes.")
    for beginning, kind in BEGINNINGS.items():
        if content.startswith(beginning):
            return kind
    try:
        refuse_hidden(content.decode(), allowed="\t\r\n")
    except (UnicodeDecodeError, InvalidRequest) as nothing:
        raise InvalidFile("Send a PNG or JPEG picture, a PDF, or plain text in UTF-8.") from nothing
    return FileType.TEXT


def name_of(name: str, kind: FileType) -> str:
    """
    Return what a file is called: without a path, and ending as what it is.

    :raises InvalidFile: nothing is left of the name, or it is too long.
    """
    try:
        plain = clean_text(name.replace("\\", "/").rpartition("/")[2], LONGEST_NAME)
    except InvalidRequest as refusal:
        raise InvalidFile(str(refusal)) from refusal
    plain = plain.strip(". ").replace('"', "")
    if not plain:
        raise InvalidFile("A file has a name.")
    endings = {f".{kind.label}", ".jpeg"} if kind == FileType.JPEG else {f".{kind.label}"}
    is_so_called = any(plain.lower().endswith(ending) for ending in endings)
    return plain if is_so_called else f"{plain}.{kind.label}"


def scanner() -> Scanner:
    """Return what ``DISPUTE_FILE_SCANNER`` names; without one every file passes."""
    if not settings.DISPUTE_FILE_SCANNER:
        return lambda content, kind: True
    found: Any = import_string(settings.DISPUTE_FILE_SCANNER)
    return found


def read_attachment(*, attachment_id: UUID, dispute: Dispute, with_internal: bool) -> Attachment:
    """
    Return a file of a dispute that the reader may see.

    :param with_internal: for staff, those among staff as well.
    :raises AttachmentNotFound: there is none, or it was erased.
    """
    files = dispute.attachments.exclude(content=None)
    if not with_internal:
        files = files.filter(is_internal=False)
    found = files.filter(pk=attachment_id).first()
    if found is None:
        raise AttachmentNotFound
    return found

"""What counts as one identity: an e-mail address, however it is written."""

import hmac
import unicodedata
import uuid

from django.conf import settings


def normalise_email(email: str) -> str:
    """Return ``email`` as it is stored and compared: NFKC, without outer space, in lower case."""
    return unicodedata.normalize("NFKC", email).strip().lower()


def identity_of(email: str) -> uuid.UUID:
    """
    Return the keyed hash by which ``email`` is known for ever, also after its owner is erased.

    Sixteen bytes of HMAC-SHA256 under ``IDENTITY_KEY``, shaped as a UUID for a small unique index.
    """
    mac = hmac.digest(settings.IDENTITY_KEY.encode(), normalise_email(email).encode(), "sha256")
    return uuid.UUID(bytes=mac[:16])

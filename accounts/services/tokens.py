"""Which tokens have ended before their time. Only those are written down."""

from datetime import datetime

from django.db import transaction
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from accounts.models import User
from audit import services as audit


def end_token(*, token_id: str, expires_at: datetime, at: datetime) -> bool:
    """
    End a token, or with the id of a session all tokens of it; return whether this call did.

    Of several calls at once, one does. The token itself is not kept: its id is enough to know it.
    """
    token, _ = OutstandingToken.objects.get_or_create(
        jti=token_id, defaults={"created_at": at, "expires_at": expires_at}
    )
    return BlacklistedToken.objects.get_or_create(token=token)[1]


@transaction.atomic
def end_session_of_reused_token(
    *, user: User, session_id: str, expires_at: datetime, at: datetime
) -> None:
    """End the session in which a refresh token was used twice: one of the two was stolen."""
    if end_token(token_id=session_id, expires_at=expires_at, at=at):
        audit.record(
            "accounts.token.reused",
            actor=None,
            target=user,
            at=at,
            reason="A refresh token was used that had been changed for another before.",
        )


def forget_expired(*, at: datetime) -> int:
    """Delete what was written down of tokens that have run out by themselves; return how many."""
    _, deleted = OutstandingToken.objects.filter(expires_at__lte=at).delete()
    return deleted.get(OutstandingToken._meta.label, 0)

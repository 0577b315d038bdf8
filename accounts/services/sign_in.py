"""What opens and shuts a person's way in: their password, their second factors."""

from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string

from accounts import events
from accounts.errors import OwnAccount
from accounts.models import User
from accounts.permissions import require
from accounts.services.users import end_access, give_password
from audit import services as audit
from creditsite.errors import Conflict

# Recovery codes get one past a lost factor; they are none.
FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def has_factor(user: User) -> bool:
    """Return whether signing in as ``user`` takes a second factor."""
    return Authenticator.objects.filter(user=user, type__in=FACTORS).exists()


@events.user_registered.subscribe
def keep_address(*, user: User, at: datetime, actor: User | None) -> None:
    """Let the sign-in pages know the address; whoever makes staff vouches for theirs."""
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=user.is_staff)


def change_password(*, user: User, password: str, at: datetime) -> User:
    """
    Give ``user``, who has given the old one, a new password; their sessions and tokens end.

    :raises InvalidFields: the password will not do.
    """
    return _set_password("accounts.password.changed", user, password, at)


def reset_password(*, user: User, password: str, at: datetime) -> User:
    """
    Give ``user``, who came by a link sent to them, a new password; their sessions and tokens end.

    :raises InvalidFields: the password will not do.
    """
    return _set_password("accounts.password.reset", user, password, at)


@transaction.atomic
def _set_password(action: str, user: User, password: str, at: datetime) -> User:
    locked = give_password(user=user, password=password)
    audit.record(action, actor=locked, target=locked, at=at)
    return locked


def record_staff_sign_in(*, user: User, methods: list[str], at: datetime) -> None:
    """Record that ``user``, a member of staff, signed in by ``methods``."""
    audit.record(
        "accounts.staff.signed_in", actor=user, target=user, at=at, after={"methods": methods}
    )


def record_factor(*, user: User, factor: Authenticator, is_added: bool, at: datetime) -> None:
    """Record that ``user`` added or removed ``factor``; their sessions and tokens end."""
    end_access(user)
    action = "accounts.factor.added" if is_added else "accounts.factor.removed"
    state = {"factor": factor.get_type_display()}
    before, after = (None, state) if is_added else (state, None)
    audit.record(action, actor=user, target=user, at=at, before=before, after=after)


@transaction.atomic
def reset_factors(*, user: User, actor: User, reason: str, at: datetime) -> User:
    """
    Take all second factors from ``user``, who has lost them; their sessions and tokens end.

    They are told by e-mail. Staff set a new one up before anything else.

    :raises OwnAccount: ``actor`` is the user.
    :raises Conflict: the user has none.
    """
    require(actor, "accounts.reset_factors")
    if user.pk == actor.pk:
        raise OwnAccount
    locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    factors = list(Authenticator.objects.filter(user=locked))
    if not factors:
        raise Conflict(f"{locked} has no second factor.")
    Authenticator.objects.filter(user=locked).delete()
    end_access(locked)
    audit.record(
        "accounts.factors.reset",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"factors": [factor.get_type_display() for factor in factors]},
    )
    text = render_to_string("account/email/factors_reset_message.txt")
    send_mail("Your second factor was removed", text, None, [locked.email])
    return locked


def forget_expired(*, at: datetime) -> int:
    """Delete sessions past their limits, of whoever; return how many."""
    kinds = {"staff": True, "user": False}
    over = UserSession.objects.none()
    for kind, is_staff in kinds.items():
        idle, absolute = (timedelta(minutes=each) for each in settings.SESSION_MINUTES[kind])
        over |= UserSession.objects.filter(
            Q(last_seen_at__lt=at - idle) | Q(created_at__lt=at - absolute), user__is_staff=is_staff
        )
    keys = list(over.values_list("session_key", flat=True))
    UserSession.objects.filter(session_key__in=keys).delete()
    deleted, _ = Session.objects.filter(Q(session_key__in=keys) | Q(expire_date__lt=at)).delete()
    return deleted

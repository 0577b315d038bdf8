"""How people come, what they are, and how they leave."""

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import islice

from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F

from accounts import events
from accounts.choices import StaffGroup
from accounts.errors import InvalidFields, LastAdmin, OwnAccount
from accounts.identity import identity_of, normalise_email
from accounts.models import Role, User
from accounts.models.users import ERASED_DOMAIN
from accounts.permissions import require
from accounts.services.staff_mail import NO_STAFF, SHUT_OUT, rights_of, tell_staff_changed
from audit import services as audit
from creditsite.errors import Conflict, InvalidRequest
from creditsite.text import clean_text

DEFAULT_ROLE = "member"
USERS_PER_INSERT = 1_000


def register_user(
    *, email: str, password: str, name: str = "", referral_code: str = "", at: datetime
) -> User:
    """
    Make the account of a person who signs up, referred by whoever has ``referral_code``.

    :raises InvalidFields: e-mail, password, name or referral code will not do; says which and why.
    """
    errors: dict[str, list[str]] = {}
    referrer = None
    if referral_code:
        # Its own alphabet is ASCII: what is not, is nobody's, and never reaches the database.
        code = referral_code.upper() if referral_code.isascii() and referral_code.isalnum() else ""
        referrer = User.objects.filter(referral_code=code, is_active=True).first()
        if referrer is None:
            errors["referral_code"] = ["Nobody has this referral code."]
    role = Role.objects.get(code=DEFAULT_ROLE)
    user = User(email=email, name=name, role=role, referrer=referrer, date_joined=at)
    return _create(user, password=password, actor=None, errors=errors)


@transaction.atomic
def create_staff(
    *,
    email: str,
    password: str,
    name: str = "",
    groups: Collection[StaffGroup],
    actor: User | None,
    at: datetime,
    reason: str,
) -> User:
    """
    Make an account for a member of staff: no role, no superuser, what ``groups`` may do.

    :raises NotPermitted: ``actor`` may not manage staff.
    :raises InvalidFields: e-mail, password or name will not do.
    """
    require(actor, "accounts.manage_staff")
    user = _create(
        User(email=email, name=name, is_staff=True, date_joined=at),
        password=password,
        actor=actor,
        errors={},
    )
    user.groups.set(Group.objects.filter(name__in=groups))
    audit.record(
        "accounts.staff.created",
        actor=actor,
        target=user,
        at=at,
        reason=reason,
        after=_staff_state(user),
    )
    tell_staff_changed(user, was=NO_STAFF, actor=actor, reason=reason)
    return user


@transaction.atomic
def create_user(
    *, email: str, name: str, role: Role | None, actor: User, reason: str, at: datetime
) -> User:
    """
    Make an account on behalf of a person; it has no password until staff set one.

    :raises NotPermitted: ``actor`` may not add users, or not give them a role.
    :raises InvalidFields: e-mail or name will not do.
    """
    require(actor, "accounts.add_user")
    if role:
        require(actor, "accounts.assign_role")
    user = _create(
        User(email=email, name=name, role=role, date_joined=at),
        password=None,
        actor=actor,
        errors={},
    )
    audit.record(
        "accounts.user.created",
        actor=actor,
        target=user,
        at=at,
        reason=reason,
        after={"role": role and role.code},
    )
    return user


@transaction.atomic
def create_users(*, emails: Iterable[str], actor: User | None, at: datetime) -> int:
    """
    Make an account for each of these sound addresses that nobody has; return how many.

    They have no role, and no password until they set one. Nobody hears of them: who is brought from
    elsewhere has not signed up. The caller records it.

    :raises NotPermitted: ``actor`` may not add users.
    """
    require(actor, "accounts.add_user")
    before, left = User.objects.count(), iter(emails)
    while some := [normalise_email(email) for email in islice(left, USERS_PER_INSERT)]:
        User.objects.bulk_create(
            (
                User(
                    email=email,
                    identity=identity_of(email),
                    password=make_password(None),
                    date_joined=at,
                )
                for email in some
                if not email.endswith(f"@{ERASED_DOMAIN}")
            ),
            ignore_conflicts=True,
        )
        new = User.objects.filter(email__in=some, emailaddress=None)
        EmailAddress.objects.bulk_create(
            EmailAddress(user=user, email=user.email, primary=True) for user in new
        )
    return User.objects.count() - before


def _create(
    user: User, *, password: str | None, actor: User | None, errors: dict[str, list[str]]
) -> User:
    """Save ``user`` if it and ``password``, if any, are sound and ``errors`` is empty."""
    try:
        user.name = clean_text(user.name, max=150)
    except InvalidRequest as refusal:
        errors["name"] = [str(refusal)]
    user.email = normalise_email(user.email)
    if password is not None:
        _check_password(password, user, errors)
    try:
        user.full_clean(exclude={"identity", "name", "password"})
    except ValidationError as refusal:
        errors |= refusal.message_dict
    if errors:
        raise InvalidFields(errors)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save(actor=actor)
    except IntegrityError:
        # Somebody may have taken the address since full_clean() looked; else it is unexpected.
        if not User.objects.filter(email=user.email).exists():
            raise
        raise InvalidFields(
            {"email": ["A user with this e-mail address exists already."]}
        ) from None
    return user


@transaction.atomic
def rename_user(*, user: User, name: str, actor: User, reason: str, at: datetime) -> User:
    """
    Change the name of ``user``.

    :raises NotPermitted: ``actor`` may not change users.
    :raises InvalidRequest: the name is too long or holds characters that hide or reorder text.
    """
    require(actor, "accounts.change_user")
    locked = _locked(user)
    before, locked.name = locked.name, clean_text(name, max=150)
    locked.save(update_fields=["name"])
    audit.record(
        "accounts.user.renamed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"name": before},
        after={"name": locked.name},
    )
    return locked


@transaction.atomic
def change_role(*, user: User, role: Role | None, actor: User, reason: str, at: datetime) -> User:
    """
    Give ``user`` another role; subscribers of ``role_changed`` hear of it in the transaction.

    :raises NotPermitted: ``actor`` may not assign roles.
    :raises OwnAccount: ``actor`` is the user.
    :raises Conflict: the user has that role already.
    """
    require(actor, "accounts.assign_role")
    _refuse_own_account(user, actor)
    locked = _locked(user)
    previous_role = locked.role
    if previous_role == role:
        raise Conflict(f"{locked} has this role already.")
    locked.role = role
    locked.save(update_fields=["role"])
    audit.record(
        "accounts.user.role_changed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={"role": previous_role and previous_role.code},
        after={"role": role and role.code},
    )
    events.role_changed.publish(user=locked, at=at, actor=actor, previous_role=previous_role)
    return locked


@transaction.atomic
def change_partner(*, user: User, is_partner: bool, actor: User, reason: str, at: datetime) -> User:
    """
    Start or end the partner status; who subscribed to ``partner_changed`` clears partner credits.

    :raises NotPermitted: ``actor`` may not switch partners.
    :raises OwnAccount: ``actor`` is the user.
    :raises Conflict: the status is so already.
    """
    require(actor, "ledger.switch_partner")
    locked = _set_flag(
        "is_partner", "accounts.user.partner_changed", user, is_partner, actor, reason, at
    )
    events.partner_changed.publish(user=locked, at=at, actor=actor)
    return locked


@transaction.atomic
def change_agent(*, user: User, is_agent: bool, actor: User, reason: str, at: datetime) -> User:
    """
    Start or end the agent status; who subscribed to ``agent_changed`` hears of it.

    :raises NotPermitted: ``actor`` may not manage staff.
    :raises OwnAccount: ``actor`` is the user.
    :raises Conflict: the status is so already.
    """
    require(actor, "accounts.manage_staff")
    locked = _set_flag("is_agent", "accounts.user.agent_changed", user, is_agent, actor, reason, at)
    events.agent_changed.publish(user=locked, at=at, actor=actor)
    return locked


@transaction.atomic
def deactivate_user(*, user: User, actor: User, reason: str, at: datetime) -> User:
    """
    Shut ``user`` out: no sign-in, every token and API key of theirs is void from now on.

    :raises NotPermitted: ``actor`` may not manage staff.
    :raises OwnAccount: ``actor`` is the user.
    :raises LastAdmin: the user is the last active Admin.
    :raises Conflict: the user is inactive already.
    """
    _require_staff_manager(actor)
    _refuse_own_account(user, actor)
    keep_an_admin(without=user)
    was = rights_of(user)
    locked = _set_flag("is_active", "accounts.user.deactivated", user, False, actor, reason, at)
    end_access(locked)
    if locked.is_staff:
        tell_staff_changed(locked, was=was, actor=actor, reason=reason)
    return locked


@transaction.atomic
def activate_user(*, user: User, actor: User, reason: str, at: datetime) -> User:
    """
    Let ``user`` in again; tokens issued before stay void.

    :raises NotPermitted: ``actor`` may not manage staff.
    :raises OwnAccount: ``actor`` is the user.
    :raises Conflict: the user is active already, or was erased.
    """
    require(actor, "accounts.manage_staff")
    if user.is_erased:
        raise Conflict("Who was erased does not come back; the person may sign up anew.")
    locked = _set_flag("is_active", "accounts.user.activated", user, True, actor, reason, at)
    if locked.is_staff:
        tell_staff_changed(locked, was=SHUT_OUT, actor=actor, reason=reason)
    return locked


@transaction.atomic
def set_staff_groups(
    *,
    user: User,
    is_staff: bool,
    groups: Collection[StaffGroup],
    actor: User,
    reason: str,
    at: datetime,
) -> User:
    """
    Say whether ``user`` is staff and in which groups. It ends their tokens.

    :raises NotPermitted: ``actor`` may not manage staff.
    :raises OwnAccount: ``actor`` is the user.
    :raises LastAdmin: the user is the last active Admin, and would be none.
    :raises Conflict: nothing would change.
    """
    _require_staff_manager(actor)
    _refuse_own_account(user, actor)
    if not (is_staff and StaffGroup.ADMIN in groups):
        keep_an_admin(without=user)
    locked = _locked(user)
    before, was = _staff_state(locked), rights_of(locked)
    if before == {"is_staff": is_staff, "groups": sorted(groups)}:
        raise Conflict(f"The staff groups of {locked} are so already.")
    locked.is_staff = is_staff
    locked.save(update_fields=["is_staff"])
    locked.groups.set(Group.objects.filter(name__in=groups))
    end_access(locked)
    audit.record(
        "accounts.user.staff_changed",
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before=before,
        after=_staff_state(locked),
    )
    tell_staff_changed(locked, was=was, actor=actor, reason=reason)
    return locked


@transaction.atomic
def set_password(*, user: User, password: str, actor: User, reason: str, at: datetime) -> User:
    """
    Give ``user`` a new password and end their tokens and sessions.

    :raises NotPermitted: ``actor`` may not manage staff.
    :raises InvalidFields: the password will not do.
    """
    require(actor, "accounts.manage_staff")
    locked = give_password(user=user, password=password)
    audit.record("accounts.user.password_set", actor=actor, target=locked, at=at, reason=reason)
    return locked


def give_password(*, user: User, password: str) -> User:
    """
    Give ``user`` a new password and end their tokens and sessions, in the open transaction.

    :raises InvalidFields: the password will not do.
    """
    locked = _locked(user)
    errors: dict[str, list[str]] = {}
    _check_password(password, locked, errors)
    if errors:
        raise InvalidFields(errors)
    locked.set_password(password)
    locked.save(update_fields=["password"])
    end_access(locked)
    return locked


def keep_an_admin(*, without: User) -> None:
    """
    Refuse to go on if there would be no active Admin without a user; call it before locking them.

    Of several at once, one looks at a time: two Admins cannot end each other.

    :raises LastAdmin: they are the last one.
    """
    admins = User.objects.filter(groups=_lock_admins(), is_staff=True, is_active=True)
    if set(admins.values_list("pk", flat=True)) == {without.pk}:
        raise LastAdmin


def _lock_admins() -> Group:
    """Return the group Admin, locked: rights of staff are taken one request at a time."""
    return Group.objects.select_for_update(no_key=True).get(name=StaffGroup.ADMIN)


def _require_staff_manager(actor: User) -> None:
    """
    Refuse an actor who may not manage staff, or not any more once it is their turn.

    :raises NotPermitted: they may not.
    """
    _lock_admins()
    require(User.objects.get(pk=actor.pk), "accounts.manage_staff")


def _check_password(password: str, user: User, errors: dict[str, list[str]]) -> None:
    """Add to ``errors`` what is wrong with ``password``, if anything."""
    try:
        password.encode()
        validate_password(password, user)
    except UnicodeEncodeError:
        errors["password"] = ["The password holds half a character."]
    except ValidationError as refusal:
        errors["password"] = refusal.messages


def _set_flag(
    flag: str, action: str, user: User, value: bool, actor: User, reason: str, at: datetime
) -> User:
    _refuse_own_account(user, actor)
    locked = _locked(user)
    if getattr(locked, flag) == value:
        name = flag.removeprefix("is_")
        raise Conflict(f"The {name} flag of {locked} is {'on' if value else 'off'} already.")
    setattr(locked, flag, value)
    locked.save(update_fields=[flag])
    audit.record(
        action,
        actor=actor,
        target=locked,
        at=at,
        reason=reason,
        before={flag: not value},
        after={flag: value},
    )
    return locked


def _locked(user: User) -> User:
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _refuse_own_account(user: User, actor: User) -> None:
    if user.pk == actor.pk:
        raise OwnAccount


def end_access(user: User) -> None:
    """End every session, token and refresh token that ``user`` has been given so far."""
    User.objects.filter(pk=user.pk).update(token_version=F("token_version") + 1)
    user.refresh_from_db(fields=["token_version"])


def _staff_state(user: User) -> dict[str, object]:
    return {
        "is_staff": user.is_staff,
        "groups": sorted(user.groups.values_list("name", flat=True)),
    }

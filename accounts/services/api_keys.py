"""Keys of services: made, found, rotated, revoked. The key itself is kept nowhere."""

import hmac
import secrets
import string
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.expressions import ArraySubquery
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import OuterRef, QuerySet

from accounts.choices import ApiScope
from accounts.errors import InvalidFields
from accounts.models import ApiKey, User
from accounts.permissions import require, staff_may
from audit import services as audit
from creditsite.errors import Conflict, InvalidRequest
from creditsite.text import clean_text

BASE62 = string.digits + string.ascii_letters
MARK = "ck_live_"
PREFIX_LENGTH = 8
SECRET_LENGTH = 43  # 62 ** 43 is just above 2 ** 256
LARGEST_CAP = 10**15
MOST_LIVE = 2
USE_NOTED_EVERY = timedelta(minutes=1)

# What the owner of a key must be allowed to do themselves, to lend it to a service.
LENT_BY = {
    ApiScope.CREDITS_READ: "ledger.view_wallet",
    ApiScope.BILLING_READ: "ledger.view_wallet",
    ApiScope.CREDITS_SPEND: "ledger.adjust_wallet",
    ApiScope.CREDITS_HOLD: "ledger.adjust_wallet",
    ApiScope.CREDITS_ADMIN: "ledger.adjust_wallet",
    ApiScope.BILLING_WRITE: "ledger.adjust_wallet",
}

# Skips a row that somebody else is just writing: that one tells of the same minute.
NOTE_USE = """
    UPDATE accounts_apikey SET last_used_at = %(at)s, last_used_address = %(address)s
    WHERE id = (SELECT id FROM accounts_apikey
                WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at <= %(before)s)
                FOR NO KEY UPDATE SKIP LOCKED)
"""


def digest_of(secret: str) -> bytes:
    """Return the keyed hash under which a key is stored and found."""
    return hmac.digest(
        settings.API_KEY_HASH_KEY.encode(), secret.encode(errors="surrogatepass"), "sha256"
    )


def may_lend(owner: User, scopes: Collection[str]) -> bool:
    """Return whether ``owner`` is staff who may do all that keys with ``scopes`` can."""
    return all(staff_may(owner, LENT_BY[ApiScope(scope)]) for scope in scopes)


@transaction.atomic
def create_api_key(
    *,
    name: str,
    owner: User,
    scopes: Collection[str],
    expires_at: datetime | None = None,
    daily_cap: int | None = None,
    actor: User | None,
    at: datetime,
    reason: str = "",
) -> tuple[ApiKey, str]:
    """
    Make a key for a service and return it with its secret, which cannot be read again.

    It lasts until ``expires_at``, a year if left out, and spends at most ``daily_cap`` credits in a
    day of UTC, any number if left out. Its owner is told by e-mail.

    :raises NotPermitted: ``actor`` may not make keys.
    :raises InvalidFields: no such scope, an owner who may not lend it or has two live keys of this
        name, an expiry in the past or beyond a year, a cap below one.
    """
    require(actor, "accounts.add_apikey")
    owner = _locked(owner)
    errors: dict[str, list[str]] = {}
    try:
        name = clean_text(name, max=80)
        if not name:
            errors["name"] = ["Say which service uses this key."]
        elif _live(owner, name, at) >= MOST_LIVE:
            errors["name"] = ["Two keys of this name and owner are live. Revoke one first."]
    except InvalidRequest as refusal:
        errors["name"] = [str(refusal)]
    if not scopes or not set(scopes) <= set(ApiScope.values):
        errors["scopes"] = [f"Choose from {', '.join(ApiScope.values)}."]
    elif not (owner.is_active and owner.is_staff):
        errors["owner"] = ["The owner must be active staff: a key acts for every user it names."]
    elif not may_lend(owner, scopes):
        errors["owner"] = ["The owner may not do all of this, so neither may their key."]
    if daily_cap is not None and not 1 <= daily_cap <= LARGEST_CAP:
        errors["daily_cap"] = [f"A cap is 1 to {LARGEST_CAP:,} credits a day."]
    expires_at = _expiry(expires_at, at, errors)
    if errors:
        raise InvalidFields(errors)
    key = ApiKey(
        name=name,
        owner=owner,
        scopes=sorted(set(scopes)),
        daily_cap=daily_cap,
        created_at=at,
        expires_at=expires_at,
    )
    return key, _issue(key, actor=actor, at=at, reason=reason)


@transaction.atomic
def rotate_api_key(
    *,
    key: ApiKey,
    expires_at: datetime | None = None,
    actor: User | None,
    at: datetime,
    reason: str,
) -> tuple[ApiKey, str]:
    """
    Make the key that replaces ``key``, of the same name, owner, scopes and cap; return it with its
    secret. Both live until the old one is revoked. The owner is told by e-mail.

    :raises NotPermitted: ``actor`` may not make keys.
    :raises Conflict: ``key`` is not live, or replaced already, or its owner may not lend it any
        more, or two keys of its name and owner are live.
    :raises InvalidFields: an expiry in the past or beyond a year.
    """
    require(actor, "accounts.add_apikey")
    owner = _locked(key.owner)
    key = ApiKey.objects.get(pk=key.pk)
    if not key.is_live(at):
        raise Conflict(f"The key {key} is not live any more.")
    if ApiKey.objects.filter(replaces=key).exists() or _live(owner, key.name, at) >= MOST_LIVE:
        raise Conflict(f"Two keys of {key.name} are live already. Revoke the old one first.")
    if not may_lend(owner, key.scopes):
        raise Conflict(f"The owner {owner} may not do all that the key {key} could.")
    errors: dict[str, list[str]] = {}
    expires_at = _expiry(expires_at, at, errors)
    if errors:
        raise InvalidFields(errors)
    new = ApiKey(
        name=key.name,
        owner=owner,
        scopes=key.scopes,
        daily_cap=key.daily_cap,
        replaces=key,
        created_at=at,
        expires_at=expires_at,
    )
    audit.record("accounts.api_key.rotated", actor=actor, target=key, at=at, reason=reason)
    return new, _issue(new, actor=actor, at=at, reason=reason)


def find_api_key(*, secret: str, at: datetime) -> ApiKey | None:
    """
    Return the live key that ``secret`` is, with its owner, in one query; ``None`` if there is none.

    Expired, revoked and ended with its owner are none: an owner who is inactive, no staff, or in no
    group that may do all that the key can. Only the unique digest is compared, by an index: what an
    attacker can time says nothing about any stored key.
    """
    keys = with_owners(ApiKey.objects.filter(revoked_at=None, expires_at__gt=at))
    key = keys.filter(digest=digest_of(secret)).first()
    return key if key and is_lent(key) else None


def with_owners(keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Return ``keys`` with their owners and what ``is_lent`` asks of them, in one query."""
    groups = Group.objects.filter(user=OuterRef("owner")).values("name")
    return keys.select_related("owner").annotate(owner_groups=ArraySubquery(groups))


def is_lent(key: Any) -> bool:
    """Return whether the owner of ``key``, one of ``with_owners``, may still lend it."""
    key.owner._staff_group_names = frozenset(key.owner_groups)
    return may_lend(key.owner, key.scopes)


def note_use(*, key: ApiKey, address: str | None, at: datetime) -> None:
    """
    Write down that ``key`` was used ``at``, unless it is known of the minute before.

    Never waits: of many processes at once one writes, and the others go on. Call it outside of the
    transaction of what the key is used for.
    """
    before = at - USE_NOTED_EVERY
    if key.last_used_at is None or key.last_used_at <= before:
        with connection.cursor() as cursor:
            cursor.execute(NOTE_USE, {"id": key.pk, "at": at, "address": address, "before": before})


@transaction.atomic
def revoke_api_key(*, key: ApiKey, actor: User | None, reason: str, at: datetime) -> ApiKey:
    """
    End ``key`` for ever, from this instant. Its owner is told by e-mail.

    :raises NotPermitted: ``actor`` may not revoke keys.
    :raises Conflict: it is revoked already.
    """
    require(actor, "accounts.revoke_apikey")
    if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=at):
        raise Conflict(f"The key {key} is revoked already.")
    key.revoked_at = at
    audit.record("accounts.api_key.revoked", actor=actor, target=key, at=at, reason=reason)
    _tell_owner(key, "revoked", actor)
    return key


def _issue(key: ApiKey, *, actor: User | None, at: datetime, reason: str) -> str:
    """Give ``key`` a secret, save and record it, and return the secret."""
    key.prefix = MARK + _random(PREFIX_LENGTH)
    secret = key.prefix + _random(SECRET_LENGTH)
    key.digest = digest_of(secret)
    key.save()
    audit.record(
        "accounts.api_key.created",
        actor=actor,
        target=key,
        at=at,
        reason=reason,
        after={
            "owner": key.owner.email,
            "scopes": key.scopes,
            "expires_at": key.expires_at,
            "daily_cap": key.daily_cap,
            "replaces": key.replaces and str(key.replaces),
        },
    )
    _tell_owner(key, "created", actor)
    return secret


def _tell_owner(key: ApiKey, what: str, actor: User | None) -> None:
    """Write to the owner of ``key`` in the transaction of the act; the outbox sends it later."""
    replaced = f"It replaces {key.replaces}, which works until it is revoked.\n"
    text = (
        f"The API key {key}, which you answer for, was {what} by {actor or audit.SYSTEM}.\n"
        f"It may: {', '.join(key.scopes)}.\n"
        f"{replaced if what == 'created' and key.replaces else ''}"
        "If you did not expect this, tell an administrator at once.\n"
    )
    send_mail(f"API key {key.name} {what}", text, None, [key.owner.email])


def _locked(owner: User) -> User:
    """Return ``owner`` as they are now, locked: their live keys are counted by one at a time."""
    return User.objects.select_for_update(no_key=True).get(pk=owner.pk)


def _live(owner: User, name: str, at: datetime) -> int:
    return ApiKey.objects.filter(owner=owner, name=name, revoked_at=None, expires_at__gt=at).count()


def _expiry(expires_at: datetime | None, at: datetime, errors: dict[str, list[str]]) -> datetime:
    """Return when a key made ``at`` ends; add to ``errors`` what is wrong with it, if anything."""
    if expires_at is None:
        return at + timedelta(days=settings.API_KEY_DAYS)
    if expires_at <= at:
        errors["expires_at"] = ["The expiry must lie in the future."]
    elif expires_at > at + timedelta(days=settings.API_KEY_DAYS + 1):  # to the end of that day
        errors["expires_at"] = [f"A key lasts {settings.API_KEY_DAYS} days at most."]
    return expires_at


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))

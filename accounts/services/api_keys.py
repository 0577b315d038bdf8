"""Keys of services: made, found, revoked. The key itself is shown once and kept nowhere."""

import hmac
import secrets
import string
from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.choices import ApiScope
from accounts.errors import InvalidFields
from accounts.models import ApiKey, User
from accounts.permissions import staff_may
from audit import services as audit
from creditsite.errors import Conflict, InvalidRequest
from creditsite.text import clean_text

BASE62 = string.digits + string.ascii_letters
MARK = "ck_live_"
PREFIX_LENGTH = 8
SECRET_LENGTH = 43  # 62 ** 43 is just above 2 ** 256
# What only staff who may move credits can lend to a service.
STAFF_SCOPES = frozenset({ApiScope.CREDITS_ADMIN, ApiScope.BILLING_WRITE})


def digest_of(secret: str) -> bytes:
    """Return the keyed hash under which a key is stored and found."""
    return hmac.digest(
        settings.API_KEY_HASH_KEY.encode(), secret.encode(errors="surrogatepass"), "sha256"
    )


@transaction.atomic
def create_api_key(
    *,
    name: str,
    owner: User,
    scopes: Collection[str],
    expires_at: datetime | None = None,
    actor: User | None,
    at: datetime,
    reason: str = "",
) -> tuple[ApiKey, str]:
    """
    Make a key for a service and return it with its secret, which cannot be read again.

    :raises InvalidFields: no such scope, an owner who may not lend it, or an expiry in the past.
    """
    errors: dict[str, list[str]] = {}
    try:
        name = clean_text(name, max=80)
    except InvalidRequest as refusal:
        errors["name"] = [str(refusal)]
    if not name:
        errors["name"] = ["Say which service uses this key."]
    if not scopes or not set(scopes) <= set(ApiScope.values):
        errors["scopes"] = [f"Choose from {', '.join(ApiScope.values)}."]
    if not (owner.is_active and owner.is_staff):
        errors["owner"] = ["The owner must be active staff: a key acts for every user it names."]
    elif STAFF_SCOPES & set(scopes) and not staff_may(owner, "ledger.adjust_wallet"):
        errors["owner"] = ["The owner may not move credits, so neither may their key."]
    if expires_at and expires_at <= at:
        errors["expires_at"] = ["The expiry must lie in the future."]
    if errors:
        raise InvalidFields(errors)
    prefix = MARK + _random(PREFIX_LENGTH)
    secret = prefix + _random(SECRET_LENGTH)
    key = ApiKey.objects.create(
        name=name,
        prefix=prefix,
        digest=digest_of(secret),
        scopes=sorted(set(scopes)),
        owner=owner,
        expires_at=expires_at,
    )
    audit.record(
        "accounts.api_key.created",
        actor=actor,
        target=key,
        at=at,
        reason=reason,
        after={"owner": owner.email, "scopes": key.scopes, "expires_at": expires_at},
    )
    return key, secret


def find_api_key(*, secret: str, at: datetime) -> ApiKey | None:
    """
    Return the live key that ``secret`` is, with its owner, in one query; ``None`` if there is none.

    Expired, revoked and ended with its owner are none. Only the unique digest is compared, by
    an index: what an attacker can time says nothing about any stored key.
    """
    return (
        ApiKey.objects.select_related("owner")
        .filter(Q(expires_at=None) | Q(expires_at__gt=at))
        .filter(
            digest=digest_of(secret), revoked_at=None, owner__is_active=True, owner__is_staff=True
        )
        .first()
    )


@transaction.atomic
def revoke_api_key(*, key: ApiKey, actor: User | None, reason: str, at: datetime) -> ApiKey:
    """
    End ``key`` for ever, from this instant.

    :raises Conflict: it is revoked already.
    """
    if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=at):
        raise Conflict(f"The key {key} is revoked already.")
    key.revoked_at = at
    audit.record("accounts.api_key.revoked", actor=actor, target=key, at=at, reason=reason)
    return key


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))

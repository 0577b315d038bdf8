"""
Guessing passwords and codes: how often it may go wrong, over all processes and without Redis.

A door asks ``refuse_if_locked`` before it looks at the password, then tells how it went, by
``count_failure`` or ``forgive``. Both look again, one after the other for each account and each
address: of many guesses at one instant no more than the limit are answered.
"""

import hmac
import ipaddress
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from accounts.errors import SignInLocked
from accounts.identity import normalise_email
from accounts.models import KnownAddress, SignInFailures

COUNT = """
    INSERT INTO accounts_signinfailures AS counted (key, failures, until)
    SELECT key, 1, %(until)s FROM unnest(%(keys)s::uuid[]) AS key
    ON CONFLICT (key) DO UPDATE SET
        failures = CASE WHEN counted.until > %(at)s THEN counted.failures + 1 ELSE 1 END,
        until = CASE WHEN counted.until > %(at)s THEN counted.until ELSE excluded.until END
"""
# Written once a day for an address that is used every day, not at each sign-in.
KNOW = """
    INSERT INTO accounts_knownaddress AS known (key, account, until)
    VALUES (%(key)s, %(account)s, %(until)s)
    ON CONFLICT (key) DO UPDATE SET until = excluded.until
    WHERE known.until < excluded.until - interval '1 day'
"""


class Attempt(NamedTuple):
    """What a sign-in is counted by; the names are those of ``settings.SIGN_IN_LIMITS``."""

    account_from_address: uuid.UUID
    account: uuid.UUID
    address: uuid.UUID


def refuse_if_locked(*, email: str, address: str | None, at: datetime) -> None:
    """
    Refuse a sign-in, right or wrong, after too many wrong ones of the account or the address.

    Whether anybody has the e-mail makes no difference.

    :raises SignInLocked: there were too many; says in how many seconds to try again.
    """
    attempt = attempt_of(email, address)
    with _one_at_a_time(attempt):
        until = _locked_until(attempt, at)
    _refuse_until(until, at)


def count_failure(*, email: str, address: str | None, at: datetime) -> None:
    """
    Count a wrong password or code. Call it outside of a transaction that may be rolled back.

    :raises SignInLocked: others went wrong meanwhile and filled the count; say nothing else.
    """
    attempt = attempt_of(email, address)
    with _one_at_a_time(attempt), connection.cursor() as cursor:
        until = _locked_until(attempt, at)
        if until is None:
            window = timedelta(seconds=settings.SIGN_IN_WINDOW_SECONDS)
            cursor.execute(COUNT, {"keys": list(attempt), "at": at, "until": at + window})
    _refuse_until(until, at)


def forgive(*, email: str, address: str | None, at: datetime) -> None:
    """
    Let a right sign-in pass: forget what went wrong of the account from this address.

    From then on the address is one that the account is known by: wrong sign-ins from elsewhere do
    not lock it out.

    :raises SignInLocked: others went wrong meanwhile and filled the count; do not let it pass.
    """
    attempt = attempt_of(email, address)
    with _one_at_a_time(attempt), connection.cursor() as cursor:
        until = _locked_until(attempt, at)
        if until is None:
            SignInFailures.objects.filter(key=attempt.account_from_address).delete()
            cursor.execute(
                KNOW,
                {
                    "key": attempt.account_from_address,
                    "account": attempt.account,
                    "until": at + timedelta(days=settings.KNOWN_ADDRESS_DAYS),
                },
            )
    _refuse_until(until, at)


def forget_account(email: str) -> None:
    """Delete what is kept of the account of ``email``, as when a person is erased."""
    account = attempt_of(email, None).account
    SignInFailures.objects.filter(key=account).delete()
    KnownAddress.objects.filter(account=account).delete()


def forget_expired(*, at: datetime) -> int:
    """Delete counts and addresses whose time has run out; return how many."""
    counts, _ = SignInFailures.objects.filter(until__lte=at).delete()
    addresses, _ = KnownAddress.objects.filter(until__lte=at).delete()
    return counts + addresses


def attempt_of(email: str, address: str | None) -> Attempt:
    email, network = normalise_email(email), network_of(address)
    return Attempt(_key("both", email, network), _key("account", email), _key("address", network))


def network_of(address: str | None) -> str:
    """Return what counts as one address: of IPv6 a /64, which is the least that anybody has."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""  # a Unix socket has none
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _key(*parts: str) -> uuid.UUID:
    text = "\0".join(("sign-in", *parts))
    mac = hmac.digest(settings.IDENTITY_KEY.encode(), text.encode(errors="surrogatepass"), "sha256")
    return uuid.UUID(bytes=mac[:16])


@contextmanager
def _one_at_a_time(attempt: Attempt) -> Iterator[None]:
    """Let no two sign-ins of one account, or of one address, be decided at once."""
    with transaction.atomic(), connection.cursor() as cursor:
        # In one order, so that no two wait for each other.
        for key in sorted([attempt.account, attempt.address]):
            number = int.from_bytes(key.bytes[:8], "big", signed=True)
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        yield


def _locked_until(attempt: Attempt, at: datetime) -> datetime | None:
    counted = {row.key: row for row in SignInFailures.objects.filter(key__in=attempt, until__gt=at)}
    full = {
        name: counted[key].until
        for name, key in attempt._asdict().items()
        if key in counted and counted[key].failures >= settings.SIGN_IN_LIMITS[name]
    }
    if "account" in full and _is_known(attempt, at):
        del full["account"]
    return max(full.values(), default=None)


def _is_known(attempt: Attempt, at: datetime) -> bool:
    return KnownAddress.objects.filter(key=attempt.account_from_address, until__gt=at).exists()


def _refuse_until(until: datetime | None, at: datetime) -> None:
    if until is not None:
        raise SignInLocked(seconds=math.ceil((until - at).total_seconds()))

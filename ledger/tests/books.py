"""Wallets and requests for tests of the engine, in as few words as possible."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from django.db import connection

from accounts.models import Team
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.models import CreditTransaction, Grant, Wallet
from ledger.services import posting
from ledger.services.posting import Header, Posting

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
serial = count(1)


def new_wallets(number: int) -> list[int]:
    """Open wallets of new organisations; return their ids."""
    teams = Team.objects.bulk_create([Team(name="An organisation") for _ in range(number)])
    posting.open_wallets(teams=[team.pk for team in teams])
    wallets = Wallet.objects.filter(team__in=teams).order_by("pk")
    return list(wallets.values_list("pk", flat=True))


def new_wallet() -> int:
    return new_wallets(1)[0]


def header(
    kind: str, at: datetime = START, *, key: str | None = None, request: object = None, **more: Any
) -> Header:
    """Return a header; without a key, one that was never used."""
    return Header(
        kind=TransactionKind(kind),
        at=at,
        caller=more.pop("caller", "key:1"),
        key=keys.digest("key:1", key or str(uuid4())),
        fingerprint=keys.fingerprint(kind, request),
        **more,
    )


def award(wallet: int, amount: int, at: datetime = START, **more: Any) -> Posting:
    return give(wallet, amount, CreditType.AWARD, "award", at, **more)


def partner(wallet: int, amount: int, at: datetime = START, **more: Any) -> Posting:
    return give(wallet, amount, CreditType.PARTNER, "partner", at, **more)


def buy(wallet: int, amount: int, paid_minor: int, at: datetime = START, **more: Any) -> Posting:
    more |= {"paid_minor": paid_minor, "currency": "usd", "source": GrantSource.PACKAGE}
    return give(wallet, amount, CreditType.PURCHASE, "purchase", at, **more)


def give(
    wallet: int,
    amount: int,
    credit_type: CreditType,
    kind: str,
    at: datetime = START,
    *,
    key: str | None = None,
    source: GrantSource = GrantSource.MANUAL,
    **more: Any,
) -> Posting:
    return posting.post_grant(
        wallet=wallet,
        amount=amount,
        credit_type=credit_type,
        source=source,
        header=header(kind, at, key=key, request=[wallet, amount]),
        **more,
    )


def spend(
    payers: int | Sequence[int],
    amount: int,
    at: datetime = START,
    *,
    key: str | None = None,
    **more: Any,
) -> Posting:
    payers = [payers] if isinstance(payers, int) else payers
    kind = more.pop("kind", "usage")
    return posting.draw(
        payers=payers, amount=amount, header=header(kind, at, key=key, request=amount), **more
    )


def deduct(
    wallet: int, amount: int, at: datetime = START, *, short: str = "wait", **more: Any
) -> Posting:
    return spend(wallet, amount, at, kind="adjustment", short=short, any_status=True, **more)


def hold(
    wallet: int, amount: int, at: datetime = START, *, until: datetime = START + HOUR, **more: Any
) -> UUID:
    placed = posting.place_hold(
        payers=[wallet], amount=amount, expires_at=until, header=header("usage", at), **more
    )
    assert placed.hold_id is not None
    return placed.hold_id


def settle(
    hold: UUID, capture: int | None, at: datetime = START, *, key: str | None = None
) -> Posting:
    return posting.settle_hold(
        hold=hold,
        capture=capture,
        caller="key:1",
        header=header("usage", at, key=key, request=capture),
    )


def claw_back(grant: UUID, target: int, returned_minor: int = 0, at: datetime = START) -> Posting:
    return posting.claw_back(
        grant=grant, target=target, returned_minor=returned_minor, header=header("clawback", at)
    )


def reinstate(
    grant: UUID, target: int = 0, returned_minor: int = 0, at: datetime = START
) -> Posting:
    return posting.claw_back(
        grant=grant,
        target=target,
        returned_minor=returned_minor,
        header=header("reinstatement", at),
    )


def reverse(
    posted: Posting, amount: int | None = None, at: datetime = START, **more: Any
) -> Posting:
    assert posted.transaction_id is not None
    return posting.restore(
        transaction=posted.transaction_id, amount=amount, header=header("reversal", at, **more)
    )


def take_back(posted: Posting, *, partly: bool = False, at: datetime = START) -> Posting:
    assert posted.transaction_id is not None
    return posting.take_back(
        transaction=posted.transaction_id, partly=partly, header=header("reversal", at)
    )


def void(wallet: int, at: datetime = START, *, key: str | None = None) -> Posting | None:
    return posting.void(
        wallet=wallet, types=[CreditType.PARTNER], header=header("void", at, key=key)
    )


def grant_of(posted: Posting) -> UUID:
    """Return the id of the grant that ``posted`` made."""
    assert posted.grant_ids is not None
    return posted.grant_ids[0]


def left_of(posted: Posting) -> int:
    """Return how many credits are left of the grant that ``posted`` made."""
    return Grant.objects.get(pk=grant_of(posted)).remaining


def shown(wallet: int, at: datetime = START) -> dict[str, int]:
    """Return a wallet as anyone is shown it at an instant, with its debt and what is held."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT award, partner, purchase FROM ledger_visible(%s, %s)", [wallet, at])
        figures = cursor.fetchone()
    row = Wallet.objects.get(pk=wallet)
    visible = dict(zip(("award", "partner", "purchase"), figures, strict=True))
    return {**visible, "held": row.held, "debt": row.debt}


def available(wallet: int, at: datetime = START) -> int:
    figures = shown(wallet, at)
    return figures["award"] + figures["partner"] + figures["purchase"] - figures["held"]


def kinds_of(wallet: int) -> list[tuple[str, int]]:
    """Return the wallet's transactions in order, as kind and amount."""
    transactions = CreditTransaction.objects.filter(wallet=wallet).order_by("number")
    return list(transactions.values_list("kind", "amount"))

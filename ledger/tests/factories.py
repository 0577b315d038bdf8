"""Wallets, prices and requests for tests of the services, in the states that their names say."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts.identity import identity_of
from accounts.models import Approval, Team, TeamMembership, User
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from creditsite.site.demo.catalogue import make_catalogue
from ledger.choices import CreditType
from ledger.models import CreditSettings, CreditTransaction, Feature, FeaturePrice, Wallet
from ledger.queries.balances import balance_of
from ledger.queries.wallets import Payers, wallet_of
from ledger.services import adjustments, holds, posting
from ledger.services.charges import Charge, charge_of, price_list
from ledger.services.features import add_price, create_feature
from ledger.services.posting import Posting
from ledger.services.spending import spend_credits

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CALLER = "key:1"


class CustomerFactory(UserFactory):
    """A user whose role brings no credits: their wallet is open and empty."""

    role = None


def finance(**fields: Any) -> User:
    """Return a new member of the group Finance."""
    return StaffFactory(groups="Finance", **fields)


def set_credit_settings(**changes: Any) -> CreditSettings:
    """Make the settings that count from the beginning of time on: as they are, with ``changes``."""
    latest = CreditSettings.objects.order_by("changed_at", "pk").last() or CreditSettings()
    latest.pk, latest._state.adding, latest.changed_by = None, True, None
    for name, value in ({"changed_at": latest.changed_at or BEGINNING} | changes).items():
        setattr(latest, name, value)
    latest.save()
    return latest


def bulk_created(number: int, **fields: Any) -> list[User]:
    """Return users made past ``save()``, as an import makes them: nobody heard of them."""
    users = UserFactory.build_batch(number, **fields)
    for user in users:
        user.identity = identity_of(user.email)
    return User.objects.bulk_create(users)


def wallet_with_credits(
    owner: User | Team | None = None,
    *,
    award: int = 0,
    partner: int = 0,
    purchase: int = 0,
    at: datetime = AT,
    expires_at: datetime | None = None,
) -> Wallet:
    """Return the wallet of ``owner``, of a new user if left out, funded by the system."""
    wallet = wallet_of(owner or CustomerFactory())
    given = {
        CreditType.AWARD: award,
        CreditType.PARTNER: partner,
        CreditType.PURCHASE: purchase,
    }
    for credit_type, amount in given.items():
        if amount:
            adjustments.add_credits(
                wallet=wallet,
                amount=amount,
                credit_type=credit_type,
                reason="to begin with",
                actor=None,
                caller="test",
                at=at,
                expires_at=expires_at,
            )
    return Wallet.objects.get(pk=wallet.pk)


def asked_credits(
    wallet: Wallet, amount: int = 100_001, *, actor: User | None = None, at: datetime = AT
) -> Approval:
    """Return the request of Finance, or of ``actor``, for so many awarded credits."""
    actor = actor or finance()
    approval = adjustments.add_credits(
        wallet=wallet,
        amount=amount,
        credit_type=CreditType.AWARD,
        reason="the customer asked",
        actor=actor,
        caller=f"user:{actor.pk}",
        at=at,
    )
    assert isinstance(approval, Approval)
    return approval


def pool_of_team_admin(*members: User) -> tuple[Team, Wallet]:
    """Return a team_admin's team with seats for ``members``, and the wallet it spends from."""
    team = TeamFactory(owner=TeamAdminFactory())
    seat(team, *members)
    return team, wallet_of(team.owner)


def seat(team: Team, *members: User) -> None:
    for member in members:
        TeamMembership.objects.create(team=team, user=member)


def make_feature(code: str, *, requires_purchased: bool = False) -> Feature:
    return create_feature(
        code=code,
        name=code,
        unit="unit",
        requires_purchased=requires_purchased,
        actor=None,
        at=AT,
    )


def price_of(feature: Feature, unit_price: object, **more: Any) -> FeaturePrice:
    """Add a price to ``feature`` and let this process know it."""
    terms = {"per": 1, "is_flat": False, "valid_from": BEGINNING, "at": AT, "actor": None} | more
    price = add_price(feature=feature, unit_price=Decimal(str(unit_price)), **terms)
    price_list.forget()
    return price


def priced_feature(code: str, unit_price: object, **more: Any) -> Feature:
    """Return a feature that costs so much from the beginning of time on."""
    feature = make_feature(code, requires_purchased=more.pop("requires_purchased", False))
    price_of(feature, unit_price, **more)
    return feature


def catalogue() -> None:
    """Make the demo's price list."""
    make_catalogue(AT)


def quantities(**by_code: object) -> dict[str, Decimal]:
    """Return quantities by feature code; ``_`` stands for a dot."""
    return {code.replace("_", "."): Decimal(str(units)) for code, units in by_code.items()}


def only(wallet: Wallet) -> Payers:
    """Return ``wallet`` as the only one that may pay."""
    return Payers(f"user:{wallet.user_id}", [wallet.pk])


def spend(payer: Wallet | Payers, charge: int | Charge, **more: Any) -> Posting:
    return spend_credits(**_request(payer, charge, more))


def place_hold(payer: Wallet | Payers, charge: int | Charge, **more: Any) -> Posting:
    return holds.place_hold(**_request(payer, charge, more))


def open_hold(wallet: Wallet, amount: int, **more: Any) -> UUID:
    """Place a hold and return its id."""
    hold_id = place_hold(wallet, amount, **more).hold_id
    assert hold_id is not None
    return hold_id


def _request(payer: Wallet | Payers, charge: int | Charge, more: dict[str, Any]) -> dict[str, Any]:
    if key := more.pop("key", None):
        more["idempotency_key"] = key
    return {
        "payers": only(payer) if isinstance(payer, Wallet) else payer,
        "charge": charge_of(charge) if isinstance(charge, int) else charge,
        "caller": CALLER,
        "at": AT,
        "actor_id": None,
        **more,
    }


def close(wallet: Wallet) -> None:
    assert posting.set_status(wallet=wallet.pk, expected="active", status="closed")


def balances_of(wallet: Wallet, at: datetime = AT) -> dict[str, int]:
    """Return the three balances of ``wallet`` as anyone is shown them."""
    balance = balance_of(wallet.pk, at)
    return {name: getattr(balance, name) for name in ("award", "purchase", "partner")}


def available(wallet: Wallet, at: datetime = AT) -> int:
    return balance_of(wallet.pk, at).available


def transactions_of(wallet: Wallet) -> list[CreditTransaction]:
    return list(CreditTransaction.objects.filter(wallet=wallet).order_by("number"))


def moves_of(wallet: Wallet) -> list[tuple[str, int]]:
    """Return the transactions of ``wallet`` in order, as kind and amount."""
    return [(transaction.kind, transaction.amount) for transaction in transactions_of(wallet)]


@contextmanager
def nothing_changes(wallet: Wallet) -> Iterator[None]:
    """Assert that the block leaves the wallet, its books and the audit record as they were."""

    def state() -> object:
        row = Wallet.objects.filter(pk=wallet.pk).values().get()
        return row, len(transactions_of(wallet)), AuditEvent.objects.count()

    before = state()
    yield
    assert state() == before

"""What is bought in the demo where there is no Stripe to pay at."""

from datetime import datetime
from typing import Any
from uuid import UUID

from accounts.models import Team, User
from billing.queries.payments import share
from billing.quotes import Quote
from billing.services.quotes import quote_purchase
from ledger import keys
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.models import Wallet
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.posting import Header

ACTS = {"buy", "dispute", "lose", "refund", "subscribe", "renew"}


def wallet_named(people: dict[str, User], who: str) -> Wallet:
    return wallet_of(people.get(who) or Team.objects.get(name=who))


def description_of(quote: Quote) -> str:
    return f"{quote.credits:,} credits"


class Shop:
    """What payments would do to the books. Nobody subscribes: that is Stripe's to know."""

    def __init__(self, people: dict[str, User]) -> None:
        self.people = people
        self.bought: dict[str, tuple[UUID, Quote]] = {}

    def buy(self, who: str, at: datetime, mark: str, by: str = "", **wanted: Any) -> None:
        quote = quote_purchase(user=self.people[by or who], at=at, **wanted).quote
        posted = posting.post_grant(
            wallet=wallet_named(self.people, who).pk,
            amount=quote.credits,
            credit_type=CreditType.PURCHASE,
            source=GrantSource.PACKAGE,
            paid_minor=quote.total_minor,
            currency=quote.currency,
            header=system_header(TransactionKind.PURCHASE, at, description_of(quote)),
        )
        (grant,) = posted.grant_ids or []
        self.bought[mark] = grant, quote

    def dispute(self, who: str, at: datetime, mark: str) -> None:
        posting.freeze(grants=[self.bought[mark][0]], frozen=True, at=at)

    def lose(self, who: str, at: datetime, mark: str) -> None:
        grant, quote = self.bought[mark]
        posting.freeze(grants=[grant], frozen=False, at=at)
        self.refund(who, at, mark, quote.total_minor)

    def refund(
        self, who: str, at: datetime, mark: str, amount_minor: int, reason: str = ""
    ) -> None:
        grant, quote = self.bought[mark]
        posting.claw_back(
            grant=grant,
            target=share(quote.credits, amount_minor, quote.total_minor),
            returned_minor=amount_minor,
            header=system_header(TransactionKind.CLAWBACK, at, "Paid back"),
        )

    def subscribe(self, who: str, at: datetime, mark: str, plan: str, interval: str) -> None:
        pass

    def renew(self, who: str, at: datetime, mark: str) -> None:
        pass


def system_header(kind: TransactionKind, at: datetime, description: str) -> Header:
    return Header(
        kind=kind,
        at=at,
        caller="system",
        key=keys.fresh("system"),
        fingerprint=keys.fingerprint("demo", kind, description),
        description=description,
    )

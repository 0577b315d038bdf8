"""Offers, promotions and buyers for tests, in as few words as possible."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.models import Approval, User
from billing.choices import OfferKind, PromotionKind
from billing.models import Offer, Promotion, Redemption
from billing.quotes import Item, Quote, quote
from billing.services import redemptions
from billing.services.offers import Price, Terms, create_offer
from billing.services.promotions import create_promotion
from ledger.tests.factories import AT, CustomerFactory


def terms(**more: Any) -> Terms:
    given: dict[str, Any] = {
        "name": "Small",
        "credits": 100,
        "features": ["E-mail"],
        "prices": [Price("usd", "", 1_000)],
    }
    return Terms(**given | more)


def package(code: str = "small", **more: Any) -> Offer:
    kind = more.pop("kind", OfferKind.PACKAGE)
    return create_offer(
        code=code, kind=kind, position=1, terms=terms(**more), actor=None, at=AT, reason=""
    )


def plan(code: str = "monthly", **more: Any) -> Offer:
    prices = [Price("usd", "month", 1_999), Price("usd", "year", 19_990)]
    return package(code, kind=OfferKind.PLAN, **{"prices": prices} | more)


def promotion_terms(kind: str = "percentage", **more: Any) -> dict[str, Any]:
    usual: dict[str, dict[str, Any]] = {
        "percentage": {"basis_points": 2_000},
        "fixed": {"amounts": {"usd": 500}},
        "bonus": {"credits": 50},
        "grant": {"credits": 50},
    }
    given = {"code": "SPRING", "name": "In spring", "kind": PromotionKind(kind), "starts_at": AT}
    return given | usual[kind] | more


def promotion(kind: str = "percentage", **more: Any) -> Promotion:
    made = create_promotion(terms=promotion_terms(kind, **more), actor=None, at=AT, reason="")
    assert not isinstance(made, Approval)
    return made


def quoted(credits: int = 100, price: str = "0.10", currency: str = "usd") -> Quote:
    return quote(Item(credits, currency, unit_price=Decimal(price)))


def reserved(
    promotion: Promotion, user: User | None = None, key: str = "payment:1", **more: Any
) -> Redemption:
    what: dict[str, Any] = {"quote": quoted(), "package": "", "at": AT}
    return redemptions.reserve_promotion(
        promotion=promotion, user=user or CustomerFactory(), key=key, **what | more
    )


def redeemed_code(user: User, code: str = "SPRING", at: datetime = AT, **more: Any) -> Any:
    return redemptions.redeem_code(code=code, user=user, caller=f"user:{user.pk}", at=at, **more)

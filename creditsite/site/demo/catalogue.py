"""The demo's price list, and what it sells."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing.choices import PromotionKind
from billing.models import Promotion
from billing.services.catalogue_file import CATALOGUE, load_catalogue
from billing.services.promotions import create_promotion
from ledger.models import Feature
from ledger.services.charges import price_list
from ledger.services.features import add_price, create_feature

# Usage imported from any year has a price.
THE_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

# code, name, unit, price in credits, for so many units, takes purchased credits only
FEATURES = [
    ("insight.simple", "Simple insight", "insight", 9, 1, False),
    ("analysis.advanced", "Advanced analysis", "analysis", 25, 1, False),
    ("report", "Report", "report", 40, 1, False),
    ("dashboard.refresh", "Dashboard refresh", "refresh", 3, 1, False),
    ("llm.input", "Language model, input", "token", 1, 1_000, False),
    ("llm.output", "Language model, output", "token", 3, 1_000, False),
    ("export.premium", "Premium export", "export", 15, 1, True),
]

PROMOTIONS: list[dict[str, Any]] = [
    {
        "code": "SPRING20",
        "name": "Spring sale",
        "kind": PromotionKind.PERCENTAGE,
        "basis_points": 2_000,
        "limit_total": 500,
    },
    {
        "code": "FIVE-OFF",
        "name": "Five off the first purchase",
        "kind": PromotionKind.FIXED,
        "amounts": {"usd": 500, "zar": 9_000},
        "minimum_credits": 100,
    },
    {
        "code": "BONUS50",
        "name": "50 credits on top",
        "kind": PromotionKind.BONUS,
        "credits": 50,
        "minimum_credits": 500,
        "limit_total": 200,
    },
    {
        "code": "WELCOME-K7QX",
        "name": "Welcome gift",
        "kind": PromotionKind.GRANT,
        "credits": 25,
        "limit_total": 100,
        "expiry_days": 90,
    },
]


def make_catalogue(at: datetime) -> int:
    """Make the features that are missing, each with its price; return how many were made."""
    known = set(Feature.objects.values_list("code", flat=True))
    missing = [row for row in FEATURES if row[0] not in known]
    for code, name, unit, price, per, requires_purchased in missing:
        feature = create_feature(
            code=code,
            name=name,
            unit=unit,
            requires_purchased=requires_purchased,
            actor=None,
            at=at,
            reason="manage.py seed_demo",
        )
        add_price(
            feature=feature,
            unit_price=Decimal(price),
            per=per,
            is_flat=False,
            valid_from=THE_BEGINNING,
            actor=None,
            at=at,
            reason="manage.py seed_demo",
        )
    # It is forgotten at commit; the history that is made before that needs it, too.
    price_list.forget()
    return len(missing)


def make_sale(at: datetime) -> int:
    """Put on sale what is missing, and make the promotions; return how many there are new."""
    reason = "manage.py seed_demo"
    made = len(load_catalogue(path=CATALOGUE, at=at, reason=reason))
    known = set(Promotion.objects.values_list("code", flat=True))
    missing = [terms for terms in PROMOTIONS if terms["code"] not in known]
    for terms in missing:
        create_promotion(terms={**terms, "starts_at": at}, actor=None, at=at, reason=reason)
    return made + len(missing)

"""The demo's price list."""

from datetime import UTC, datetime
from decimal import Decimal

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

"""Sixty days of the demo's history."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from creditsite.site.demo.shop import ACTS as PURCHASES
from creditsite.site.demo.shop import Shop
from creditsite.site.demo.story import Story
from creditsite.site.demo.stripe_shop import StripeShop
from ledger.choices import CreditType

OLD = """email,awards,purchases,paid,currency,partner
dave@example.com,120,,,,
erin@example.com,10,40,3.99,USD,
greta@example.com,75,,,,
"""
SORRY = """email,amount,reason
erin@example.com,60,Two analyses were lost
bob@example.com,40,One analysis was lost
gerta@example.com,25,One analysis was lost
"""


class Event(NamedTuple):
    """What :class:`Story` is to do, so many days ago at that hour."""

    days_ago: int
    hour: int
    act: str
    who: str
    given: dict


def events() -> Iterator[Event]:
    """Yield everything that happens, in no particular order."""
    for day in range(56, 1, -1):
        yield spend(day, 8, "alice", {"insight.simple": 1})
        if day % 2:
            yield spend(day, 14, "alice", {"llm.input": 3_200, "llm.output": 900})
            yield spend(day, 9, "bob", {"dashboard.refresh": 4})
        if day % 7 == 3:
            yield spend(day, 16, "alice", {"report": 1}, reference_id=f"report-{day}")
            yield spend(day, 11, "carol", {"analysis.advanced": 2}, team="Brandt Studio")
            yield spend(day, 12, "erin", {"report": 2})
        if day % 5 == 1:
            yield spend(day, 15, "dave", {"analysis.advanced": 1}, team="Northwind")
            yield spend(day, 17, "bob", {"llm.input": 41_500, "llm.output": 12_250})

    # Finance sets the terms, brings old balances, makes up for a fault, and asks a colleague.
    why = "The terms that the partners and the board agreed on."
    terms = {"partner_allotment": 100, "referral_credits": 25, "low_credit_threshold": 150}
    yield Event(59, 9, "settle", "finance", {"changes": terms, "reason": why})
    why = "Balances of the old platform, as exported when it was shut."
    yield Event(58, 9, "bring", "finance", {"name": "old.csv", "content": OLD, "reason": why})
    why = "The analysis was down on Friday; sorry for that."
    yield Event(
        10, 15, "add by file", "finance", {"name": "sorry.csv", "content": SORRY, "reason": why}
    )
    why = "Credits for everybody who takes part in the load test."
    yield Event(1, 11, "add to all", "finance", {"amount": 200_000, "reason": why})

    # Alice buys and spends, has a report given back, and has a job running.
    yield Event(50, 10, "buy", "alice", {"amount": 400, "mark": "alice's"})
    yield Event(25, 10, "buy", "alice", {"amount": 600, **code("SPRING20"), "mark": "cheaper"})
    yield spend(20, 10, "alice", {"export.premium": 2})
    yield spend(12, 10, "alice", {"report": 1}, reference_id="report-empty", mark="empty report")
    why = "The report came out empty; the credits go back."
    yield Event(11, 9, "reverse", "alice", {"mark": "empty report", "reason": why})
    yield Event(9, 10, "hold", "alice", {"quantities": {"report": 1}, "mark": "a"})
    yield Event(9, 11, "capture", "alice", {"mark": "a"})
    yield Event(6, 10, "hold", "alice", {"quantities": {"analysis.advanced": 4}, "mark": "b"})
    yield Event(6, 12, "capture", "alice", {"mark": "b", "amount": 60})
    yield Event(5, 10, "hold", "alice", {"quantities": {"report": 2}, "mark": "c"})
    yield Event(5, 11, "release", "alice", {"mark": "c"})
    yield Event(1, 10, "hold", "alice", {"quantities": {"llm.output": 20_000}, "mark": "d"})

    # Carol lets an award expire half used. Northwind pays by invoice.
    why = "Thank you for testing the new dashboard."
    yield Event(45, 10, "add", "carol", {"amount": 100, "reason": why, "days": 20})
    yield spend(38, 10, "carol", {"dashboard.refresh": 10})
    yield Event(24, 1, "expire", "carol", {})
    northwind = {"package": "credits-5000", "by": "dave", "mark": "northwind's"}
    yield Event(57, 10, "buy", "Northwind", northwind)
    why = "Paid by bank transfer, invoice 2041, before the shop opened."
    yield Event(
        30, 10, "add", "Northwind", {"amount": 500, "reason": why, "type": CreditType.PURCHASE}
    )

    # Carol subscribes by the month and has paid for a second one, Dave for a year.
    starter = {"plan": "starter", "interval": "month", "mark": "carol's plan"}
    yield Event(40, 7, "subscribe", "carol", starter)
    yield Event(9, 13, "renew", "carol", {"mark": "carol's plan"})
    year = {"plan": "professional", "interval": "year", "mark": "dave's plan"}
    yield Event(20, 7, "subscribe", "dave", year)

    # Dave is a partner.
    yield Event(44, 9, "partner", "dave", {"reason": "Signed the partner agreement for the north."})
    why = "Allotment of the partner agreement, first half of the year."
    yield Event(44, 10, "add", "dave", {"amount": 500, "reason": why, "type": CreditType.PARTNER})
    yield spend(33, 10, "dave", {"analysis.advanced": 3})
    why = "Corrected after a review of the migrated balance."
    yield Event(16, 10, "set", "dave", {"reason": why, "type": CreditType.AWARD, "to": 300})
    why = "The agreement ends at 500 until the new half of the year."
    yield Event(1, 12, "set", "dave", {"reason": why, "type": CreditType.PARTNER, "to": 500})

    # Bob buys a package by mistake.
    yield Event(14, 10, "buy", "bob", {"package": "credits-100", "mark": "mistake"})
    why = "Bought by mistake: his team has credits of its own."
    back = {"mark": "mistake", "amount_minor": 1_000, "reason": why}
    yield Event(14, 15, "refund", "bob", back)

    # Erin's card issuer takes a payment back after she has spent it; she pays again.
    yield Event(40, 10, "buy", "erin", {"package": "credits-500", "mark": "erin's"})
    yield spend(34, 10, "erin", {"export.premium": 30})
    yield Event(33, 10, "dispute", "erin", {"mark": "erin's"})
    yield Event(28, 10, "lose", "erin", {"mark": "erin's"})
    yield Event(15, 10, "buy", "erin", {"amount": 600, **code("BONUS50"), "mark": "again"})

    # Frank owes credits, has others frozen, and is paused until that is cleared up.
    yield Event(35, 10, "buy", "frank", {"amount": 200, "mark": "frank's"})
    yield spend(33, 10, "frank", {"export.premium": 10})
    yield Event(26, 10, "buy", "frank", {"package": "credits-100", "mark": "disputed"})
    yield Event(6, 10, "dispute", "frank", {"mark": "disputed"})
    yield Event(5, 10, "refund", "frank", {"mark": "frank's", "amount_minor": 1_000})
    why = "Chargeback of his second payment is under review."
    yield Event(4, 11, "pause", "frank", {"reason": why})


def spend(days_ago: int, hour: int, who: str, quantities: dict[str, int], **given: str) -> Event:
    return Event(days_ago, hour, "spend", who, {"quantities": quantities, **given})


def code(code: str) -> dict[str, str]:
    return {"promotion_code": code}


class Act(NamedTuple):
    """What happens when."""

    at: datetime
    name: str
    who: str
    given: dict


def acts(now: datetime) -> list[Act]:
    """Return everything that happened until ``now``, the oldest first."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    # The first of a month that is today is left to be run.
    months = [day for day in range(58, 0, -1) if (midnight - timedelta(days=day)).day == 1]
    awards = [Event(day, 0, "award", "", {}) for day in months]
    todo = sorted([*events(), *awards], key=lambda event: (-event.days_ago, event.hour))
    return [
        Act(
            midnight - timedelta(days=event.days_ago) + timedelta(hours=event.hour),
            event.act.replace(" ", "_"),
            event.who,
            event.given,
        )
        for event in todo
    ]


def tell(story: Story, shop: Shop | StripeShop, todo: Iterable[Act]) -> int:
    """Make all of it happen; return how many acts there were."""
    count = 0
    for count, act in enumerate(todo, 1):  # noqa: B007
        teller = shop if act.name in PURCHASES else story
        getattr(teller, act.name)(act.who, act.at, **act.given)
    return count

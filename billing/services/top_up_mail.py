"""What users are told of their auto top-ups. Of those that are paid, the payment itself tells."""

from datetime import datetime

from django.urls import reverse

from accounts.services.notices import tell
from billing.choices import TopUpEnd
from billing.models import AutoTopUp, TopUp
from creditsite.links import site_link
from creditsite.money import format_money

PAGE = "billing_auto_top_up"
WHY_ENDED = {
    TopUpEnd.STAFF: "We switched it off. Ask us if you want to know why.",
    TopUpEnd.DECLINED: "Your card was declined again and again.",
    TopUpEnd.CARD: "Your card cannot be charged any more.",
    TopUpEnd.DISPUTED: "A top-up was disputed with your bank.",
    TopUpEnd.PRICE: "The price has changed since you agreed to it.",
}


def tell_declined(top_up: TopUp, *, until: datetime) -> None:
    auto = top_up.auto_top_up
    tell(
        [auto.user],
        subject="A top-up was declined",
        lines=[
            f"Your bank declined {auto.card or 'your card'}; nothing was charged.",
            f"It is tried again from {moment(until)} on if your credits are still low.",
            where("To use another card or to buy credits yourself"),
        ],
        facts=facts_of(top_up),
    )


def tell_authentication(top_up: TopUp) -> None:
    tell(
        [top_up.auto_top_up.user],
        subject="Your bank wants you to confirm a top-up",
        lines=[
            "Your bank wants you to be there when your card is charged. Nothing was charged, and no"
            " more top-ups are made until you have paid this one yourself.",
            where("To pay it"),
        ],
        facts=facts_of(top_up),
    )


def tell_ended(auto: AutoTopUp) -> None:
    tell(
        [auto.user],
        subject="Automatic top-ups are off",
        lines=[
            WHY_ENDED[TopUpEnd(auto.ended_why)],
            "No more credits are bought by themselves.",
            where("To switch them on again"),
        ],
        facts=[],
    )


def tell_limit(auto: AutoTopUp, *, bought: int, until: datetime) -> None:
    tell(
        [auto.user],
        subject="Your monthly limit of top-ups is reached",
        lines=[
            "Your credits are low, and another top-up would be more than your monthly limit.",
            f"No more are made until {moment(until)}.",
            where("To raise the limit or to buy credits yourself"),
        ],
        facts=[
            ("Bought this month", f"{bought:,} credits"),
            ("Monthly limit", f"{auto.monthly_limit:,} credits"),
            ("One top-up", f"{auto.amount:,} credits"),
        ],
    )


def facts_of(top_up: TopUp) -> list[tuple[str, str]]:
    payment = top_up.payment
    return [
        ("Credits", f"{top_up.credits:,}"),
        ("Price", format_money(payment.net_minor, payment.currency)),
    ]


def where(what_for: str) -> str:
    """Return the sentence that leads to the page, by its address where we know it."""
    if link := site_link(reverse(PAGE)):
        return f"{what_for}: {link}"
    return f"{what_for}, sign in and open Auto top-up."


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"

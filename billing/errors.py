"""What selling refuses."""

from datetime import date

from creditsite.errors import Conflict, InvalidRequest, NotFound, NotPermitted, Unavailable


class UnknownCurrency(InvalidRequest):
    def __init__(self, currency: str) -> None:
        super().__init__(f"Nothing like that is sold in {currency[:3].upper()}.")


class InvalidOffer(InvalidRequest):
    """A version of an offer, a rate, discounts or a promotion could not be so."""


class StaleVersion(Conflict):
    code = "stale_version"

    def __init__(self) -> None:
        super().__init__("It has changed since this page was opened. Open it again.")


class OfferNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such package.")


class PlanNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such plan.")


class NotForSale(Conflict):
    code = "not_for_sale"

    def __init__(self, code: str) -> None:
        super().__init__(f"The package {code} is not sold any more.")


class TooCheap(InvalidRequest):
    """So few credits cost less than the smallest coin."""

    def __init__(self) -> None:
        super().__init__("So few credits cost less than the smallest coin of this currency.")


class PromotionNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such code.")


class PromotionRefused(Conflict):
    """The code is known, and not for this purchase, this user or this time: ``why``."""

    code = "promotion_not_applicable"

    def __init__(self, why: str, message: str) -> None:
        self.why = why
        self.numbers = {"why": why}
        super().__init__(message)


class PaymentBusy(Unavailable):
    """Others read the same payment at Stripe each time that we did; asked again, it is settled."""

    def __init__(self) -> None:
        super().__init__("This payment is being settled by others. Try again.")


class NotRefundable(Conflict):
    """The rule gives back less than that: what is unspent and not held, of what was paid."""

    code = "not_refundable"

    def __init__(self, refundable: str) -> None:
        super().__init__(f"Of this payment {refundable} can be refunded.")


class RefundWaiting(Conflict):
    code = "refund_waiting"

    def __init__(self) -> None:
        super().__init__(
            "A refund of this payment is on its way to Stripe. Wait until it is there."
        )


class AlreadyResolved(Conflict):
    code = "already_resolved"

    def __init__(self) -> None:
        super().__init__("Somebody has resolved this already.")


class NotOnTier(Conflict):
    code = "not_on_tier"

    def __init__(self) -> None:
        super().__init__("The wallet is on no tier.")


class HasCredits(Conflict):
    def __init__(self) -> None:
        super().__init__("The wallet has credits already.")


class AlreadyAllotted(Conflict):
    """A wallet has the credits of a plan once for a month, by whatever way."""

    code = "already_allotted"

    def __init__(self, why: str) -> None:
        super().__init__(f"The wallet has no credits of its tier to come for this month: {why}.")


class NothingToPay(Conflict):
    """Credits for nothing are awards, which codes for credits give, within their limits."""

    code = "nothing_to_pay"

    def __init__(self) -> None:
        super().__init__("Nothing would be left to pay. Free credits are not bought.")


class TooLittle(Conflict):
    code = "too_little_to_pay"

    def __init__(self) -> None:
        super().__init__("The payment service takes no payments as small as this one.")


class PaymentNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such payment.")


class NotPaid(Conflict):
    """``intent_status`` is Stripe's word."""

    code = "payment_not_paid"

    def __init__(self, intent_status: str) -> None:
        self.numbers = {"intent_status": intent_status}
        super().__init__("The payment has not been made, or not yet.")


class OtherPurchase(Conflict):
    code = "other_purchase"

    def __init__(self, credits: int) -> None:
        self.numbers = {"credits": credits}
        super().__init__(f"That payment buys {credits:,} credits.")


class HeldBack(Conflict):
    code = "payment_held_back"

    def __init__(self) -> None:
        super().__init__("The payment came, and somebody looks at it before its credits are given.")


class MonthNotOver(Conflict):
    code = "month_not_over"

    def __init__(self, month: date) -> None:
        super().__init__(f"The figures of {month:%Y-%m} are not final yet.")


class FiguresDiffer(Conflict):
    """What is recognised line by line is not what the report says; in minor units."""

    code = "figures_differ"

    def __init__(self, month: date, currency: str, told: int, said: int) -> None:
        super().__init__(
            f"Revenue by use of {month:%Y-%m} in {currency.upper()} is {told}, the report says"
            f" {said}. No statements were made."
        )


class NotPayable(Conflict):
    """It was paid out, carried forward to a later statement, or there is nothing to pay out."""

    code = "not_payable"


class OwnShare(NotPermitted):
    code = "own_share"

    def __init__(self) -> None:
        super().__init__("Nobody decides about what they earn themselves.")


class NoPartner(Conflict):
    code = "no_partner"

    def __init__(self, user: object) -> None:
        super().__init__(f"{user} is no partner.")


class CardNeeded(Conflict):
    """No card of theirs is saved that can be charged; ``checkout_url`` is where to save one."""

    code = "card_needed"

    def __init__(self, checkout_url: str) -> None:
        self.checkout_url = checkout_url
        self.numbers = {"checkout_url": checkout_url}
        super().__init__("Save a card first, which is then charged.")


class AlreadyOff(Conflict):
    code = "already_off"

    def __init__(self) -> None:
        super().__init__("It is switched off already.")


class NoTopUpWaits(Conflict):
    def __init__(self) -> None:
        super().__init__("No top-up waits for you to pay it.")


class CostNotWaiting(Conflict):
    code = "cost_not_waiting"

    def __init__(self) -> None:
        super().__init__("One of them waits no longer: it was debited or voided meanwhile.")


class CostTooLarge(Conflict):
    """The costs of a project come to more credits than one movement takes."""

    def __init__(self) -> None:
        super().__init__("These costs come to more credits than one movement can take.")


class AlreadyExplained(Conflict):
    code = "already_explained"

    def __init__(self) -> None:
        super().__init__("Somebody has explained this already, or it is gone.")


class ReconciliationRunning(Conflict):
    code = "reconciliation_running"

    def __init__(self) -> None:
        super().__init__("Another reconciliation is under way.")


class WrongLines(InvalidRequest):
    """Lines of a file that cannot be, each with its number and why."""

    SHOWN = 20

    def __init__(self, lines: list[str]) -> None:
        more = f" And {len(lines) - self.SHOWN:,} more." if len(lines) > self.SHOWN else ""
        shown = "; ".join(line.removesuffix(".") for line in lines[: self.SHOWN])
        super().__init__(f"Nothing was entered. {shown}.{more}")


class AlreadySubscribed(Conflict):
    code = "already_subscribed"

    def __init__(self) -> None:
        super().__init__("There is a subscription already. Change that one.")


class NotSubscribed(Conflict):
    """It has ended, or its payment is not through: what was asked for needs one that is paid."""

    code = "not_subscribed"

    def __init__(self, why: str = "The subscription has ended.") -> None:
        super().__init__(why)


class NotChangeable(Conflict):
    code = "not_changeable"


class ChangeWaiting(Conflict):
    code = "change_waiting"

    def __init__(self) -> None:
        super().__init__("Another change of this subscription is on its way. Try again later.")


class NotCreditable(Conflict):
    code = "not_creditable"

    def __init__(self) -> None:
        super().__init__(
            "Credits are given by hand for a payment that is held back, is none of a subscription,"
            " and of which no money went back or is disputed."
        )

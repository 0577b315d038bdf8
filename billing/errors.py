"""What selling refuses."""

from creditsite.errors import Conflict, InvalidRequest, NotFound, Unavailable


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

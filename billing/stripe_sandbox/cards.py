"""Stripe's test cards: what a number, or the name of a payment method, stands for."""

from dataclasses import dataclass

NEVER, UNTIL_SET_UP, ALWAYS = "never", "until set up", "always"


@dataclass(frozen=True)
class Card:
    """How a card behaves; ``decline`` is why it is refused, ``authentication`` when it is asked."""

    number: str
    brand: str = "visa"
    decline: str | None = None
    declines_when_saved: bool = True
    authentication: str = NEVER
    refund: str = "succeeds"
    dispute: str | None = None
    delayed: bool = False
    names: tuple[str, ...] = ()


CARDS = [
    Card("4242424242424242", names=("pm_card_visa",)),
    Card("5555555555554444", brand="mastercard", names=("pm_card_mastercard",)),
    Card("378282246310005", brand="amex", names=("pm_card_amex",)),
    Card("4000000000000002", decline="generic_decline",
         names=("pm_card_chargeDeclined", "pm_card_visa_chargeDeclined")),
    Card("4000000000009995", decline="insufficient_funds",
         names=("pm_card_chargeDeclinedInsufficientFunds",
                "pm_card_visa_chargeDeclinedInsufficientFunds")),
    Card("4000000000009987", decline="lost_card",
         names=("pm_card_visa_chargeDeclinedLostCard",)),
    Card("4000000000000069", decline="expired_card",
         names=("pm_card_chargeDeclinedExpiredCard",)),
    Card("4000000000000127", decline="incorrect_cvc",
         names=("pm_card_chargeDeclinedIncorrectCvc",)),
    Card("4000000000000119", decline="processing_error",
         names=("pm_card_chargeDeclinedProcessingError",)),
    Card("4000000000000341", decline="generic_decline", declines_when_saved=False,
         names=("pm_card_chargeCustomerFail",)),
    Card("4000002500003155", authentication=UNTIL_SET_UP,
         names=("pm_card_authenticationRequiredOnSetup",)),
    Card("4000002760003184", authentication=ALWAYS, names=("pm_card_authenticationRequired",)),
    Card("4000008260003178", authentication=ALWAYS, decline="insufficient_funds",
         declines_when_saved=False,
         names=("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",)),
    Card("4000000000007726", refund="pending", names=("pm_card_pendingRefund",)),
    Card("4000000000005126", refund="fails", names=("pm_card_refundFail",)),
    Card("4000000000000259", dispute="fraudulent", names=("pm_card_createDispute",)),
    Card("4000000000002685", dispute="product_not_received",
         names=("pm_card_createDisputeProductNotReceived",)),
    Card("4000000000001976", dispute="inquiry", names=("pm_card_createDisputeInquiry",)),
    # Ours, not Stripe's: pays like a bank debit, later than the checkout is completed.
    Card("4000000000000606", delayed=True, names=("pm_sandbox_delayed",)),
]  # fmt: skip
BY_NUMBER = {card.number: card for card in CARDS}
BY_NAME = {name: card for card in CARDS for name in card.names}

# Code of the error, and what it says, by the reason for which a charge is declined.
DECLINES = {
    "generic_decline": ("card_declined", "Your card was declined."),
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
    "lost_card": ("card_declined", "Your card was declined."),
    "expired_card": ("expired_card", "Your card has expired."),
    "incorrect_cvc": ("incorrect_cvc", "Your card's security code is incorrect."),
    "processing_error": (
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    "authentication_required": (
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
}

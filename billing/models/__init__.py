from billing.models.inbox import ReviewItem, StripeEvent
from billing.models.offers import Offer, OfferPrice, OfferVersion
from billing.models.payments import Payment, PaymentEffect, Refund, StripeCustomer
from billing.models.promotions import Promotion, Redemption
from billing.models.rates import CreditRate, Discounts

__all__ = [
    "CreditRate",
    "Discounts",
    "Offer",
    "OfferPrice",
    "OfferVersion",
    "Payment",
    "PaymentEffect",
    "Promotion",
    "Redemption",
    "Refund",
    "ReviewItem",
    "StripeCustomer",
    "StripeEvent",
]

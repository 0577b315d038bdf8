from billing.models.inbox import ReviewItem, StripeEvent
from billing.models.offers import Offer, OfferPrice, OfferVersion
from billing.models.payments import Payment, PaymentEffect, Refund, StripeCustomer
from billing.models.projects import ProjectAccount, ProjectCost, ProjectDebit
from billing.models.promotions import Promotion, Redemption
from billing.models.rates import CreditRate, Discounts
from billing.models.receipts import Receipt
from billing.models.reconciliation import Break, Reconciliation
from billing.models.shares import (
    ErasedReferral,
    ShareLine,
    ShareMonth,
    SharePayout,
    ShareStatement,
    ShareTerm,
)
from billing.models.subscriptions import (
    PromisedMoney,
    Slice,
    StripePrice,
    Subscription,
    SubscriptionChange,
    SubscriptionEffect,
)
from billing.models.tiers import PlanNotice, Tier, TierAllotment
from billing.models.top_ups import AutoTopUp, TopUp
from billing.models.webhooks import WebhookTally

__all__ = [
    "AutoTopUp",
    "Break",
    "CreditRate",
    "Discounts",
    "ErasedReferral",
    "Offer",
    "OfferPrice",
    "OfferVersion",
    "Payment",
    "PaymentEffect",
    "PlanNotice",
    "ProjectAccount",
    "ProjectCost",
    "ProjectDebit",
    "PromisedMoney",
    "Promotion",
    "Receipt",
    "Reconciliation",
    "Redemption",
    "Refund",
    "ReviewItem",
    "ShareLine",
    "ShareMonth",
    "SharePayout",
    "ShareStatement",
    "ShareTerm",
    "Slice",
    "StripeCustomer",
    "StripeEvent",
    "StripePrice",
    "Subscription",
    "SubscriptionChange",
    "SubscriptionEffect",
    "Tier",
    "TierAllotment",
    "TopUp",
    "WebhookTally",
]

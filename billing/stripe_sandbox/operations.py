"""All operations of the API; to import them is to register them."""

from billing.stripe_sandbox import (
    accounts,
    billing_portal,
    charges,
    checkout,
    customers,
    disputes,
    events,
    invoice_routes,
    payment_intents,
    payment_methods,
    products,
    refunds,
    setup_intents,
    subscription_routes,
    test_clocks,
    webhooks,
)
from billing.stripe_sandbox.routes import Operation

__all__ = [
    "Operation",
    "accounts",
    "billing_portal",
    "charges",
    "checkout",
    "customers",
    "disputes",
    "events",
    "invoice_routes",
    "payment_intents",
    "payment_methods",
    "products",
    "refunds",
    "setup_intents",
    "subscription_routes",
    "test_clocks",
    "webhooks",
]

"""Packages, plans, promotions, subscriptions, payments, refunds and Stripe; above the ledger."""

"""
A local Stripe for development and tests: real HTTP, signatures, a payment page, faults on order.

It knows nothing of Django. docs/stripe.md says what it does and what it does not.
"""

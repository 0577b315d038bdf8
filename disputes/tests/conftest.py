"""The fixtures with a Stripe to talk to are billing's."""

from billing.tests.conftest import door, fake_stripe, sandbox

__all__ = ["door", "fake_stripe", "sandbox"]

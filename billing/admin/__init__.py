from billing.admin import events, offers, payments, promotions, rates, reviews

__all__ = ["events", "offers", "payments", "promotions", "rates", "reviews"]

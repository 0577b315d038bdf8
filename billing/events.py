"""What apps above must hear of payments, told at once and in the same database transaction."""

from accounts.events import Event

# ``disputes`` are all that Stripe has of the ``payment``, as they were read just now.
payment_disputed = Event("payment_disputed", frozenset({"payment", "disputes", "at"}))

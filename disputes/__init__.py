"""Users' disputes of a charge of credits, and Stripe's of a payment; above billing."""

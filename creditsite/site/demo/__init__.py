"""What the demo shows: people, a price list, and sixty days of history made by the services."""

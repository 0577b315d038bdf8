"""What every API endpoint stands on: how requests are read, and how answers and refusals leave."""

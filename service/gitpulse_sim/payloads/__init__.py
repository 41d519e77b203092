"""What deliveries carry, one module a family of events."""

"""What a plan speaks of."""

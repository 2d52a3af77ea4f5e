"""What to try from inside guests, and what the answers mean."""

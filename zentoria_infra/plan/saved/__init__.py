"""A plan for later, and what has moved since."""

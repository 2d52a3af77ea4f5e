"""One search over what a user has."""

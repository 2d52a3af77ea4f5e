"""Workflows that a user may run."""

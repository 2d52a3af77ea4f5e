"""Zentoria's sign-in and authorization server."""

__version__ = "0.1.0"

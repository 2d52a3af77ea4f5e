"""Tokens: signed access tokens, and refresh families in Redis."""

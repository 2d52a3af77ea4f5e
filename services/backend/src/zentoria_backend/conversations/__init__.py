"""Conversations with models, and what was said in them."""

"""Embedding models: what they answer, which one is asked."""

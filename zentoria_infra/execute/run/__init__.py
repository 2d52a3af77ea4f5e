"""Carrying out stages."""

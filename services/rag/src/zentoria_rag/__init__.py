"""Zentoria's retrieval: documents to passages, passages to vectors, questions to passages (container 419)."""

from __future__ import annotations

import importlib.metadata

__version__ = importlib.metadata.version("zentoria-rag")

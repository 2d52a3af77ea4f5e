"""Zentoria's speech: to text and from text (container 413)."""

from __future__ import annotations

import importlib.metadata

__version__ = importlib.metadata.version("zentoria-voice")

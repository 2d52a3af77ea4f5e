"""Zentoria's text recognition: pages without text get one (container 412)."""

from __future__ import annotations

import importlib.metadata

__version__ = importlib.metadata.version("zentoria-ocr")

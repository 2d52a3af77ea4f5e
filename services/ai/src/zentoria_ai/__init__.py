"""Zentoria's orchestrator: intents, agents, answers (container 405)."""

from __future__ import annotations

import importlib.metadata

__version__ = importlib.metadata.version("zentoria-ai")

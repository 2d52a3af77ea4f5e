"""Zentoria's MCP API gateway: the service of container 401."""

from __future__ import annotations

import importlib.metadata

__version__ = importlib.metadata.version("zentoria-backend")

"""Zentoria's sign-in and authorization server: the service of container 409."""

from __future__ import annotations

import importlib.metadata

__version__ = importlib.metadata.version("zentoria-auth")

"""Who asks, what they may, and what is written down of it."""

from __future__ import annotations

from zentoria_backend.access.audit import Recorder
from zentoria_backend.access.gate import Caller
from zentoria_backend.access.principal import Principal
from zentoria_backend.access.rule import ALL, NONE, OWN, PUBLIC, Rule
from zentoria_backend.access.service import Access

__all__ = ["ALL", "NONE", "OWN", "PUBLIC", "Access", "Caller", "Principal", "Recorder", "Rule"]

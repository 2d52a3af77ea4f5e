"""What happened, told to who it belongs to: streams in Redis, a WebSocket on port 4001, server-sent events.

Other domains call :func:`publish` and nothing else of this package.
"""

from __future__ import annotations

from zentoria_backend.events.streams import publish

__all__ = ["publish"]

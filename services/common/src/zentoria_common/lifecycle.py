"""The one fact that the server tells the application: that it is about to stop."""

from __future__ import annotations

import asyncio


class Lifecycle:
    """``draining`` is set when no new connection is accepted any more; open ones are still served."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()

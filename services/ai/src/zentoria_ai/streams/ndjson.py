"""Answers line by line (NDJSON) that end at once when the caller leaves, and so does what makes them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable

import anyio
import structlog
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "application/x-ndjson"
_log = structlog.stdlib.get_logger("zentoria_ai.streams")


class NdjsonResponse(Response):
    """Sends one JSON object a line as each is made.

    Starlette's own streaming looks for a caller that is gone only when it sends; a model that reads a long prompt sends
    nothing for minutes, and would go on for nobody. This one listens all the time.

    Args:
        events: are closed in any case.
        after: is called in any case when all is over: what was taken for the answer is given back.
    """

    media_type = MEDIA_TYPE

    def __init__(self, events: AsyncGenerator[BaseModel], after: Callable[[], None] = lambda: None) -> None:
        super().__init__(headers={"cache-control": "no-store, no-transform", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._after = events, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            async with contextlib.aclosing(self._events):
                await self._sent(receive, send)
        finally:
            self._after()

    async def _sent(self, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:

            async def listen() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                _log.info("caller left")
                group.cancel_scope.cancel()

            group.start_soon(listen)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for event in self._events:
                line = event.model_dump_json().encode() + b"\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            group.cancel_scope.cancel()

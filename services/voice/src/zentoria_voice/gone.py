"""Work for a client that may leave meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from zentoria_common.problems import Problem

LOOK_SECONDS = 0.25
_Result = TypeVar("_Result")


async def unless_gone(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Do it; when the client leaves, cancel it.

    Args:
        request: whose body was read to its end.
        work: what it asked for.

    Raises:
        Problem: the client is gone; nobody reads the answer.
    """
    task = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=LOOK_SECONDS)
            if done:
                return task.result()
            if await request.is_disconnected():
                raise Problem(499, "the client left", kind="client-gone")
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

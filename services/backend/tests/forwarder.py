"""A server that passes requests on with a credential: for clients that have no way to be given one."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from starlette.types import Receive, Scope, Send

_OF_ONE_CONNECTION = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})


class Forwarder:
    """An ASGI application that asks ``upstream`` the same, and streams its answer.

    Args:
        upstream: its base URL.
        credential: the value of ``Authorization``.
    """

    def __init__(self, upstream: str, credential: str) -> None:
        self._upstream = upstream
        self._credential = credential.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        passing = asyncio.create_task(self._pass(scope, body, send))
        leaving = asyncio.create_task(_left(receive))
        await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (passing, leaving):
            task.cancel()
        await asyncio.wait({passing, leaving})
        if not passing.cancelled():
            passing.result()

    async def _pass(self, scope: Scope, body: bytes, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = [
            (name, value) for name, value in scope["headers"] if name not in _OF_ONE_CONNECTION
        ]
        headers.append((b"authorization", self._credential))
        async with (
            httpx2.AsyncClient(timeout=None, trust_env=False) as client,
            client.stream(scope["method"], self._upstream + scope["path"], headers=headers, content=body) as answer,
        ):
            kept: list[Any] = [each for each in answer.headers.raw if each[0].lower() not in _OF_ONE_CONNECTION]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

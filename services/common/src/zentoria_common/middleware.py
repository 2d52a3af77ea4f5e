"""Pure ASGI middleware: request id, access log, metrics, error shape, body limit, drain.

Starlette's ``BaseHTTPMiddleware`` runs every request in a task group of its own and costs most of the throughput.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zentoria_common.lifecycle import Lifecycle
from zentoria_common.metrics import Metrics
from zentoria_common.problems import problem

_log = structlog.stdlib.get_logger("zentoria_common.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def route_template(scope: Scope) -> str:
    """The template of the route that took the request (``/api/v1/things/{id}``), or ``unmatched``."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"


class RequestContext:
    """Gives each request an id, times it, logs it, counts it; turns an unhandled exception into a 500 problem.

    An ``X-Request-ID`` that looks like one is taken over from the proxy; any other value is replaced. While the
    server drains, every answer says ``Connection: close``, so that clients come back on a connection to its successor.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, lifecycle: Lifecycle) -> None:
        self._app = app
        self._metrics = metrics
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if scope["type"] == "http":
                await self._http(scope, receive, send, request_id)
            else:
                await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        start = time.perf_counter()
        status = 0
        sent = 0

        async def observed(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
                if self._lifecycle.draining.is_set():
                    headers["connection"] = "close"
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception as error:
            _log.error("unhandled exception", route=route_template(scope), exc_info=error)
            if status:
                raise  # half an answer is on its way: only cutting the connection tells the client
            await problem(500)(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - start
            route = route_template(scope)
            # 499: the client was gone, or the server's patience at its end, before an answer began.
            self._metrics.request(scope["method"], route, status or 499, seconds)
            client = scope.get("client")
            _log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status or 499,
                duration_ms=round(seconds * 1000, 2),
                bytes_out=sent,
                client=client[0] if client else None,
            )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            _log.error("unhandled exception", route=route_template(scope), exc_info=error)
            await send({"type": "websocket.close", "code": 1011})
        finally:
            client = scope.get("client")
            _log.info(
                "websocket closed",
                route=route_template(scope),
                duration_ms=round((time.perf_counter() - start) * 1000, 2),
                client=client[0] if client else None,
            )


class BodyLimit:
    """Refuses a body of more than ``max_bytes`` with 413: by its declared length before the route runs, else by count.

    FastAPI's own ``max_body_size`` looks only when a route reads the body, and answers in plain text.

    Args:
        app: the application.
        max_bytes: of most routes.
        larger: limits of others, by the beginnings of their paths; the first that fits counts.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, larger: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._larger = dict(larger or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        limit = next((most for start, most in self._larger.items() if path.startswith(start)), self._max_bytes)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            refusal = problem(413, _complaint(limit), headers={"connection": "close"})
            await refusal(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise HTTPException(413, _complaint(limit), headers={"connection": "close"})
            return message

        await self._app(scope, counted, send)


def _complaint(limit: int) -> str:
    return f"the body is larger than {limit} bytes"

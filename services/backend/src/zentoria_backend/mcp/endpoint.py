"""The HTTP side of ``/mcp``: who may come in, and which scope a request wants. The SDK does the rest.

FastAPI's dependencies do not reach an application that is mounted, so this asks the gateway's own engine by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send
from zentoria_common.problems import Problem, problem

from zentoria_backend.access.gate import authenticated
from zentoria_backend.mcp import resources
from zentoria_backend.mcp.call import KEY, Call
from zentoria_backend.mcp.metadata import RESOURCE, WELL_KNOWN, reading_scopes
from zentoria_backend.mcp.server import make_server, note

if TYPE_CHECKING:
    from zentoria_backend.services import Services

DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint:
    """``/mcp`` as an ASGI application.

    A request of the revision 2026-07-28 stands alone. Clients of the revisions before it shake hands first; we keep no
    session for them, so that any worker answers any request.

    Args:
        services: of the application.
        extend: puts more into the server; for tests.
        sessions: keep a session for a client that shakes hands, and streams for whoever listens. Only one process can;
            for tests of what wants them.
    """

    def __init__(
        self, services: Services, *, extend: Callable[[MCPServer[Any]], None] | None = None, sessions: bool = False
    ) -> None:
        self._services = services
        self._sessions = sessions
        public = services.settings.public_url
        self._metadata = f"{public}{WELL_KNOWN}{RESOURCE}"
        server = make_server(listening=sessions)
        if extend is not None:
            extend(server)
        server.streamable_http_app(
            stateless_http=not sessions,
            # One question, one answer. As a stream it would be cut when the server stops (sse-starlette ends those).
            json_response=not sessions,
            transport_security=TransportSecuritySettings(
                allowed_hosts=hosts(public), allowed_origins=sorted(services.origins)
            ),
            max_request_body_size=max(1, services.settings.max_json_bytes),
        )
        self._server = server
        self._manager: StreamableHTTPSessionManager = server.session_manager
        self._tools: frozenset[str] = frozenset()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve for as long as the context is open; once."""
        self._tools = frozenset(tool.name for tool in await self._server.list_tools())
        started, stop = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with self._manager.run():
                started.set()
                await stop.wait()

        # in a task of its own: the SDK's task group has to be left by the task that entered it
        server = asyncio.create_task(serve(), name="mcp")
        waiting = asyncio.create_task(started.wait())
        try:
            await asyncio.wait({server, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if server.done():
                server.result()
            yield
        finally:
            waiting.cancel()
            stop.set()
            await asyncio.wait({server})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or say why not."""
        connection = HTTPConnection(scope)
        try:
            principal = await authenticated(self._services, connection, audience="mcp")
            await self._services.limiter.admit(connection, principal)
            call = Call(principal, self._services, self._tools)
            receive = await self._checked(scope, receive, call)
        except Problem as refusal:
            await self._refused(refusal, scope, receive, send)
            return
        if scope["method"] != "POST" and not self._sessions:
            # nothing of ours comes without a question: a stream would be open for nothing, and hold up a stop
            await problem(405, "ask with POST", {"allow": "POST"})(scope, receive, send)
            return
        scope[KEY] = call
        if self._sessions:  # the SDK holds a session to the credential that opened it
            scope["user"] = AuthenticatedUser(
                AccessToken(token="", client_id=principal.actor, scopes=[], subject=str(principal.user_id))
            )
        await self._manager.handle_request(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, call: Call) -> Receive:
        """Look which tool a request calls. The answer to a missing scope is HTTP's (403), and so has to come first.

        Raises:
            Problem: 403, the tool wants a scope that the credential does not have.
        """
        if scope["method"] != "POST":
            return receive
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return _replayed(bytes(body), receive, message)
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if (name := called_tool(bytes(body))) in call.tools:
            try:
                self._services.access.allow_tool(call.principal, name)
            except Problem:
                await note(call, name, "refused")
                raise
        return _replayed(bytes(body), receive)

    async def _refused(self, refusal: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, with the challenge that tells a client where its token comes from (RFC 9728, section 5)."""
        if refusal.status in (401, 403) and (given := refusal.headers.get("www-authenticate")):
            challenge = f'{given}, resource_metadata="{self._metadata}"'
            if "scope=" not in given:
                challenge += f', scope="{" ".join(reading_scopes())}"'
            refusal.headers["www-authenticate"] = challenge
        await refusal.response()(scope, receive, send)


def called_tool(body: bytes) -> str:
    """The tool that a request calls, or must be allowed to call; empty for whatever else it is: the SDK judges that."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    parameters = message.get("params") if isinstance(message, dict) else None
    if not isinstance(parameters, dict):
        return ""
    match message.get("method"):
        case "tools/call":
            return name if isinstance(name := parameters.get("name"), str) else ""
        case "resources/read" if str(parameters.get("uri")).startswith(resources.PREFIX):
            return resources.TOOL
    return ""


def hosts(public_url: str) -> list[str]:
    """What the ``Host`` header may say: the public name, with its port and, for the scheme's own port, without.

    Anything else is a page that has got its name resolved to our address (DNS rebinding).
    """
    parts = urlsplit(public_url)
    usual = DEFAULT_PORTS.get(parts.scheme)
    name = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else str(parts.hostname)
    port = parts.port or usual
    return [f"{name}:{port}", *([name] if port == usual else [])]


def _replayed(body: bytes, receive: Receive, last: Message | None = None) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}] if last is None else [last]

    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay

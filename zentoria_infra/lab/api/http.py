"""HTTP in and out, as Proxmox's own server does it: bodies, formats, status codes, the delay of a 401."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import urllib.parse
from collections.abc import Mapping

from aiohttp import web

from zentoria_infra.lab.api import routing, uploads
from zentoria_infra.lab.api.auth.rights import ROOT
from zentoria_infra.lab.api.faults import Fault, internal
from zentoria_infra.lab.api.losses import Lost
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.api.routing import Route, Router

_LOG = logging.getLogger(__name__)
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_SERVER = "pve-api-daemon/3.0"
_LOGIN = ("POST", "/access/ticket")


class _Bare(Exception):
    """An answer without a body."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Frontend:
    """Answers requests.

    Args:
        trusted: every request is root@pam's and needs no login (the control socket).
        auth_delay: seconds that every 401 waits.
    """

    def __init__(
        self,
        node: Node,
        router: Router,
        pool: concurrent.futures.Executor,
        *,
        trusted: bool,
        auth_delay: float,
    ) -> None:
        self._node = node
        self._router = router
        self._pool = pool
        self._trusted = trusted
        self._auth_delay = auth_delay

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        method = request.method
        try:
            style, parts = _split_path(request)
            if method not in routing.METHODS:
                raise _Bare(501, f"method '{method}' not available")
            given = await self._given(request, parts)
        except _Bare as bare:
            return _plain(bare.status, bare.reason)
        path = "/" + "/".join(parts)
        headers = _credentials(request)
        lost = self._node.losses.next(method, ticket=bool(headers[1]))
        if lost is Lost.BEFORE:
            return _hang_up(request)
        answer = await self._answered(method, path, parts, given, headers, style)
        if answer.status != 200:
            uploads.drop(self._node.layout, given)
        return _hang_up(request) if lost is Lost.AFTER else answer

    async def _given(self, request: web.BaseRequest, parts: list[str]) -> dict[str, object]:
        """The parameters of a request; of an upload, where its file lies until it is taken."""
        if request.content_type == _MULTIPART and request.method == "POST" and parts[-1:] == ["upload"]:
            return await uploads.receive(request, self._node.layout)
        return await _parameters(request)

    async def _answered(
        self,
        method: str,
        path: str,
        parts: list[str],
        given: Mapping[str, object],
        headers: tuple[str, str, str],
        style: str,
    ) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        try:
            reply = await loop.run_in_executor(self._pool, self._answer, method, path, parts, given, headers)
            return _json(200, "OK", reply, style)
        except Fault as fault:
            if fault.status == 401:
                await asyncio.sleep(self._auth_delay)
                if (method, path) != _LOGIN:
                    return _plain(401, fault.message)
            return _failure(fault, style)
        except Exception as error:  # whatever went wrong, the caller gets an answer and the log the cause
            _LOG.exception("%s %s failed", method, path)
            return _failure(internal(f"internal error: {type(error).__name__}"), style)

    def _answer(
        self, method: str, path: str, parts: list[str], given: Mapping[str, object], headers: tuple[str, str, str]
    ) -> dict[str, object]:
        found = self._router.find(method, parts)
        who = self._who(method, found[0] if found else None, headers)
        if found is None:
            raise routing.not_implemented(method, path)
        route, in_path = found
        return routing.run(self._node, route, who, routing.merge(in_path, given)).extra

    def _who(self, method: str, route: Route | None, headers: tuple[str, str, str]) -> str:
        if self._trusted:
            return ROOT
        if route is not None and route.permission is routing.world:
            return ""
        return self._node.access.authenticate(method, *headers)


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection; what is given back reaches nobody."""
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()
    return web.Response()


def _split_path(request: web.BaseRequest) -> tuple[str, list[str]]:
    # As Proxmox does it, the whole path is decoded before it is split: an encoded slash is a slash (no such method).
    whole = urllib.parse.unquote(request.raw_path.partition("?")[0])
    parts = [part for part in whole.strip("/").split("/") if part]
    if len(parts) < 2 or parts[0] != "api2":
        raise _Bare(404, "no such file")
    if parts[1] not in ("json", "extjs"):
        raise _Bare(501, f"no formatter for '{parts[1]}'")
    return parts[1], parts[2:]


def _credentials(request: web.BaseRequest) -> tuple[str, str, str]:
    cookie = urllib.parse.unquote(request.cookies.get("PVEAuthCookie", ""))
    if not cookie and request.headers.get("Authorization", "").startswith("PVEAuthCookie="):
        cookie = request.headers["Authorization"].removeprefix("PVEAuthCookie=")
        return "", urllib.parse.unquote(cookie), request.headers.get("CSRFPreventionToken", "")
    return request.headers.get("Authorization", ""), cookie, request.headers.get("CSRFPreventionToken", "")


def _pairs(pairs: list[tuple[str, str]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in pairs:
        if name not in values:
            values[name] = value
        else:
            before = values[name]
            values[name] = [*before, value] if isinstance(before, list) else [before, value]
    return values


async def _parameters(request: web.BaseRequest) -> dict[str, object]:
    query = request.raw_path.partition("?")[2]
    values = _pairs(urllib.parse.parse_qsl(query, keep_blank_values=True))
    values.pop("_dc", None)
    body = await request.read() if request.can_read_body else b""
    if not body:
        return values
    if request.method in ("GET", "DELETE"):
        raise _Bare(501, f"Unexpected content for method '{request.method}'")
    if request.content_type == "application/json":
        try:
            decoded = json.loads(body)
        except ValueError as error:
            raise _Bare(500, "malformed JSON string") from error
        if not isinstance(decoded, dict):
            raise _Bare(500, "malformed JSON string")
        return {**values, **decoded}
    if request.content_type == _FORM:
        text = body.decode("utf-8", errors="replace")
        return {**values, **_pairs(urllib.parse.parse_qsl(text, keep_blank_values=True))}
    raise _Bare(506, f"upload '{request.content_type}' not supported")


def _reason(text: str) -> str:
    line = " ".join(text.split())
    return line.encode("ascii", errors="replace").decode()[:1000] or "error"


def _plain(status: int, reason: str) -> web.Response:
    return web.Response(status=status, reason=_reason(reason), headers={"Server": _SERVER})


def _json(status: int, reason: str, body: dict[str, object], style: str) -> web.Response:
    if style == "extjs" and "success" not in body:
        body = {"success": 1, **body}
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return web.Response(
        status=status,
        reason=reason,
        text=text,
        content_type="application/json",
        charset="UTF-8",
        headers={"Server": _SERVER, "Cache-Control": "max-age=0", "Pragma": "no-cache"},
    )


def _failure(fault: Fault, style: str) -> web.Response:
    end = "" if fault.status == 501 else "\n"
    body: dict[str, object] = {"data": None, "message": fault.message.rstrip("\n") + end}
    if fault.errors is not None:
        body["errors"] = fault.errors
    if style == "extjs":
        return _json(200, "OK", {"success": 0, "status": fault.status, **body}, style)
    return _json(fault.status, _reason(fault.message), body, style)

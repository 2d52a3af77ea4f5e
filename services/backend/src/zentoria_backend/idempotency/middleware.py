"""``Idempotency-Key`` on writes (draft-ietf-httpapi-idempotency-key-header-07)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import cast

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from zentoria_common.problems import Problem, problem

from zentoria_backend.access.credentials import extract
from zentoria_backend.access.gate import authenticated
from zentoria_backend.idempotency.store import Answer, Running, Store
from zentoria_backend.services import Services

METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PATTERN = r"^[A-Za-z0-9._:-]{16,255}$"
"""A UUID is one. Shorter ones can be guessed, and what is kept under a key can be read with it."""
MAX_ANSWER = 256 * 1024
"""Bytes. Larger answers are not kept; no write of ours has such a one."""

_KEY = re.compile(PATTERN)
_NOT_KEPT = frozenset({401, 403, 408, 409, 412, 413, 425, 429})
"""Answers that a second try may well change, without anything having been done."""
_OF_THE_ANSWER = frozenset({"content-type", "location", "etag", "cache-control", "www-authenticate"})


class Idempotency:
    """Pure ASGI middleware: does a write once for each key, and gives who asks again the same answer.

    It is about JSON requests of ``/api/`` with a credential. An upload has ways of its own to be resumed, and is never
    held in memory, whatever it says that it is.

    Args:
        app: the application.
        uploads: beginnings of the paths of routes that take whole files.
    """

    def __init__(self, app: ASGIApp, *, uploads: Collection[str] = ()) -> None:
        self._app = app
        self._uploads = tuple(uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if (
            scope["type"] != "http"
            or scope["method"] not in METHODS
            or not scope["path"].startswith("/api/")
            or scope["path"].startswith(self._uploads)
        ):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        keys = headers.getlist("idempotency-key")
        kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if not keys or kind != "application/json":
            await self._app(scope, receive, send)
            return
        try:
            if extract(scope) is None:
                await self._app(scope, receive, send)
                return
            await self._once(scope, receive, send, keys)
        except Problem as refusal:
            await refusal.response()(scope, receive, send)
        except HTTPException as refusal:  # the body is too large
            await problem(refusal.status_code, refusal.detail, refusal.headers)(scope, receive, send)

    async def _once(self, scope: Scope, receive: Receive, send: Send, keys: list[str]) -> None:
        key = keys[0].strip().strip('"')
        if len(keys) > 1 or not _KEY.fullmatch(key):
            raise Problem(
                400, "Idempotency-Key takes one key of 16 to 255 letters, digits, . _ : -", kind="bad-idempotency-key"
            )
        services = cast(Services, scope["app"].state.services)
        principal = await authenticated(services, HTTPConnection(scope))
        body = await _whole(receive)
        what = (scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b""), body)
        fingerprint = hashlib.sha256(b"\0".join(what)).hexdigest()
        store, who = Store(services.redis, services.prefix), f"{principal.user_id} {principal.actor}"
        try:
            before = await store.begin(who, key)
        except Running:
            raise Problem(
                409, "the same request is at work already", kind="request-in-progress", headers={"retry-after": "1"}
            ) from None
        if before is not None:
            if before.fingerprint != fingerprint:
                raise Problem(422, "this Idempotency-Key was used for another request", kind="idempotency-key-reused")
            await _replay(before, send)
            return
        recorder = _Recorder()
        try:
            await self._app(scope, _given(body, receive), recorder)
        except BaseException:
            await store.end(who, key, None)
            raise
        await store.end(who, key, recorder.answer(fingerprint))
        for message in recorder.messages:
            await send(message)


class _Recorder:
    """Holds an answer back until it is kept: a client that has seen it can rely on it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    def answer(self, fingerprint: str) -> Answer | None:
        """What is worth keeping."""
        start = next((each for each in self.messages if each["type"] == "http.response.start"), None)
        if start is None or start["status"] >= 500 or start["status"] in _NOT_KEPT:
            return None
        body = b"".join(each.get("body", b"") for each in self.messages if each["type"] == "http.response.body")
        if len(body) > MAX_ANSWER:
            return None
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in start.get("headers", ())
            if name.decode("latin-1").lower() in _OF_THE_ANSWER
        ]
        return Answer(fingerprint, start["status"], headers, body)


async def _whole(receive: Receive) -> bytes:
    """The body; the limit on it stands before this."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the body is cut short")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _given(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _replay(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in (204, 304):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})

"""Answers of containers that come as lines of JSON, one event a line (``application/x-ndjson``)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
from zentoria_common.problems import Problem

from zentoria_backend.callees.service import missing, passed_on

MAX_LINE = 4 << 20
"""Bytes of one event."""


async def events(answer: httpx2.Response, service: str) -> AsyncGenerator[dict[str, Any]]:
    """The events of an answer, to the last one, which is ``done``. ``error`` is raised.

    Raises:
        Problem: what the container refused with; 502, it is no such answer; 503, it broke off, or needs what is away.
    """
    if answer.status_code >= 400:
        await answer.aread()
        passed_on(answer, service)
    rest = b""
    async for chunk in answer.aiter_bytes():
        rest += chunk
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if line.strip():
                event = _event(line, service)
                last = event["event"] == "done"
                yield event  # who gets it may take it apart
                if last:
                    return
        if len(rest) > MAX_LINE:
            raise _wrong(service)
    if rest.strip():
        event = _event(rest, service)
        last = event["event"] == "done"
        yield event
        if last:
            return
    raise missing(service, f"{service} broke off in the middle of its answer")


def _event(line: bytes, service: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise _wrong(service) from None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise _wrong(service)
    if event["event"] == "error":
        raise refusal(event, service)
    return event


def refusal(event: dict[str, Any], service: str) -> Problem:
    """The problem that an ``error`` event is."""
    given = event.get("status")
    status = given if isinstance(given, int) and 400 <= given <= 599 else 502
    kind = str(event.get("type", "")).removeprefix("/problems/")
    wait = event.get("retry_after")
    headers = {"retry-after": str(int(wait))} if isinstance(wait, int | float) and 0 < wait < 3600 else {}
    detail = str(event.get("detail") or event.get("title") or f"{service} failed")[:500]
    return Problem(status, detail, kind="" if kind == "about:blank" else kind, headers=headers, service=service)


def _wrong(service: str) -> Problem:
    return Problem(502, f"{service} gave an answer that is none", kind="bad-gateway", service=service)

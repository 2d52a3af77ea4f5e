"""Entity tags (RFC 9110, sections 8.8.3 and 13.1): an answer that a client has already is not sent again."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from zentoria_common.problems import Problem

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "You have it already (`If-None-Match`)."}}


def of_bytes(body: bytes) -> str:
    """A strong tag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def of_revision(revision: int) -> str:
    """A strong tag of a row that counts its changes."""
    return f'"{revision}"'


def listed(header: str) -> frozenset[str]:
    """The tags of an ``If-Match`` or ``If-None-Match`` field, weak ones without their prefix."""
    return frozenset(tag.strip().removeprefix("W/") for tag in header.split(",") if tag.strip())


def answer(request: Request, model: BaseModel, tag: str | None = None) -> Response:
    """The model as JSON with its tag; 304 where ``If-None-Match`` has it.

    Clients may keep it, and ask each time whether it still holds.
    """
    body = model.model_dump_json().encode()
    tag = tag or of_bytes(body)
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    tags = listed(request.headers.get("if-none-match", ""))
    if tag in tags or "*" in tags:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def require(given: str | None, revision: int | None) -> None:
    """Hold ``If-Match`` against what is there.

    Args:
        given: the header; None: the client does not care.
        revision: of the row; None: there is none.

    Raises:
        Problem: 412, somebody else has changed it.
    """
    if given is None:
        return
    tags = listed(given)
    if revision is not None and ("*" in tags or of_revision(revision) in tags):
        return
    raise Problem(412, "it is not as you last saw it: read it again", kind="changed-meanwhile")

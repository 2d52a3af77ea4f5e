"""Whole files in one request: ``POST /api/v1/mcp/upload`` (a form, or the bytes) and ``PUT /api/v1/uploads``."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect
from zentoria_common.problems import Problem, answers

from zentoria_backend.access.gate import Caller
from zentoria_backend.files.contents import clean_name
from zentoria_backend.services import ServicesDep
from zentoria_backend.uploads import service
from zentoria_backend.uploads.form import Form
from zentoria_backend.uploads.schemas import Accepted, NewUpload

router = APIRouter(tags=["uploads"])

FORM = "multipart/form-data"
_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{1,64}):", re.ASCII)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FIELDS = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "replaces": {"type": "string", "format": "uuid"},
        "sha256": {"type": "string"},
        "file": {"type": "string", "format": "binary"},
    },
}
_FORM_BODY = {
    "requestBody": {
        "required": True,
        "content": {FORM: {"schema": _FIELDS}, "application/octet-stream": _BINARY},
    }
}
_RAW_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}}

Name = Annotated[str | None, Query(max_length=1024, description="of the file", examples=["report.pdf"])]
Replaces = Annotated[UUID | None, Query(description="the file that gets a new version")]


@router.post(
    "/api/v1/mcp/upload",
    summary="Upload a file",
    status_code=202,
    responses=answers(400, 404, 409, 415),
    openapi_extra=_FORM_BODY,
)
async def upload(
    request: Request,
    response: Response,
    principal: Caller,
    services: ServicesDep,
    filename: Name = None,
    replaces: Replaces = None,
) -> Accepted:
    """A form with the part ``file`` (fields before it: ``replaces``, ``sha256``), or the file's bytes as they are.

    ``Repr-Digest: sha-256=:...:`` (RFC 9530) is checked. The job says when it is a file.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != FORM:
        return await _raw(request, response, principal, services, filename, replaces)
    form = Form(content_type, body_of(request))
    await form.file_begins()
    new = NewUpload(
        filename=clean_name(filename or form.filename),
        mime_type=form.mime_type,
        replaces=replaces or _uuid(form.fields.get("replaces")),
        sha256=service.sha256_of(form.fields.get("sha256")) or digest_of(request),
    )
    return _located(response, await service.receive(services, principal, new, form.chunks()))


@router.put(
    "/api/v1/uploads",
    summary="Upload the bytes of a file",
    status_code=202,
    responses=answers(400, 404, 409, 415),
    openapi_extra=_RAW_BODY,
)
async def put(
    request: Request,
    response: Response,
    principal: Caller,
    services: ServicesDep,
    filename: Name = None,
    replaces: Replaces = None,
) -> Accepted:
    """The body is the file; ``Content-Type`` its kind. ``Repr-Digest: sha-256=:...:`` (RFC 9530) is checked."""
    return await _raw(request, response, principal, services, filename, replaces)


async def _raw(
    request: Request,
    response: Response,
    principal: Caller,
    services: ServicesDep,
    filename: str | None,
    replaces: UUID | None,
) -> Accepted:
    declared = request.headers.get("content-length", "")
    new = NewUpload(
        filename=clean_name(filename),
        mime_type=request.headers.get("content-type"),
        replaces=replaces,
        sha256=digest_of(request),
        size=int(declared) if declared.isdecimal() and len(declared) < 20 else None,
    )
    return _located(response, await service.receive(services, principal, new, body_of(request)))


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The body's chunks.

    Raises:
        Problem: 400, the client is gone before its end.
    """
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise Problem(400, "the body ends too early", kind="cut-off") from None


def digest_of(request: Request) -> bytes | None:
    """SHA-256 that ``Repr-Digest`` or ``Content-Digest`` announces.

    Raises:
        Problem: 400, it is none.
    """
    for name in ("repr-digest", "content-digest"):
        found = _DIGEST.search(request.headers.get(name, ""))
        if found is None:
            continue
        try:
            digest = base64.b64decode(found[1], validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) != 32:
            raise Problem(400, f"{name} has no SHA-256")
        return digest
    return None


def _uuid(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Problem(422, "replaces is no id of a file") from None


def _located(response: Response, accepted: Accepted) -> Accepted:
    response.headers["location"] = f"/api/v1/jobs/{accepted.job.id}"
    return accepted

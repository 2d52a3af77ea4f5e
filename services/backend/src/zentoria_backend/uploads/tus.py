"""``/api/v1/uploads``: resumable uploads by tus 1.0, with creation, termination, checksum and expiration.

Source: https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from email.utils import format_datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response
from zentoria_common.problems import Problem, answers
from zentoria_schema.core import Upload as Row

from zentoria_backend.access.gate import Caller
from zentoria_backend.files.contents import clean_name
from zentoria_backend.services import Services, ServicesDep
from zentoria_backend.uploads import resume, service
from zentoria_backend.uploads.api import body_of
from zentoria_backend.uploads.resume import CHECKSUMS, Checksum, Progress
from zentoria_backend.uploads.schemas import Accepted, NewUpload, Upload

router = APIRouter(tags=["uploads"])

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
OFFSET_TYPE = "application/offset+octet-stream"
_METADATA_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}", re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_HEADERS = {
    "Tus-Resumable": {"schema": {"type": "string", "const": VERSION}},
    "Upload-Offset": {"schema": {"type": "integer"}},
    "Upload-Expires": {"schema": {"type": "string"}},
}
_BODY = {"requestBody": {"content": {OFFSET_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_MISMATCH = 460
"""Of tus: the chunk is not what its checksum says."""


@router.options("/api/v1/uploads", summary="What resumable uploads can do", status_code=204)
async def options(services: ServicesDep) -> Response:
    """Version, extensions and limits of tus here."""
    return Response(
        status_code=204,
        headers={
            "tus-resumable": VERSION,
            "tus-version": VERSION,
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(services.settings.max_body_bytes),
            "tus-checksum-algorithm": ",".join(CHECKSUMS),
        },
    )


@router.post(
    "/api/v1/uploads",
    summary="Begin a resumable upload",
    status_code=201,
    response_class=Response,
    responses={201: {"headers": _HEADERS}, **answers(400, 404, 409, 412, 415)},
    openapi_extra=_BODY,
)
async def create(request: Request, principal: Caller, services: ServicesDep) -> Response:
    """``Upload-Length`` says the size, ``Upload-Metadata`` ``filename``, ``filetype``, ``replaces`` and ``sha256``."""
    _speak(request)
    size = _number(request, "upload-length")
    if size is None:
        raise _bad("Upload-Length is missing: a length that is not known yet is not taken")
    row = await resume.create(services, principal, _new(request.headers.get("upload-metadata", ""), size))
    progress = Progress(0, row.expires_at)
    with_upload = request.headers.get("content-type", "").lower() == OFFSET_TYPE
    if with_upload or not size:
        progress = await _append(request, principal, services, row.id, 0)
    return _answer(201, progress, {"location": f"/api/v1/uploads/{row.id}"})


@router.head(
    "/api/v1/uploads/{upload_id}",
    summary="How far an upload is",
    response_class=Response,
    responses={200: {"headers": _HEADERS}, **answers(404, 410, 412)},
)
async def head(upload_id: UUID, request: Request, principal: Caller, services: ServicesDep) -> Response:
    """``Upload-Offset``: what is kept."""
    _speak(request)
    row = await service.row_of(services, principal, upload_id)
    if _ended(services, row):
        raise Problem(410, "the upload is at its end", kind="upload-ended", headers=_resumable())
    accepted = await resume.finish(services, principal, row)
    headers = {"upload-length": str(row.size), "cache-control": "no-store"}
    return _answer(200, Progress(row.received, row.expires_at, accepted), headers)


@router.get("/api/v1/uploads/{upload_id}", summary="One upload", responses=answers(404))
async def get_upload(upload_id: UUID, principal: Caller, services: ServicesDep) -> Upload:
    """Its state, and what it became."""
    return await service.get_upload(services, principal, upload_id)


@router.patch(
    "/api/v1/uploads/{upload_id}",
    summary="Go on with an upload",
    status_code=204,
    response_class=Response,
    responses={
        204: {"headers": _HEADERS},
        _MISMATCH: {"description": "The chunk is not what Upload-Checksum says", "content": _PROBLEM},
        **answers(400, 404, 409, 410, 412, 415, 423),
    },
    openapi_extra=_BODY,
)
async def patch(upload_id: UUID, request: Request, principal: Caller, services: ServicesDep) -> Response:
    """More bytes, from ``Upload-Offset`` on. With ``Upload-Checksum``, all of them or none."""
    _speak(request)
    if request.headers.get("content-type", "").lower() != OFFSET_TYPE:
        raise Problem(415, f"Content-Type is to be {OFFSET_TYPE}", headers=_resumable())
    offset = _number(request, "upload-offset")
    if offset is None:
        raise _bad("Upload-Offset is missing")
    try:
        progress = await _append(request, principal, services, upload_id, offset)
    except resume.ChecksumMismatch:
        text = "the chunk is not what Upload-Checksum says; nothing of it is kept"
        raise Problem(_MISMATCH, text, kind="checksum-mismatch", headers=_resumable()) from None
    return _answer(204, progress, {})


@router.delete(
    "/api/v1/uploads/{upload_id}", summary="Give an upload up", status_code=204, responses=answers(404, 409, 412)
)
async def terminate(upload_id: UUID, request: Request, principal: Caller, services: ServicesDep) -> Response:
    """Nothing is left of it."""
    _speak(request, strict=False)
    await resume.terminate(services, principal, upload_id)
    return Response(status_code=204, headers=_resumable())


async def _append(request: Request, principal: Caller, services: Services, upload_id: UUID, offset: int) -> Progress:
    return await resume.append(services, principal, upload_id, offset, body_of(request), _checksum(request))


def _answer(status: int, progress: Progress, headers: dict[str, str]) -> Response:
    found = {**_resumable(), "upload-offset": str(progress.offset), **headers}
    if progress.accepted is None:
        found["upload-expires"] = format_datetime(progress.expires_at, usegmt=True)
    else:
        found |= _job(progress.accepted)
    return Response(status_code=status, headers=found)


def _job(accepted: Accepted) -> dict[str, str]:
    return {"zentoria-job": f"/api/v1/jobs/{accepted.job.id}"}


def _ended(services: Services, row: Row) -> bool:
    return row.state in ("failed", "aborted") or (row.state == "open" and row.expires_at <= services.clock())


def _resumable() -> dict[str, str]:
    return {"tus-resumable": VERSION}


def _speak(request: Request, *, strict: bool = True) -> None:
    """Refuse another version of the protocol."""
    version = request.headers.get("tus-resumable")
    if version != VERSION and (strict or version is not None):
        raise Problem(
            412,
            f"Tus-Resumable is to be {VERSION}",
            kind="tus-version",
            headers={**_resumable(), "tus-version": VERSION},
        )


def _number(request: Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise _bad(f"{name} is no number of bytes")
    return int(text)


def _new(metadata: str, size: int) -> NewUpload:
    found = parse_metadata(metadata)
    replaces = None
    if found.get("replaces"):
        try:
            replaces = UUID(found["replaces"])
        except ValueError:
            raise _bad("replaces is no id of a file") from None
    return NewUpload(
        filename=clean_name(found.get("filename") or found.get("name")),
        mime_type=(found.get("filetype") or found.get("type") or "")[:200] or None,
        replaces=replaces,
        sha256=service.sha256_of(found.get("sha256")),
        size=size,
    )


def parse_metadata(text: str) -> dict[str, str]:
    """``Upload-Metadata``: pairs of a key and a value in base64, separated by commas.

    Raises:
        Problem: 400, it is not of its form.
    """
    found: dict[str, str] = {}
    if len(text) > 8192:
        raise _bad("Upload-Metadata is too long")
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            plain = base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise _bad("Upload-Metadata has a value that is not UTF-8 in base64") from None
        if not _METADATA_KEY.fullmatch(key) or key in found:
            raise _bad("Upload-Metadata has a key that is none, or there twice")
        found[key] = plain
    return found


def _checksum(request: Request) -> Checksum | None:
    text = request.headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in CHECKSUMS:
        raise _bad(f"Upload-Checksum takes {', '.join(CHECKSUMS)}")
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise _bad(f"Upload-Checksum has no {algorithm} in base64")
    return Checksum(algorithm, digest)


def _bad(why: str) -> Problem:
    return Problem(400, why, kind="bad-upload", headers=_resumable())

"""``/v1/paperless``: what the gateway keeps the two in step with. It knows the users; here are only documents."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import tempfile
from pathlib import Path as FilePath
from typing import Annotated

import obstore
from fastapi import APIRouter, Path, Query, Request
from obstore.exceptions import BaseError, NotFoundError
from pydantic import AwareDatetime
from zentoria_common.problems import Problem, Unavailable, answers

from zentoria_ocr.objects import Objects
from zentoria_ocr.paperless.client import Paperless
from zentoria_ocr.paperless.schemas import Consume, Documents, Import, Imported, Status, Task
from zentoria_ocr.recognition.api import user_of
from zentoria_ocr.settings import Settings

router = APIRouter(prefix="/v1/paperless")
Number = Annotated[int, Path(ge=1)]
TaskId = Annotated[str, Path(pattern=r"^[0-9a-fA-F-]{36}$")]


@router.get("")
async def status(request: Request) -> Status:
    """Whether Paperless-ngx is there."""
    settings: Settings = request.app.state.settings
    paperless: Paperless | None = request.app.state.paperless
    if not settings.paperless_url:
        return Status(state="not installed", reason="no source")
    if paperless is None:
        return Status(
            state="away", reason="it gave out no token: zentoria secret set zentoria/api_keys/paperless_token"
        )
    return await paperless.status()


@router.get("/documents", responses=answers(503))
async def documents(
    request: Request, modified_after: AwareDatetime | None = None, page: Annotated[int, Query(ge=1)] = 1
) -> Documents:
    """Documents that are there, the last changed at the end; each with the names of its tags."""
    after: datetime.datetime | None = modified_after
    return await _client(request).documents(modified_after=after, page=page)


@router.post("/documents", status_code=202, responses=answers(403, 404, 503))
async def consume(request: Request, asked: Consume) -> dict[str, str]:
    """Put a document of the user's in; the answer has the ``task_id`` to ask for."""
    settings: Settings = request.app.state.settings
    _own(request, asked.object_key)
    if asked.bucket not in (settings.s3_bucket_uploads, settings.s3_bucket_documents):
        raise Problem(422, "documents are read from the buckets of uploads and documents alone", kind="bucket")
    paperless, objects = _client(request), request.app.state.objects
    content = await _read(objects, asked.bucket, asked.object_key, settings.max_document_bytes)
    task = await paperless.consume(
        content, filename=asked.filename, mime=asked.mime, title=asked.title, created=asked.created, tags=asked.tags
    )
    return {"task_id": task}


@router.get("/tasks/{task_id}", responses=answers(404, 503))
async def task(request: Request, task_id: TaskId) -> Task:
    """How far Paperless-ngx is with what was put in."""
    return await _client(request).task(task_id)


@router.put("/documents/{number}/import", responses=answers(403, 404, 503))
async def bring(request: Request, number: Number, asked: Import) -> Imported:
    """Bring a document's file into the object storage, for the gateway to take in as the user's."""
    settings: Settings = request.app.state.settings
    _own(request, asked.object_key)
    paperless, objects = _client(request), request.app.state.objects
    found = await paperless.document(number)
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile() as file:
        async for chunk in paperless.download(number, settings.max_document_bytes):
            digest.update(chunk)
            size += len(chunk)
            await asyncio.to_thread(file.write, chunk)
        file.flush()
        try:
            await obstore.put_async(
                objects.bucket(settings.s3_bucket_uploads), asked.object_key, FilePath(file.name)
            )  # fmt: skip
        except (BaseError, OSError) as error:
            raise Unavailable("s3", "the object storage does not take the document at the moment") from error
    return Imported(
        bucket=settings.s3_bucket_uploads, object_key=asked.object_key, sha256=digest.hexdigest(), size=size,
        mime=found.mime_type or "application/octet-stream", document=found,
    )  # fmt: skip


def _client(request: Request) -> Paperless:
    paperless: Paperless | None = request.app.state.paperless
    if paperless is None:
        raise Unavailable("paperless", "Paperless-ngx is not installed, or gave out no token", retry_after=3600)
    return paperless


def _own(request: Request, key: str) -> None:
    if str(user_of(request).user_id) not in key.split("/")[:-1]:
        raise Problem(403, "the object is not the user's", kind="not-yours")


async def _read(objects: Objects, bucket: str, key: str, most: int) -> bytes:
    try:
        found = await obstore.get_async(objects.bucket(bucket), key)
        if found.meta["size"] > most:
            raise Problem(413, "the document is larger than what is taken", kind="document-too-large")
        return bytes(await found.bytes_async())
    except (NotFoundError, FileNotFoundError):
        raise Problem(404, "there is no such object", kind="no-such-object") from None
    except BaseError as error:
        raise Unavailable("s3", "the object storage does not answer at the moment") from error

"""One recognition from the object storage back into it, as a stream of what happens."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import http
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from zentoria_common.places import Places
from zentoria_common.problems import Problem, Unavailable

from zentoria_ocr.objects import Objects
from zentoria_ocr.recognition import process
from zentoria_ocr.recognition.repository import Store
from zentoria_ocr.recognition.schemas import Job, PageResult, Recognition
from zentoria_ocr.settings import Settings

KINDS = frozenset({"application/pdf", "image/png", "image/jpeg", "image/tiff", "image/webp"})
HEARTBEAT_SECONDS = 10.0
"""How long a stream says nothing; then it says ``waiting``."""
_RESULTS = uuid.UUID("6d2f1a52-5f0c-4b7e-9f0e-0c6d6a3c1e11")
_log = structlog.stdlib.get_logger("zentoria_ocr.recognition")
Event = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Recogniser:
    """Reads documents. Nothing connects before it is used."""

    settings: Settings
    objects: Objects
    store: Store
    places: Places

    def check(self, asked: Recognition, user_id: int) -> None:
        """Judge a request before its stream begins.

        Raises:
            Problem: it cannot be done, now or ever.
        """
        if asked.bucket not in (self.settings.s3_bucket_uploads, self.settings.s3_bucket_documents):
            raise Problem(422, "documents are read from the buckets of uploads and documents alone", kind="bucket")
        prefix = str(user_id) if asked.prefix is None else asked.prefix
        if str(user_id) not in asked.object_key.split("/")[:-1] or str(user_id) not in prefix.split("/"):
            raise Problem(403, "the object, or the place for the result, is not the user's", kind="not-yours")
        if asked.mime not in KINDS:
            raise Problem(415, f"what can be read: {', '.join(sorted(KINDS))}", kind="no-such-kind")
        missing = set(asked.languages or ()) - set(self.settings.languages)
        if missing:
            detail = f"not installed: {', '.join(sorted(missing))}; there are: {', '.join(self.settings.languages)}"
            raise Problem(422, detail, kind="language-missing")
        self.places.check()

    async def stream(self, asked: Recognition, sha256: str, user_id: int) -> AsyncIterator[Event]:
        """Do it. The last event is ``done`` or ``error``; whoever stops listening ends it."""
        told: asyncio.Queue[Event | None] = asyncio.Queue()

        async def run() -> None:
            try:
                async with self.places.one():
                    async for event in self._recognise(asked, sha256, user_id):
                        told.put_nowait(event)
            except Problem as error:
                told.put_nowait(_error(error))
            except Exception as error:
                _log.error("recognition failed", exc_info=error)
                told.put_nowait(_error(Problem(500, "the recognition failed", kind="recognition-failed")))
            finally:
                told.put_nowait(None)

        task = asyncio.create_task(run(), name="recognition")
        try:
            while True:
                try:
                    event = await asyncio.wait_for(told.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield {"event": "waiting"}
                    continue
                if event is None:
                    return
                yield event
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _recognise(self, asked: Recognition, sha256: str, user_id: int) -> AsyncIterator[Event]:
        languages = asked.languages or self.settings.languages
        results = self.store.results(sha256, languages)
        work = self.store.work(uuid.uuid4().hex)
        try:
            source = work / "source"
            await self._fetch(asked, sha256, source)
            job = Job(
                source=str(source), mime=asked.mime, work=str(work), results=str(results.folder),
                pages=asked.pages, explicit=asked.pages is not None, languages=languages,
                threads=self.settings.threads, page_seconds=self.settings.page_seconds,
                memory=self.settings.child_memory, max_pages=self.settings.max_pages,
                max_pixels=self.settings.max_pixels, max_image_pixels=self.settings.max_image_pixels,
                second_opinion_below=self.settings.second_opinion_below,
            )  # fmt: skip
            found: dict[int, PageResult] = {}
            path: Path | None = None
            async for event in _with_what_dies(job):
                if event["event"] == "page":
                    result = PageResult.model_validate(event)
                    if result.page not in found:
                        found[result.page] = result
                        yield {"event": "page", **result.shown()}
                elif event["event"] == "result":
                    path = Path(event["path"])
            if path is None:  # `_with_what_dies` ends with a result or raises
                raise Problem(500, "the recognition ended without a result", kind="recognition-failed")
            pages = [found[number].shown() for number in sorted(found)]
            yield {"event": "done", "pages": pages, **await self._keep(path, asked, sha256, languages, user_id)}
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def _fetch(self, asked: Recognition, sha256: str, target: Path) -> None:
        """Bring the document here, and look whether it is the one that is meant."""
        digest, size = hashlib.sha256(), 0
        try:
            found = await obstore.get_async(self.objects.bucket(asked.bucket), asked.object_key)
            with target.open("wb") as file:
                async for chunk in found.stream(min_chunk_size=1 << 20):
                    size += len(chunk)
                    if size > self.settings.max_document_bytes:
                        raise Problem(413, "the document is larger than what is read", kind="document-too-large")
                    data = bytes(chunk)
                    digest.update(data)
                    file.write(data)
        except (NotFoundError, FileNotFoundError):
            raise Problem(404, "there is no such object", kind="no-such-object") from None
        except BaseError as error:
            raise Unavailable("s3", "the object storage does not answer at the moment") from error
        if digest.hexdigest() != sha256:
            raise Problem(409, "the object has another SHA-256 than the one that was asked for", kind="other-content")

    async def _keep(
        self, path: Path, asked: Recognition, sha256: str, languages: tuple[str, ...], user_id: int
    ) -> Event:
        """Store the searchable document. Its key follows from the request: who comes again replaces it."""
        digest = await asyncio.to_thread(_sha256, path)
        # Without a prefix of its own, a result is told from that of the same bytes in another object.
        place, of = (str(user_id), asked.object_key) if asked.prefix is None else (asked.prefix, "")
        name = uuid.uuid5(_RESULTS, f"{of} {sha256} {asked.pages} {' '.join(languages)}")
        bucket, key = self.settings.s3_bucket_documents, f"{place}/{name}"
        try:
            await obstore.put_async(self.objects.bucket(bucket), key, path)
        except (BaseError, OSError) as error:
            raise Unavailable("s3", "the object storage does not take the result at the moment") from error
        size = path.stat().st_size
        return {"bucket": bucket, "object_key": key, "sha256": digest, "size": size, "mime": "application/pdf"}


async def _with_what_dies(job: Job) -> AsyncIterator[Event]:
    """What children say, until one has the result: one that died at a page leaves the others to the next.

    Raises:
        Problem: the document cannot be read.
    """
    skip: list[int] = []
    while True:
        page = -1
        try:
            async for event in process.events(job.model_copy(update={"skip": tuple(skip)})):
                if event["event"] == "refused":
                    raise Problem(422, event["detail"], kind=event["kind"])
                if event["event"] == "begin":
                    page = event["page"]
                yield event
                if event["event"] == "result":
                    return
        except process.Died as error:
            _log.warning("a child died", reason=error.reason, state="page" if page > 0 else "document")
            if page <= 0:  # while it was opened or put together
                detail = {
                    "time": "the document takes longer to open than it may",
                    "memory": "the document takes more memory than it may",
                    "crash": "the document cannot be read: what reads it crashed",
                }[error.reason]
                raise Problem(422, detail, kind="unreadable-document", reason=error.reason) from None
            skip.append(page)
            yield {"event": "page", "page": page, "state": "failed", "reason": error.reason}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _error(error: Problem) -> Event:
    """The members of the problem document, as one event; with ``retry_after`` where coming again helps."""
    status = error.status
    found: Event = {
        "event": "error",
        "type": f"/problems/{error.kind}" if error.kind else "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": error.detail,
        **error.members,
    }
    if "retry-after" in error.headers:
        found["retry_after"] = int(error.headers["retry-after"])
    return found

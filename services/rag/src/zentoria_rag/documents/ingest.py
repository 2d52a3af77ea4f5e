"""One version of a document into the record and the index: read, cut, embedded, and only then searched.

Killed at any moment and called again, it goes on: passages have the same ids each time they are read, those that have
their vectors keep them, and nothing is found of a version before all of it is there.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import tempfile
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import structlog
from zentoria_common.problems import Problem, Unavailable

from zentoria_rag.documents.objects import NoSuchObject, Objects
from zentoria_rag.documents.repository import Gone, Key, NewChunk, NotYours, Repository
from zentoria_rag.documents.schemas import PageInfo, Source, VersionInfo
from zentoria_rag.index.model import Labels, Owner, Point, VectorIndex
from zentoria_rag.models.embedder import Embedder, EngineFails
from zentoria_rag.models.space import Announced, Spaces, WrongSpace
from zentoria_rag.parsing import run
from zentoria_rag.parsing.model import DocumentError
from zentoria_rag.settings import Settings

Event = dict[str, Any]
_log = structlog.stdlib.get_logger("zentoria_rag.ingest")


@dataclasses.dataclass
class _Read:
    """What was read so far."""

    pages: list[PageInfo] = dataclasses.field(default_factory=list)
    chunks: int = 0
    languages: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    title: str | None = None
    kind: str = ""
    total: int = 0


class Ingest:
    """Reads documents.

    Args:
        settings: the service's.
        repository: the record.
        objects: where the bytes are.
        announced: the models.
        embedder: makes vectors.
        index: finds them.
    """

    def __init__(
        self,
        settings: Settings,
        repository: Repository,
        objects: Objects,
        announced: Announced,
        embedder: Embedder,
        index: VectorIndex,
    ) -> None:
        self._settings, self._repository, self._objects = settings, repository, objects
        self._announced, self._embedder, self._index = announced, embedder, index

    async def events(self, key: Key, source: Source) -> AsyncGenerator[Event]:
        """Read a version; the last event is ``done`` or ``error``.

        Raises:
            Problem: before the first event: nothing was begun.
        """
        await self._announced.announce()
        try:
            known = await self._repository.begin(key, source)
        except NotYours:
            raise Problem(409, "a file of that id is not this user's", kind="not-yours") from None
        try:
            async with contextlib.aclosing(self._ingest(key, source, known)) as events:
                async for event in events:
                    yield event
        except DocumentError as error:
            failure = _error(422, f"document-{error.code}", "The document cannot be read", error.detail)
            await self._repository.fail(key, {"error": failure})
            yield failure
        except NoSuchObject:
            yield _error(404, "no-such-object", "Not Found", "the object is not in its bucket")
        except Gone:
            yield _error(410, "document-deleted", "Gone", "the document was deleted while it was read")
        except EngineFails as error:
            kind = "model-missing" if error.missing else "unavailable"
            yield _error(503, kind, "Service Unavailable", error.detail, service="engine", retry_after=10)
        except WrongSpace as error:
            yield _error(503, "wrong-model", "Service Unavailable", str(error), service="engine", retry_after=60)
        except Unavailable as error:
            yield _error(503, "unavailable", "Service Unavailable", error.detail, service=error.service, retry_after=2)
        except run.ParserFailed as error:
            yield _error(503, "unavailable", "Service Unavailable", str(error), service="parser", retry_after=2)

    async def _ingest(self, key: Key, source: Source, known: VersionInfo) -> AsyncGenerator[Event]:
        spaces = await self._spaces(key.owner)
        twin = await self._repository.twin(key, source.sha256)
        if known.state == "ready":
            async with contextlib.aclosing(self._again(key, known, spaces)) as events:
                async for event in events:
                    yield event
            return
        copied = await self._copied(key, twin)
        if copied is not None:
            yield await self._finished(key, copied, spaces, twin)
            return
        read = _Read()
        with tempfile.TemporaryDirectory(prefix="zentoria-rag-") as folder:
            path = Path(folder) / "document"
            await self._objects.fetch(source.bucket, source.object_key, source.sha256, path)
            async for event in self._pages(key, source, path, read):
                yield event
        for space in spaces.filled:
            async for event in self._embed(key, space, read.chunks):
                yield event
        yield await self._finished(key, read, spaces, twin)

    async def _spaces(self, owner: Owner) -> Spaces:
        async with self._repository.database.session(owner.id) as session:
            return await self._announced.spaces(session)

    async def _again(self, key: Key, known: VersionInfo, spaces: Spaces) -> AsyncGenerator[Event]:
        """It was read: see that every model has it, and say once more what came of it."""
        for page in known.pages:
            yield {"event": "page", "page": page.page, "pages": len(known.pages), "state": page.state,
                   "chunks": page.chunks}  # fmt: skip
        for space in spaces.filled:
            async for event in self._embed(key, space, known.chunks):
                yield event
        await self._into_index(key, spaces, known.current)
        yield {"event": "done", **known.outcome}

    async def _copied(self, key: Key, twin: tuple[uuid.UUID, int] | None) -> _Read | None:
        """The same bytes were read for another file: nothing is read, or embedded, twice."""
        if twin is None:
            return None
        others = [one for one in await self._repository.versions(key.owner, twin[0]) if one.version == twin[1]]
        if not others or others[0].state != "ready":
            return None
        chunks = await self._repository.copy(key, twin)
        other = others[0]
        outcome = other.outcome
        read = _Read(list(other.pages), chunks, title=other.title, kind=str(outcome.get("kind", "")))
        read.total = int((outcome.get("cut") or {}).get("pages") or len(other.pages))
        read.languages[other.language] += 1
        return read

    async def _pages(self, key: Key, source: Source, path: Path, read: _Read) -> AsyncIterator[Event]:
        parsing = run.parse(self._settings, path, source.filename, source.mime)
        async with contextlib.aclosing(parsing) as lines:
            async for line in lines:
                if line["event"] == "start":
                    read.kind, read.total, read.title = line["kind"], int(line["pages"]), line["title"]
                    continue
                chunks = _chunks(line, read.chunks)
                await self._repository.add(key, chunks)
                read.chunks += len(chunks)
                page = PageInfo(page=line["page"], state=line["state"], chunks=len(chunks))
                read.pages.append(page)
                if line["state"] == "read":
                    read.languages[line["language"]] += 1
                pages = min(read.total, self._settings.parse_pages)
                yield {"event": "page", "page": page.page, "pages": pages, "state": page.state, "chunks": page.chunks}

    async def _embed(self, key: Key, space: Any, total: int) -> AsyncIterator[Event]:
        """Give every passage its vector. Each batch is kept as soon as it is there."""
        done = 0
        while bare := await self._repository.bare(key, space, self._settings.embedding_batch):
            vectors = await self._embedder.passages([one.text for one in bare], space)
            points = [Point(one.chunk_id, vector) for one, vector in zip(bare, vectors, strict=True)]
            await self._repository.vectors(key.owner, space, points)
            done += len(points)
            yield {"event": "embedded", "chunks": done, "of": total}

    async def _finished(self, key: Key, read: _Read, spaces: Spaces, twin: tuple[uuid.UUID, int] | None) -> Event:
        for space in spaces.filled:
            async for _ in self._embed(key, space, read.chunks):
                pass
        language = next((name for name, _ in read.languages.most_common(1)), "simple")
        outcome = {
            "pages": len(read.pages),
            "chunks": read.chunks,
            "unread": [page.page for page in read.pages if page.state == "unread"],
            "failed": [page.page for page in read.pages if page.state == "failed"],
            "duplicate_of": {"file_id": str(twin[0]), "version": twin[1]} if twin else None,
            "language": language,
            "title": read.title,
            "kind": read.kind,
            "cut": {"read": len(read.pages), "pages": read.total} if read.total > len(read.pages) else None,
        }
        current = await self._repository.finish(
            key, pages=read.pages, chunks=read.chunks, title=read.title, language=language, outcome=outcome
        )
        await self._into_index(key, spaces, current)
        _log.info("document read", kind=read.kind, pages=len(read.pages), chunks=read.chunks)
        return {"event": "done", **outcome}

    async def _into_index(self, key: Key, spaces: Spaces, current: bool) -> None:
        """Let the version be found, in place of older ones."""
        if not current:
            return
        labels = await self._repository.labels(key.owner, key.file_id)
        for space in spaces.filled:
            for one in labels:
                await fill(self._repository, self._index, key.owner, space, one)
        if not await self._repository.labels(key.owner, key.file_id):  # deleted meanwhile
            for space in spaces.filled:
                await self._index.remove(key.owner, space, key.file_id)
            raise Gone


async def fill(repository: Repository, index: VectorIndex, owner: Owner, space: Any, labels: Labels) -> int:
    """Put the current version of a document into an index; returns how many passages."""
    points = await repository.points(Key(owner, labels.file_id, labels.version), space) if index.refilled else []
    await index.put(owner, space, labels, points)
    await index.only(owner, space, labels.file_id, labels.version)
    return len(points)


def _chunks(line: Mapping[str, Any], first: int) -> list[NewChunk]:
    return [
        NewChunk(first + number, one["page"], tuple(one["heading"]), one["boxes"], one["text"].replace("\x00", ""),
                 line["language"])
        for number, one in enumerate(line["chunks"])
    ]  # fmt: skip


def _error(status: int, kind: str, title: str, detail: str, **members: Any) -> Event:
    return {"event": "error", "type": f"/problems/{kind}", "title": title, "status": status, "detail": detail,
            **members}  # fmt: skip

"""A folder of documents is read for an owner that nobody is, asked, and forgotten again."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from zentoria_rag.documents.ingest import Ingest
from zentoria_rag.documents.objects import NoSuchObject
from zentoria_rag.documents.repository import Key
from zentoria_rag.documents.schemas import Source
from zentoria_rag.index.model import Owner
from zentoria_rag.scoring.measure import KS, Found, Question
from zentoria_rag.search.schemas import SearchRequest
from zentoria_rag.services import Services

OWNER = Owner(2**62)
"""No account has this number: what is read for it, nobody finds."""
_NAMESPACE = uuid.UUID("0e6f6c1e-2f0f-4a4e-9a39-6a9a5b0f2a51")


class _Folder:
    """Objects that are files."""

    async def fetch(self, bucket: str, key: str, sha256: str, to: Path) -> None:
        """Copy one."""
        try:
            await asyncio.to_thread(shutil.copyfile, key, to)
        except OSError:
            raise NoSuchObject(key) from None


@dataclasses.dataclass
class Reading:
    """What reading the folder came to. ``failed``: names of documents, and why."""

    documents: int = 0
    pages: int = 0
    chunks: int = 0
    seconds: float = 0.0
    unread: int = 0
    failed: dict[str, str] = dataclasses.field(default_factory=dict)


async def read(services: Services, folder: Path, say: Callable[[str], None]) -> Reading:
    """Read every file below ``folder``. What was read before is not read again."""
    folders: object = _Folder()
    ingest = Ingest(
        services.settings,
        services.repository,
        folders,  # type: ignore[arg-type] # it has the one method that is used
        services.announced,
        services.embedder,
        services.index,
    )
    done, start = Reading(), time.perf_counter()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        data = await asyncio.to_thread(path.read_bytes)
        source = Source(
            bucket="folder", object_key=str(path), sha256=hashlib.sha256(data).hexdigest(), filename=path.name,
            mime="application/octet-stream", size=len(data),
        )  # fmt: skip
        key = Key(OWNER, uuid.uuid5(_NAMESPACE, str(path.resolve())), 1)
        async for event in ingest.events(key, source):
            if event["event"] == "error":
                done.failed[path.name] = str(event["detail"])
            elif event["event"] == "done":
                done.documents += 1
                done.pages += int(event["pages"])
                done.chunks += int(event["chunks"])
                done.unread += len(event["unread"])
        say(f"{path.name}: {done.failed.get(path.name, 'read')}")
    done.seconds = round(time.perf_counter() - start, 2)
    return done


async def ask(services: Services, asked: Sequence[Question]) -> list[tuple[Question, list[Found]]]:
    """What each question finds."""
    found = []
    for question in asked:
        answer = await services.search.answer(OWNER, SearchRequest(query=question.text, limit=max(KS)))
        hits = [Found(hit.filename, hit.page, hit.words_score, hit.meaning_score) for hit in answer.hits]
        found.append((question, hits))
    return found


async def forget(services: Services) -> None:
    """Remove all that was read."""
    while labels := await services.repository.labels(OWNER):
        for one in labels:
            await services.documents.delete(OWNER, one.file_id)

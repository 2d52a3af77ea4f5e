"""Package files that guests fetched once, kept for all labs of this machine.

A ``.deb`` below ``pool/`` never changes under its name, nor does an index below ``by-hash/``. Other files of a
suite (``InRelease``) are good for some minutes, then the mirror is asked whether they changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import hashlib
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

PACKAGES = "packages"
"""Name of its folder in what labs share."""

FRESH_SECONDS = 600.0
"""How long an index is served without asking the mirror."""

_PACKAGES = (".deb", ".udeb", ".dsc", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst")
_DEB_DAYS = 90
_INDEX_DAYS = 14


class Kind(enum.Enum):
    """How long a file may be kept."""

    FOREVER = "forever"
    SHORT = "short"
    NEVER = "never"


def kind_of(path: str) -> Kind:
    """How a URL path may be kept."""
    parts = path.partition("?")[0].split("/")
    if "?" in path:
        return Kind.NEVER
    if "by-hash" in parts or ("pool" in parts and parts[-1].endswith(_PACKAGES)):
        return Kind.FOREVER
    return Kind.SHORT if "dists" in parts else Kind.NEVER


@dataclasses.dataclass
class Entry:
    """A kept file."""

    file: Path
    size: int
    last_modified: str
    etag: str
    content_type: str
    fetched: float
    """Seconds since 1970."""

    def fresh(self, kind: Kind) -> bool:
        """Whether it may be served without asking."""
        return kind is Kind.FOREVER or 0 <= time.time() - self.fetched < FRESH_SECONDS


class PackageCache:
    """A folder of kept files, named by the hash of their address; each with a ``.json`` beside it.

    Several labs may use it at a time: files appear whole, by renaming.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def one_at_a_time(self, url: str) -> AsyncIterator[None]:
        """Let one of those that want the same file fetch it, while the others wait for that."""
        lock, users = self._locks.get(url, (asyncio.Lock(), 0))
        self._locks[url] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(url)
            if users > 1:
                self._locks[url] = (lock, users - 1)

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self._folder / name[:2] / name

    def find(self, url: str) -> Entry | None:
        """The kept file for an address; None when there is none, or it is not whole."""
        path = self._path(url)
        try:
            told = json.loads(path.with_suffix(".json").read_text())
            entry = Entry(path, int(told["size"]), told["last_modified"], told["etag"], told["type"], told["fetched"])
            if path.stat().st_size != entry.size:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return entry

    def touch(self, url: str, entry: Entry) -> None:
        """Note that the mirror just said that a kept file still holds."""
        entry.fetched = time.time()
        self._describe(self._path(url), url, entry)

    def begin(self, url: str) -> Partial:
        """Begin to keep a file."""
        path = self._path(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        return Partial(self, url, path)

    def _describe(self, path: Path, url: str, entry: Entry) -> None:
        told = {
            "url": url, "size": entry.size, "last_modified": entry.last_modified, "etag": entry.etag,
            "type": entry.content_type, "fetched": entry.fetched,
        }  # fmt: skip
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
        partial.write_text(json.dumps(told))
        partial.replace(path.with_suffix(".json"))

    def commit(self, url: str, partial: Path, entry: Entry) -> None:
        """Put a file that is whole in its place."""
        partial.replace(entry.file)
        self._describe(entry.file, url, entry)

    def prune(self) -> None:
        """Remove what nobody fetched for long, and what a crash left half."""
        if not self._folder.is_dir():
            return
        now = time.time()
        for described in self._folder.glob("*/*"):
            with contextlib.suppress(OSError, ValueError):
                age = (now - described.stat().st_mtime) / 86400
                if described.suffix in (".new", ".part"):
                    if age > 1:
                        described.unlink()
                elif described.suffix == ".json":
                    days = _DEB_DAYS if json.loads(described.read_text())["url"].endswith(_PACKAGES) else _INDEX_DAYS
                    if age > days:
                        described.with_suffix("").unlink(missing_ok=True)
                        described.unlink()


class Partial:
    """A file that is being fetched."""

    def __init__(self, cache: PackageCache, url: str, target: Path) -> None:
        self._cache = cache
        self._url = url
        self._target = target
        self._part = target.with_name(f"{target.name}.{os.getpid()}-{uuid.uuid4().hex}.part")
        self._stream: BinaryIO = self._part.open("wb")
        self._size = 0

    def write(self, data: bytes) -> None:
        """Add to it."""
        self._stream.write(data)
        self._size += len(data)

    def keep(self, *, expected: int | None, last_modified: str, etag: str, content_type: str) -> bool:
        """Put it in its place; False when it is shorter or longer than was told."""
        self._stream.close()
        if expected is not None and expected != self._size:
            self._part.unlink(missing_ok=True)
            return False
        entry = Entry(self._target, self._size, last_modified, etag, content_type, time.time())
        self._cache.commit(self._url, self._part, entry)
        return True

    def drop(self) -> None:
        """Forget it."""
        self._stream.close()
        self._part.unlink(missing_ok=True)

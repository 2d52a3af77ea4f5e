"""A folder of files that are named by the SHA-256 of their content, and of notes that say what they are.

Several processes may use one cache at the same time: files appear complete, by rename, and never change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import IO, Any, Protocol

from zentoria_infra.errors import ZentoriaError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOTE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CHUNK = 1 << 20


class ArtifactError(ZentoriaError):
    """A component could not be fetched, verified, built or kept."""


def default_root() -> Path:
    """Where the cache is: ``$ZENTORIA_CACHE``, else ``$XDG_CACHE_HOME``, /var/cache (root) or ~/.cache."""
    if override := os.environ.get("ZENTORIA_CACHE"):
        return Path(override)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "zentoria"
    if os.geteuid() == 0:
        return Path("/var/cache/zentoria")
    return Path.home() / ".cache/zentoria"


class BlobCache:
    """Content by SHA-256, and small JSON notes by kind and key.

    Args:
        root: the cache's folder; made when something is put into it.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def __contains__(self, sha256: object) -> bool:
        return isinstance(sha256, str) and bool(_SHA256.fullmatch(sha256)) and self._place(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """The file with this content. Whoever receives it checks the hash; :meth:`read` checks it here.

        Raises:
            ArtifactError: it is not in the cache.
        """
        place = self._place(sha256)
        if not place.is_file():
            raise ArtifactError(
                f"read {sha256[:12]}… from the cache", on=str(self.root), got="it is not there", todo="run `up` again"
            )
        return place

    def read(self, sha256: str) -> bytes:
        """The content, checked. Content that rotted is removed, so that the next run fetches it again.

        Raises:
            ArtifactError: it is not in the cache, or not what it was.
        """
        place = self.path(sha256)
        content = place.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            place.unlink(missing_ok=True)
            raise ArtifactError(
                "read a file from the cache",
                on=str(place),
                got=f"its SHA-256 is {found}: the disk or somebody changed it; removed",
                todo="run the command again: the file is fetched anew",
            )
        return content

    def add_file(self, path: Path) -> str:
        """Keep a copy of the file; return its SHA-256.

        Raises:
            ArtifactError: it cannot be read, or the cache cannot be written.
        """
        with self.incoming() as (stream, keep):
            try:
                source = path.open("rb")
            except OSError as error:
                raise ArtifactError(
                    "read a file",
                    on=str(path),
                    got=error.strerror or str(error),
                    todo="look at that file and its permissions, then run again",
                ) from error
            with source:
                while chunk := source.read(_CHUNK):
                    stream.write(chunk)
            return keep(None)

    @contextlib.contextmanager
    def incoming(self) -> Generator[tuple[_HashingFile, _Keep]]:
        """A file to write into, and a function that keeps it and returns its SHA-256.

        The function takes the hash that the content must have, or None; with another content it raises
        :class:`MismatchError` and keeps nothing. A file that was not kept is removed.

        Raises:
            ArtifactError: the cache cannot be written (disk full, no right).
        """
        folder = self.scratch()
        with self._writing():
            descriptor, name = tempfile.mkstemp(dir=folder)
        temporary = Path(name)
        try:
            with self._writing(), os.fdopen(descriptor, "wb") as raw:
                stream = _HashingFile(raw)

                def keep(expected: str | None) -> str:
                    raw.flush()
                    found = stream.hexdigest()
                    if expected is not None and found != expected:
                        raise MismatchError(expected, found)
                    os.fsync(raw.fileno())
                    place = self._place(found)
                    self._make(place.parent)
                    os.chmod(temporary, 0o644)
                    os.replace(temporary, place)
                    return found

                yield stream, keep
        finally:
            temporary.unlink(missing_ok=True)

    def scratch(self) -> Path:
        """A folder for temporary files, on the disk that the cache is on.

        Raises:
            ArtifactError: it cannot be made.
        """
        folder = self.root / "tmp"
        with self._writing():
            self._make(folder)
        return folder

    def note(self, kind: str, key: str) -> dict[str, Any] | None:
        """The note of that kind and key; None when there is none that can be read."""
        place = self._note_place(kind, key)
        try:
            found = json.loads(place.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write_note(self, kind: str, key: str, content: dict[str, Any]) -> None:
        """Write a note; it replaces the one before at once and entirely.

        Raises:
            ArtifactError: the cache cannot be written.
        """
        place = self._note_place(kind, key)
        with self._writing():
            self._make(place.parent)
            self._make(self.root / "tmp")
            descriptor, name = tempfile.mkstemp(dir=self.root / "tmp")
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(content, stream, indent=1, sort_keys=True)
            os.replace(name, place)

    def holds(self, hashes: Iterable[str]) -> bool:
        """Whether all of them are here."""
        return all(sha256 in self for sha256 in hashes)

    def _place(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"not a SHA-256: {sha256!r}")
        return self.root / "blobs" / sha256[:2] / sha256

    def _note_place(self, kind: str, key: str) -> Path:
        if not (_NOTE.fullmatch(kind) and _NOTE.fullmatch(key)):
            raise ValueError(f"not a note's name: {kind!r}, {key!r}")
        return self.root / "notes" / kind / f"{key}.json"

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactError(
                "write to the cache",
                on=str(self.root),
                got=error.strerror or str(error),
                todo="free some space or set ZENTORIA_CACHE to another folder",
            ) from error


class MismatchError(Exception):
    """Content has another hash than it must have."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found


class _Keep(Protocol):
    def __call__(self, expected: str | None, /) -> str: ...


class _HashingFile:
    """Writes through to a file and hashes what passes."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._raw.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._raw.flush()

    def restart(self) -> None:
        """Forget what was written: the download begins again."""
        self._raw.seek(0)
        self._raw.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

"""Files that survive kill -9: written beside and renamed; parsed once until they change."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Signature = tuple[int, int, int]


def write_atomic(path: Path, text: str, *, mode: int = 0o640) -> None:
    """Replace a file in one step; a reader sees the old or the new text, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_text(path: Path) -> str | None:
    """The text of a file; None when it does not exist."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def digest(text: str) -> str:
    """Proxmox's digest of a file: SHA-1 of its text; that of nothing for a file that is not there."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def signature(path: Path) -> Signature | None:
    """What changes when a file is replaced or edited; None when it does not exist."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


class Parsed(Generic[T]):
    """A file that is parsed again only when it has changed on disk. Safe to use from several threads.

    The parsed value is shared by its readers: treat it as read-only, parse a fresh one to change it.
    """

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self.path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._seen: Signature | None = None
        self._value: T | None = None

    def get(self) -> T:
        """What the file says now."""
        now = signature(self.path)
        with self._lock:
            if self._value is not None and self._seen == now:
                return self._value
        value = self.fresh()
        with self._lock:
            self._seen, self._value = now, value
        return value

    def fresh(self) -> T:
        """A copy of one's own, to change and write back."""
        return self._parse(read_text(self.path) or "")

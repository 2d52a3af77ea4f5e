"""Files that hold secrets: 0600 in a folder of 0700, written at once and entirely, by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

from zentoria_infra.errors import ZentoriaError


class PrivateFileError(ZentoriaError):
    """A file with secrets cannot be used, or is not as private as it must be."""


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Make the folder when it is not there, and keep other processes out of it.

    Raises:
        PrivateFileError: it cannot be made, others may enter it, or it belongs to somebody else.
    """
    try:
        _make(folder)
    except OSError as error:
        raise PrivateFileError(
            "make a private folder",
            on=str(folder),
            got=error.strerror or str(error),
            todo="make that place writable for you, or set `secrets_file` in the site file",
        ) from error
    _check(folder, folder.stat(), stat.S_ISDIR, "folder", 0o700)
    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PrivateFileError(
            "lock a private folder",
            on=str(folder),
            got=error.strerror or str(error),
            todo="make that place writable for you, or set `secrets_file` in the site file",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def require_usable(folder: Path) -> None:
    """See that files could be kept there, without making anything: as :func:`locked` finds out, but before it matters.

    Raises:
        PrivateFileError: they could not.
    """
    nearest = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if nearest == folder:
        _check(folder, folder.stat(), stat.S_ISDIR, "folder", 0o700)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise PrivateFileError(
            "keep secrets",
            on=str(folder),
            got=f"{nearest} is no folder that we may write",
            todo="make that place writable for you, or name another one in the site's file",
        )


def _make(folder: Path) -> None:
    """Make the folder and those above it that are missing, all of them private: secrets may come to lie in each."""
    if not folder.parent.is_dir():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def read(path: Path) -> bytes | None:
    """The content; None when there is no such file.

    Raises:
        PrivateFileError: others may read it, it belongs to somebody else, or it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PrivateFileError(
            "read secrets",
            on=str(path),
            got=error.strerror or str(error),
            todo="make the file yours (chown) with mode 0600, then run again",
        ) from error
    with os.fdopen(descriptor, "rb") as stream:
        # of the open file, not of its name: nobody can change one for the other in between
        _check(path, os.fstat(descriptor), stat.S_ISREG, "file", 0o600)
        return stream.read()


def write(path: Path, content: bytes) -> None:
    """Put ``content`` in the file's place; after a crash there is the old or the new content, never a part.

    Raises:
        PrivateFileError: it cannot be written; what was there is still there.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise PrivateFileError(
            "write secrets",
            on=str(path),
            got=error.strerror or str(error),
            todo="free some space, or make the folder writable; what was there is unchanged",
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path, found: os.stat_result, is_kind: Callable[[int], bool], kind: str, most: int) -> None:
    mode = stat.S_IMODE(found.st_mode)
    tried = f"use the {kind} of secrets"
    if not is_kind(found.st_mode):
        raise PrivateFileError(tried, on=str(path), got=f"it is no {kind}", todo="move it away")
    if found.st_uid != os.geteuid():
        raise PrivateFileError(
            tried,
            on=str(path),
            got=f"it belongs to user {found.st_uid}, and we are {os.geteuid()}",
            todo="run zentoria as the user who made it",
        )
    if mode & ~most:
        raise PrivateFileError(
            tried,
            on=str(path),
            got=f"its mode is {mode:04o}: others may read it",
            todo=f"chmod {most:o} {path}; if others could read it, have new secrets made",
        )

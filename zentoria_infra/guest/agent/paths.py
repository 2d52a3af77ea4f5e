"""Ways to a path that no other user of the guest can bend: the agent is root, and some folders are not root's."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from .failure import Failed

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 40
"""Symbolic links that the kernel follows in one path (path_resolution(7))."""
_PIECE = 1 << 20
PARTIAL = ".zentoria-new-"
"""Prefix of a file that is being written. The name is always the same, so that a killed run leaves no pile of them."""


@contextmanager
def parent(path: str, make: bool = False) -> Iterator[tuple[int, str]]:
    """The folder of ``path``, open, and the last name in it.

    Each folder on the way is opened by itself. A symbolic link is followed only when root made it (as /var/run is):
    any other could lead root's writing elsewhere.

    Args:
        path: absolute.
        make: make missing folders, as 0755.

    Raises:
        Failed: a link on the way is not root's, or something there is no folder.
        FileNotFoundError: a folder is missing.
    """
    head, name = os.path.split(os.path.normpath(path))
    if not head.startswith("/") or not name:
        raise Failed(f"{path!r} is not an absolute path")
    folder = _walk(head, make)
    try:
        yield folder, name
    finally:
        os.close(folder)


def open_folder(folder: int, name: str) -> int:
    """Open a folder within a folder; a link in its place is an error."""
    return os.open(name, _FOLDER, dir_fd=folder)


def replace(folder: int, name: str, data: Iterable[bytes], mode: int, uid: int, gid: int) -> None:
    """Write a file so that a reader sees the old or the new one, with owner and mode from its first moment.

    What raises while the pieces of ``data`` come leaves the old one.
    """
    partial = PARTIAL + name[:200]
    _clear(folder, partial)
    stream = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(stream, "wb") as file:
            file.writelines(data)
            file.flush()
            if uid >= 0:
                os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _clear(folder, partial)
        raise
    os.fsync(folder)


def link(folder: int, name: str, target: str) -> None:
    """Make or turn a symbolic link in one step."""
    partial = PARTIAL + name[:200]
    _clear(folder, partial)
    os.symlink(target, partial, dir_fd=folder)
    os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)


def read(folder: int, name: str) -> tuple[bytes, os.stat_result] | None:
    """Content of a regular file and what is known of it; None where there is none, or something else."""
    file = open_file(folder, name)
    if file is None:
        return None
    with file:
        return file.read(), os.fstat(file.fileno())


def open_file(folder: int, name: str) -> IO[bytes] | None:
    """Open a regular file; None where there is none, or something else."""
    try:
        stream = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(stream).st_mode):
        os.close(stream)
        return None
    return os.fdopen(stream, "rb")


def pieces(file: IO[bytes], size: int = -1) -> Iterator[bytes]:
    """What a stream holds, piece by piece: to its end, or so many bytes of it and no more."""
    while size:
        piece = file.read(min(size, _PIECE) if size > 0 else _PIECE)
        if not piece:
            return
        size -= len(piece) if size > 0 else 0
        yield piece


def checked(data: Iterable[bytes], sha256: str, wrong: str) -> Iterator[bytes]:
    """The same pieces; at their end, Failed with the text ``wrong`` where their hash is another one."""
    digest = hashlib.sha256()
    for piece in data:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != sha256:
        raise Failed(wrong)


def set_owner(stream: int, mode: int, uid: int, gid: int) -> None:
    """Owner and mode of something open, without a moment in which it is more open than before or after."""
    os.fchmod(stream, stat.S_IMODE(os.fstat(stream).st_mode) & mode)
    os.fchown(stream, uid, gid)
    os.fchmod(stream, mode)


def _clear(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _walk(path: str, make: bool) -> int:
    for _ in range(_LINKS):
        folder = os.open("/", _FOLDER)
        at = "/"
        parts = [part for part in path.split("/") if part]
        for index, part in enumerate(parts):
            try:
                step = _step(folder, part, make)
            except OSError as error:
                os.close(folder)
                raise type(error)(error.errno, error.strerror, os.path.join(at, part)) from None
            if isinstance(step, str):
                os.close(folder)
                if not step:
                    raise Failed(f"{os.path.join(at, part)} is in the way: no folder, and no link that root made")
                path = os.path.normpath(os.path.join(at, step, *parts[index + 1 :]))
                break
            os.close(folder)
            folder = step
            at = os.path.join(at, part)
        else:
            return folder
    raise Failed(f"{path}: too many symbolic links")


def _step(folder: int, name: str, make: bool) -> int | str:
    """The next folder, open; or the target of a link to follow; or an empty text for anything else."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        os.mkdir(name, 0o700, dir_fd=folder)
        made = os.open(name, _FOLDER, dir_fd=folder)
        os.fchmod(made, 0o755)
        return made
    except NotADirectoryError:
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        import errno

        if error.errno != errno.ELOOP:
            raise
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(seen.st_mode) and seen.st_uid in (0, os.geteuid()):
        return os.readlink(name, dir_fd=folder)
    return ""

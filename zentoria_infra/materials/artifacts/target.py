"""The machine that wheels are for: not the one they are chosen on."""

from __future__ import annotations

import dataclasses

from packaging.markers import Environment
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Names that wheels had before PEP 600, by glibc 2's minor version."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A CPython on Linux with glibc. The default is what Debian 13 has: Python 3.13, glibc 2.41.

    Args:
        python: the full version, as ``3.13.5``.
        machine: as ``uname -m`` says it.
        glibc: version of the C library; decides which manylinux wheels run there (PEP 600).
    """

    python: str = "3.13.5"
    machine: str = "x86_64"
    glibc: tuple[int, int] = (2, 41)

    @property
    def python_minor(self) -> str:
        """Major and minor version, as ``3.13``."""
        return ".".join(self.python.split(".")[:2])

    @property
    def abi(self) -> str:
        """The interpreter's ABI tag, as ``cp313``."""
        return "cp" + self.python_minor.replace(".", "")

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags that run there, the best one first."""
        major, minor = self.glibc
        found: list[str] = []
        for each in range(minor, 4, -1):
            found.append(f"manylinux_{major}_{each}_{self.machine}")
            if each in _LEGACY:
                found.append(f"{_LEGACY[each]}_{self.machine}")
        return (*found, f"linux_{self.machine}")

    @property
    def tags(self) -> frozenset[Tag]:
        """All wheel tags that install there."""
        version = tuple(int(part) for part in self.python_minor.split("."))
        return frozenset(
            (
                *cpython_tags(version, [self.abi], self.platforms),
                *compatible_tags(version, self.abi, self.platforms),
            )
        )

    @property
    def environment(self) -> Environment:
        """The values of PEP 508's environment markers there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": self.python_minor,
            "sys_platform": "linux",
        }

    def wants(self, requirement: Requirement, extras: frozenset[str] = frozenset()) -> bool:
        """Whether the requirement's marker is true there, for the distribution itself or one of its ``extras``."""
        if requirement.marker is None:
            return True
        marker = requirement.marker
        return any(
            marker.evaluate({**{key: str(value) for key, value in self.environment.items()}, "extra": extra})
            for extra in ("", *extras)
        )

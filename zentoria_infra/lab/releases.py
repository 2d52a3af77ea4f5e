"""The releases of Proxmox VE that a lab can be."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Release:
    """The release that a node says it is, as ``GET /version`` answers."""

    version: str
    release: str
    repoid: str

    @property
    def number(self) -> tuple[int, int]:
        """The release, to be compared: ``(9, 2)``."""
        major, _, minor = self.release.partition(".")
        return int(major), int(minor)

    @property
    def major(self) -> int:
        """8 or 9."""
        return self.number[0]


NEWEST = "9.2"
"""What a new lab is."""

_RELEASES = {
    release.release: release
    for release in (
        Release("8.4.21", "8.4", "2606ac850d46da29"),
        Release("9.0.11", "9.0", "3bf5476b8a4699e2"),
        Release("9.1.2", "9.1", "9d436f37a0ac4172"),
        Release("9.2.11", NEWEST, "14a22df3"),
    )
}
NAMES = tuple(_RELEASES)
"""Every release by its name, oldest first. 8.4.21 and 9.2.11 are those that the lab was compared with."""


def release_of(name: str) -> Release:
    """The release for a name as ``9.2``.

    Raises:
        ValueError: a lab cannot be that one.
    """
    try:
        return _RELEASES[name]
    except KeyError:
        raise ValueError(f"there is no release '{name}', only {', '.join(NAMES)}") from None

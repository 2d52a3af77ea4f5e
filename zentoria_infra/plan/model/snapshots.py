"""Snapshots of containers: how those of Zentoria are called, and how they are told from those of others. Pure.

A snapshot that Zentoria takes has the time in its name, and a mark in its description. Both must be there before it is
removed: what others have taken is left alone, whatever it is called.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from datetime import UTC, datetime

KEEP = 2
"""Snapshots of ours that a container keeps when a run has ended well."""

LOCKS = frozenset({"snapshot", "snapshot-delete", "rollback"})
"""Locks of a container that a task for snapshots holds (PVE::AbstractConfig), and leaves behind when it is killed."""

_NAME = re.compile(r"zentoria-(\d{8})-(\d{6})")
_MARK = re.compile(r"^zentoria-snapshot: (?P<id>[a-z0-9-]+/\d+)\s*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One snapshot of a container.

    Args:
        name: at most 40 characters, a letter first.
        description: free text.
        taken: Unix seconds.
        parent: the snapshot before it; empty for none.
        state: ``prepare`` or ``delete`` of one that was not finished; empty of a whole one.
    """

    name: str
    description: str = ""
    taken: int = 0
    parent: str = ""
    state: str = ""

    @property
    def time(self) -> str:
        """When it was taken, as ``2026-11-25 22:31 UTC``."""
        return f"{datetime.fromtimestamp(self.taken, UTC):%Y-%m-%d %H:%M} UTC"


def name_at(moment: datetime) -> str:
    """The name of a snapshot that is taken now, as ``zentoria-20261125-223100``, in UTC."""
    return f"zentoria-{moment.astimezone(UTC):%Y%m%d-%H%M%S}"


def is_our_name(name: str) -> bool:
    """Whether a snapshot has a name as we give them. Whose it is, its description tells: :func:`is_ours`."""
    return _NAME.fullmatch(name) is not None


def description(why: str, site_id: str, vmid: int) -> str:
    """Text of a snapshot's description.

    Args:
        why: one line: what it was taken for, and who asked.
        site_id: of the site.
        vmid: of the container.
    """
    return f"{why}\n\nzentoria-snapshot: {site_id}/{vmid}"


def is_ours(snapshot: Snapshot, site_id: str, vmid: int) -> bool:
    """Whether Zentoria has taken a snapshot, for this container of this site."""
    found = _MARK.search(snapshot.description)
    return is_our_name(snapshot.name) and found is not None and found["id"] == f"{site_id}/{vmid}"


def ours(snapshots: Iterable[Snapshot], site_id: str, vmid: int) -> tuple[Snapshot, ...]:
    """Our whole snapshots of a container, newest first."""
    found = (one for one in snapshots if is_ours(one, site_id, vmid) and not one.state)
    return tuple(sorted(found, key=lambda one: (one.taken, one.name), reverse=True))


def foreign(snapshots: Iterable[Snapshot], site_id: str, vmid: int) -> tuple[Snapshot, ...]:
    """Snapshots that others have taken, or that a task has left half done, by name."""
    mine = set(ours(snapshots, site_id, vmid))
    return tuple(sorted((one for one in snapshots if one not in mine), key=lambda one: one.name))

"""``storage.cfg``: the storages and what each type of them can do. ``local`` is the lab's own.

Two types can be made, as Proxmox has them: ``dir``, which cannot snapshot containers, and ``btrfs``, which can. The
files of either are in the lab's own folder (``LabLayout.images``), whatever its ``path`` on the node is said to be:
the lab's node is the user's machine, and it touches nothing of it outside that folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from zentoria_infra.lab.api import files
from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.layout import LOCAL

TYPES = ("dir", "btrfs")
"""Types of storages that can be made."""
_ALL = frozenset({"raw", "subvol"})
_RAW = frozenset({"raw"})
_NONE: frozenset[str] = frozenset()
_FEATURES: Mapping[str, Mapping[tuple[str, str], frozenset[str]]] = {
    "dir": {
        ("clone", "base"): _RAW,
        ("copy", "base"): _RAW,
        ("copy", "current"): _RAW,
        ("rename", "current"): _RAW,
    },
    "btrfs": {
        ("snapshot", "current"): _ALL,
        ("snapshot", "snap"): _ALL,
        ("clone", "base"): _ALL,
        ("clone", "current"): _RAW,
        ("clone", "snap"): _RAW,
        ("copy", "base"): _ALL,
        ("copy", "current"): _ALL,
        ("copy", "snap"): _ALL,
        ("rename", "current"): _RAW,
    },
}
"""Formats by feature and state of a volume (PVE::Storage::Plugin and BTRFSPlugin, volume_has_feature)."""
_DEFAULT_CONTENT = "iso,vztmpl,backup,snippets,images,rootdir"
Entry = dict[str, str]


def parse(text: str) -> dict[str, Entry]:
    """Read ``storage.cfg``: ``type: name`` followed by indented ``key value`` lines."""
    entries: dict[str, Entry] = {}
    current: Entry | None = None
    for line in text.split("\n"):
        if match := re.fullmatch(r"([a-z]+):\s*(\S+)\s*", line):
            current = entries.setdefault(match[2], {"type": match[1]})
        elif current is not None and line[:1].isspace() and line.strip():
            key, _, value = line.strip().partition(" ")
            current[key] = value.strip() or "1"
    return entries


def render(entries: Mapping[str, Mapping[str, str]]) -> str:
    """Write ``storage.cfg``."""
    blocks = []
    for name, entry in entries.items():
        lines = [f"\t{key} {entry[key]}\n" for key in sorted(entry) if key != "type"]
        blocks.append(f"{entry['type']}: {name}\n{''.join(lines)}")
    return "\n".join(blocks)


def has_feature(entry: Mapping[str, str], feature: str, name: str, *, snapshot: bool = False) -> bool:
    """Whether a volume of this name can be treated so: ``snapshot``, ``clone``, ``copy`` or ``rename``.

    ``snapshot`` asks it of a snapshot of the volume.
    """
    state = "snap" if snapshot else "base" if name.rpartition("/")[2].startswith("base-") else "current"
    return format_of(name) in _FEATURES.get(entry["type"], {}).get((feature, state), _NONE)


def format_of(name: str) -> str:
    """The format of a volume: ``raw`` or ``subvol``."""
    return "subvol" if name.endswith(".subvol") else "raw"


class Storages:
    """The storages of the node."""

    def __init__(self, path: Path, local: Path) -> None:
        self._path = path
        self._parsed = files.Parsed(path, parse)
        if not path.exists():
            entry = {"type": "dir", "path": str(local), "content": _DEFAULT_CONTENT}
            files.write_atomic(path, render({LOCAL: entry}))

    def all(self) -> Mapping[str, Entry]:
        """Every storage, read-only."""
        return self._parsed.get()

    def edit(self) -> dict[str, Entry]:
        """A copy, to change and save."""
        return self._parsed.fresh()

    def save(self, entries: Mapping[str, Entry]) -> None:
        """Write the storages."""
        files.write_atomic(self._path, render(entries))

    @property
    def digest(self) -> str:
        """The digest of the file."""
        return files.digest(files.read_text(self._path) or "")

    def enabled(self, name: str) -> Entry:
        """A storage that exists and is not disabled. Raises a 500 Fault."""
        entry = self.all().get(name)
        if entry is None:
            raise internal(f"storage '{name}' does not exist")
        if entry.get("disable") == "1":
            raise internal(f"storage '{name}' is disabled")
        return entry

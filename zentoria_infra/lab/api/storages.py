"""``storage.cfg``: the storages and what is in them. Only ``dir`` storages can be made; ``local`` is the lab's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from zentoria_infra.lab.api import files
from zentoria_infra.lab.api.faults import internal

LOCAL = "local"
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

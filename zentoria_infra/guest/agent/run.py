"""What all handlers of one run share, and what each unit last started with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from . import common, masking
from .common import Failed, Resource

INCOMING = os.path.join(common.STATE, "incoming")
KEPT = "units.json"
UNIT_FOLDERS = ("/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/")

Tell = Callable[["dict[str, Any]"], None]


_SPLIT = "."
"""Between the hash of what a unit restarts for and that of what it reloads for."""


def _hash(parts: Sequence[Resource]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Starts:
    """What each unit last started with, kept so that a killed run is made good by the next one."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._kept: dict[str, str] = common.load_json(KEPT)
        self._wanted: dict[str, str] = {}
        self._readers: dict[str, list[tuple[str, bool]]] = {}
        by_id = {one["id"]: one for one in resources}
        for unit in resources:
            if unit["kind"] != "unit" or not unit["reads"]:
                continue
            soft = set(unit["reloads"])
            kinds = [[by_id[read] for read in unit["reads"] if (read in soft) == reload] for reload in (False, True)]
            self._wanted[unit["name"]] = _SPLIT.join(_hash(parts) for parts in (kinds if soft else kinds[:1]))
            for read in unit["reads"]:
                self._readers.setdefault(read, []).append((unit["name"], read in soft))

    def stale(self, name: str) -> str:
        """What a unit needs that runs with something else than what it reads now: restart, reload, or nothing."""
        kept, wanted = self._kept.get(name, ""), self._wanted.get(name, "")
        if kept == wanted or not wanted:
            return ""
        hard, split, _ = wanted.partition(_SPLIT)
        enough = split and (hard == _hash([]) or (_SPLIT in kept and hard == kept.partition(_SPLIT)[0]))
        return "reload" if enough else "restart"

    def forget(self, resource_id: str) -> None:
        """Before a resource changes: the units that read it no longer run with what is there."""
        before = dict(self._kept)
        for name, reload in self._readers.get(resource_id, ()):
            kept = self._kept.pop(name, "")
            if reload and _SPLIT in kept:
                self._kept[name] = kept.partition(_SPLIT)[0] + _SPLIT
        if self._kept != before:
            common.save_json(KEPT, self._kept)

    def started(self, name: str) -> None:
        """After a unit has (re)started."""
        if name in self._wanted and self._kept.get(name) != self._wanted[name]:
            self._kept[name] = self._wanted[name]
            common.save_json(KEPT, self._kept)

    def drop(self, name: str) -> None:
        """A unit is gone."""
        if self._kept.pop(name, None):
            common.save_json(KEPT, self._kept)

    def snapshot(self) -> dict[str, str]:
        """What is kept now, for :meth:`restore`."""
        return dict(self._kept)

    def restore(self, kept: dict[str, str]) -> None:
        """Put back what was kept: a release returned to the one before."""
        self._kept = dict(kept)
        common.save_json(KEPT, self._kept)


class Run:
    """One run: what all handlers share.

    Args:
        request: as it came.
        tell: says something to the other side.
        hold: file descriptors that commands must not outlive.
        installed: version by name of the packages that are asked for.
        starts: what each unit last started with.
        show: properties of units by name, asked once.
    """

    def __init__(
        self,
        request: dict[str, Any],
        tell: Tell,
        hold: Sequence[int],
        installed: dict[str, str],
        starts: Starts,
        show: Callable[[Sequence[str]], dict[str, dict[str, str]]],
    ) -> None:
        self.apply = request["mode"] == "apply"
        self.key = bytes.fromhex(request.get("key", ""))
        self.resources: list[Resource] = request["state"]["resources"]
        self.hold = hold
        self.tell = tell
        self.changed: set[str] = set()
        self.restarted: list[str] = []
        self.reloaded: list[str] = []
        self.verbs: dict[str, str] = {}
        self.masked: set[str] = set()
        self.unit_files_changed = False
        self.unit_links_changed = False
        self.at = ""
        self.mask = masking.Mask(self.resources)
        self.installed = installed
        self.starts = starts
        self.starts_before = starts.snapshot()
        self._show = show
        self._units: dict[str, dict[str, str]] | None = None

    @property
    def pending(self) -> bool:
        """Whether something before would change."""
        return bool(self.changed)

    @property
    def units(self) -> dict[str, dict[str, str]]:
        """Properties of all units, asked once, when the first one is reached (packages bring units)."""
        if self._units is None:
            self._units = self._show([one["name"] for one in self.resources if one["kind"] == "unit"])
            if any(one.get("NeedDaemonReload") == "yes" for one in self._units.values()):
                self.unit_files_changed = True
        return self._units

    def progress(self, text: str) -> None:
        """Say what the resource at hand is at."""
        self.tell({"event": "progress", "id": self.at, "text": text})

    def will_change(self, resource: Resource) -> None:
        """Right before a resource changes."""
        self.starts.forget(resource["id"])
        if str(resource.get("path", "")).startswith(UNIT_FOLDERS):
            self.unit_files_changed = True

    def blob_path(self, sha256: str, folder: str = INCOMING) -> str:
        """Path of content that was sent, or was kept from a run before."""
        for place in (INCOMING, folder):
            path = os.path.join(place, sha256)
            if os.path.isfile(path):
                return path
        raise Failed(f"the content {sha256[:12]} was not sent")

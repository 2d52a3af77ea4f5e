"""From the files to an inventory: read, overlay, validate, check. Everything that is wrong is told at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from zentoria_infra.inventory.checks import check
from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.inventory.network_model import Zones
from zentoria_infra.inventory.problems import InvalidInventoryError, Position, Problem, problem
from zentoria_infra.inventory.site_model import Site
from zentoria_infra.inventory.wording import explain, nearest
from zentoria_infra.inventory.yaml.positions import Node, SectionPositions, merge, node_of, read_yaml

ZONES = "zones.yaml"
SITE = "inventory/site.yaml"
SITES = "inventory/sites"
CONTAINERS = "inventory/containers"

_FILE_NAME = re.compile(r"(?P<vmid>[0-9]+)-(?P<name>[a-z][a-z0-9-]*)\.yaml")
_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

_Model = TypeVar("_Model", bound=BaseModel)


def load(
    root: Path,
    site: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    overlay_files: Sequence[Path] = (),
    more: Callable[[Inventory], Iterable[Problem]] | None = None,
) -> Inventory:
    """Read, overlay, validate and check the inventory below ``root``.

    Layers of the site, each laid on the one before: inventory/site.yaml, inventory/sites/<site>.yaml,
    ``overlay_files`` in their order, ``overrides``. A ``site`` that is the ``id`` in inventory/site.yaml, or None, is
    that file alone. Mappings are merged, anything else (lists too) is replaced.
    Relative paths under keys that end in ``_file`` belong to the folder of the file that holds them (those of
    ``overrides`` to ``root``).

    ``more`` finds further problems of an inventory that has none of its own kind: what roles want of it is above here.

    Raises:
        InvalidInventoryError: with every problem that was found.
    """
    loader = _Loader(root)
    inventory = loader.run(site, overrides or {}, overlay_files)
    if loader.problems or inventory is None:
        raise InvalidInventoryError(loader.problems)
    if more is not None and (problems := list(more(inventory))):
        raise InvalidInventoryError(problems)
    return inventory


class _Loader:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.sections: dict[str, Node] = {}
        self.broken: set[str] = set()
        self._folder = CONTAINERS
        """The folder of the containers' files, as it is called in messages."""

    def run(
        self, site_name: str | None, overrides: Mapping[str, Any], overlay_files: Sequence[Path]
    ) -> Inventory | None:
        zones_node = read_yaml(self.root / ZONES, ZONES, self.problems)
        site_node = self._site(site_name, overrides, overlay_files)
        containers = self._containers(site_node)
        zones = self._validate(Zones, zones_node, "zones")
        site = self._validate(Site, site_node, "site")
        if zones is None or site is None:
            return None
        inventory = Inventory(
            root=self.root,
            site=site,
            networks=zones.networks,
            zones=zones.zones,
            reserved=zones.reserved,
            flows=zones.flows,
            assertions=zones.assertions,
            containers=tuple(sorted(containers, key=lambda container: container.vmid)),
            positions=SectionPositions(self.sections),
        )
        self.problems.extend(check(inventory, frozenset(self.broken)))
        return inventory

    def _validate(self, model: type[_Model], node: Node | None, section: str) -> _Model | None:
        if node is None:
            return None
        self.sections[section] = node
        try:
            return model.model_validate(node.plain())
        except ValidationError as error:
            self.problems.extend(explain(error, model, node))
            return None

    def _label(self, path: Path) -> str:
        try:
            return path.resolve().relative_to(self.root.resolve()).as_posix()
        except (ValueError, OSError, RuntimeError):  # outside of the project; a link to itself
            return str(path)

    def _site(self, name: str | None, overrides: Mapping[str, Any], files: Sequence[Path]) -> Node | None:
        base = read_yaml(self.root / SITE, SITE, self.problems)
        layers = [(self.root / SITE, base)]
        paths = list(files)
        if name is not None and (overlay := self._overlay(name, base)):
            paths.insert(0, overlay)
        layers += [(path, read_yaml(path, self._label(path), self.problems)) for path in paths]
        merged: Node | None = None
        for path, node in layers:
            if node is None:
                return None
            _anchor_paths(node, path.resolve().parent)
            merged = merge(merged, node) if merged else node
        if overrides and merged:
            over = node_of(overrides, Position("overrides"))
            _anchor_paths(over, self.root.resolve())
            merged = merge(merged, over)
        return merged

    def _overlay(self, name: str, base: Node | None) -> Path | None:
        """The file of a site; None when it is the base itself, or there is none (then that is a problem)."""
        overlay = self.root / SITES / f"{name}.yaml"
        if _SITE_NAME.fullmatch(name) and os.path.lexists(overlay):
            return overlay
        own = base.get("id") if base else None
        if own and own.value == name:
            return None
        known = sorted(path.stem for path in (self.root / SITES).glob("*.yaml"))
        known += [own.value] if own and isinstance(own.value, str) else []
        listed = f"; there are: {', '.join(known)}" if known else ""
        text = f"there is no site '{name}'{nearest(name, known) or listed}"
        self.problems.append(problem(Position(f"{SITES}/{name}.yaml"), text))
        return None

    def _containers(self, site: Node | None) -> list[Container]:
        folder = self.root / CONTAINERS
        try:
            files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            self.problems.append(problem(Position(CONTAINERS), f"the folder cannot be read: {error.strerror}"))
            return []
        if not files:
            self.problems.append(problem(Position(CONTAINERS), "there is no container: VMID-NAME.yaml files go here"))
        overrides = site.get("containers") if site else None
        self._folder = self._label(folder)
        found: list[Container] = []
        names: set[str] = set()
        for path in files:
            container = self._container(path, site, names)
            if container is not None:
                found.append(container)
        self._check_overrides(overrides, names)
        return found

    def _container(self, path: Path, site: Node | None, names: set[str]) -> Container | None:
        label = self._label(path) if path.is_symlink() else f"{self._folder}/{path.name}"
        match = _FILE_NAME.fullmatch(path.name)
        if not match:
            self.problems.append(problem(Position(label), "the file's name must be VMID-NAME.yaml, as 404-db.yaml"))
            return None
        names.add(match["name"])
        node = read_yaml(path, label, self.problems)
        if node is None:
            self.broken.add(match["name"])
            return None
        written = node.get("name")
        name = str(written.value) if written else match["name"]
        names.add(name)
        for expected, key in ((int(match["vmid"]), "vmid"), (match["name"], "name")):
            value = node.get(key)
            if value is not None and type(value.value) is type(expected) and value.value != expected:
                text = f"'{key}' is {value.value}, and the file's name says {expected}"
                self.problems.append(problem(value.at, text))
        node = _layered(node, name, site)
        for expected, key in ((int(match["vmid"]), "vmid"), (match["name"], "name")):
            value = node.get(key)
            if value is not None and value.at.file != label and value.value != expected:
                text = f"'{key}' is {value.value}, and {label} is the file of {expected}: they are one container"
                self.problems.append(problem(value.at, text))
        container = self._validate(Container, node, f"file {path.name}")
        if container is None:
            self.broken.update((match["name"], name))
        else:
            self.sections[f"container {container.vmid} {container.name}"] = node
        return container

    def _check_overrides(self, overrides: Node | None, names: set[str]) -> None:
        """Overrides of containers that do not exist, or that are no mappings."""
        if overrides is None or not isinstance(overrides.value, dict):
            return
        for name, entry in overrides.value.items():
            if name not in names:
                self.problems.append(problem(entry.at, f"there is no container '{name}'{nearest(name, names)}"))
            elif not isinstance(entry.node.value, dict):
                self.problems.append(problem(entry.node.at, f"'{name}' must be a mapping (key: value)"))


def _layered(node: Node, name: str, site: Node | None) -> Node:
    """A container's file between the site's defaults and its overrides."""
    if site is None:
        return node
    overrides = site.get("containers")
    layered = node
    if (defaults := site.get("container_defaults")) and isinstance(defaults.value, dict):
        layered = merge(defaults, layered)
    for over in (site.get("every_container"), overrides.get(name) if overrides else None):
        if over and isinstance(over.value, dict):
            layered = merge(layered, over)
    return Node(layered.value, node.at)


def _anchor_paths(node: Node, folder: Path) -> None:
    """Make relative paths under ``*_file`` keys absolute, and ``~`` the user's home."""
    if isinstance(node.value, list):
        for item in node.value:
            _anchor_paths(item, folder)
    elif isinstance(node.value, dict):
        for key, entry in node.value.items():
            text = entry.node.value
            if key.endswith("_file") and isinstance(text, str) and text:
                entry.node = Node(str(_absolute(text, folder)), entry.node.at)
            else:
                _anchor_paths(entry.node, folder)


def _absolute(text: str, folder: Path) -> Path:
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:  # "~nobody-like-this": no home is known; the path stays as it was written
        return folder / text


__all__ = ["CONTAINERS", "SITE", "SITES", "ZONES", "load"]

"""Which labs there are on this machine, and what each was started with: ``lab.json`` in its folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from zentoria_infra.errors import LabError
from zentoria_infra.lab.layout import LabLayout, default_root

DEFAULT = "default"
"""Name of the lab that a person gets without naming one."""

Guests = Literal["lxc", "none"]


@dataclasses.dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    api: int = 8006
    ssh: int = 2222
    https: int = 8443
    http: int = 8080

    def named(self) -> dict[str, int]:
        """Port by what it is for, as the command line names it."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Lab:
    """One lab: its name, what is inside its guests, its ports, and hosts that its proxy lets through besides.

    ``strict`` puts the node's own firewall before what guests ask of the node, as it is on Proxmox.
    """

    name: str
    guests: Guests
    ports: Ports
    allow: tuple[str, ...] = ()
    strict: bool = False

    @property
    def layout(self) -> LabLayout:
        """Where it keeps its things."""
        ports = self.ports
        return LabLayout(
            self.name, root_of(self.name), api_port=ports.api, ssh_port=ports.ssh,
            https_port=ports.https, http_port=ports.http,
        )  # fmt: skip

    @property
    def file(self) -> Path:
        """Where this is kept."""
        return _file(self.name)

    def save(self) -> None:
        """Write it, whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".new")
        partial.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
        partial.replace(self.file)


def root_of(name: str) -> Path:
    """A lab's folder.

    Raises:
        LabError: that can be no lab's name.
    """
    LabLayout(name, Path())
    return default_root() / name


def _file(name: str) -> Path:
    return root_of(name) / "lab.json"


def find(name: str) -> Lab | None:
    """A lab by its name; None when it was never started, or was removed.

    Raises:
        LabError: the name can be no lab's, or its file cannot be read.
    """
    file = _file(name)
    try:
        values = json.loads(file.read_text())
        ports = Ports(**{key: int(value) for key, value in values["ports"].items()})
        if values["guests"] not in ("lxc", "none"):
            raise ValueError(f"guests are {values['guests']!r}")
        return Lab(name, values["guests"], ports, tuple(values.get("allow", ())), bool(values.get("strict", False)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"read what lab '{name}' was started with", on=str(file), got=str(error) or type(error).__name__,
            todo=f"restore the file, or remove the lab with 'zentoria lab reset --name {name}'",
        ) from error  # fmt: skip


def every() -> Iterator[Lab]:
    """All labs of this machine (of this user, without root) whose files can be read."""
    root = default_root()
    if not root.is_dir():
        return
    for file in sorted(root.glob("*/lab.json")):
        with contextlib.suppress(LabError):
            if (lab := find(file.parent.name)) is not None:
                yield lab

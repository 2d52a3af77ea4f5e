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
from zentoria_infra.lab.releases import NEWEST, release_of

DEFAULT = "default"
"""Name of the lab that a person gets without naming one."""

MARKER = ".zentoria-lab"
"""File in a lab's folder that says whose folder it is: only a folder that carries it is ever removed."""

Guests = Literal["lxc", "none"]

_FIRST = "8.4"
"""What labs were before they could be told."""


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

    Args:
        firewall_cycle: seconds after which its firewall looks at the files again.
        pve: the release of Proxmox VE that it is.
    """

    name: str
    guests: Guests
    ports: Ports
    allow: tuple[str, ...] = ()
    strict: bool = False
    firewall_cycle: float = 10.0
    pve: str = NEWEST

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


def claim(name: str) -> bool:
    """Have a lab's folder carry our marker. False when it did before, and so was a lab already.

    Raises:
        LabError: something is there that is no lab of ours; it is left as it is.
    """
    root, began = root_of(name), not is_lab(name)
    if began:
        require_nothing(name)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).write_text(_marker(name))
    return began


def is_lab(name: str) -> bool:
    """Whether a lab's folder is one that we have made: by its marker, or by what it was started with."""
    root = root_of(name)
    if root.is_symlink():
        return False
    with contextlib.suppress(OSError, ValueError):
        if (root / MARKER).read_text() == _marker(name):
            return True
    try:
        return find(name) is not None
    except LabError:
        return False


def require_nothing(name: str) -> None:
    """See that nothing of anybody is where a lab would be: an empty folder, or none.

    Raises:
        LabError: something is there.
    """
    root = root_of(name)
    try:
        if root.is_dir() and not root.is_symlink() and next(root.iterdir(), None) is None:
            return
    except OSError as error:
        raise LabError("use the folder of a lab", on=str(root), got=str(error), todo="see who owns it") from error
    if root.exists() or root.is_symlink():
        raise LabError(
            f"use the folder of lab '{name}'",
            on=str(root),
            got=f"something is there, and it is no lab (it has no file {MARKER} of ours)",
            todo="name the lab otherwise (--name), or set $ZENTORIA_LAB_ROOT to a folder of its own; "
            "what is there was left as it is",
        )


def _marker(name: str) -> str:
    return f"The lab '{name}' of Zentoria. `zentoria lab reset` removes this folder with all that is in it.\n"


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
        return Lab(
            name, values["guests"], ports, tuple(values.get("allow", ())), bool(values.get("strict", False)),
            float(values.get("firewall_cycle", 10.0)), release_of(values.get("pve", _FIRST)).release,
        )  # fmt: skip
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

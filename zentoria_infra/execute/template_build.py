"""Makes the site's prepared template: in a container of the inventory that is not there yet, which goes again.

Why so. A ``vzdump`` would need more rights than the site's token has, and leaves a backup, which is no template; a
``chroot`` on the workstation needs root there, and Debian; and a program of ours that packs on the node would have to
run there as root. This way takes what a run takes anyway: the container's firewall is in force before it starts, its
packages come through the same opening, the agent installs them, and its file system comes back over the same SSH. Only
the upload asks for a right that a site's token does not have, and shall not: it could replace templates of others.

What a run that dies leaves is a container of the inventory that is ours: the next ``up`` makes it what it shall be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from zentoria_infra.errors import GuestError, RefusedError
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.recipe import SourceMaterials
from zentoria_infra.firewall.change.steps import (
    DATACENTER,
    DropAlias,
    DropEntry,
    DropGroup,
    DropIpSet,
    DropRule,
    InsertRule,
    MakeGroup,
    MakeIpSet,
    PutAlias,
    PutEntry,
    SetOptions,
    Step,
)
from zentoria_infra.guest.state import GuestState
from zentoria_infra.inventory.model import Container, Inventory
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.stages.base import DATACENTER as NAME
from zentoria_infra.plan.stages.types import LoseFlows
from zentoria_infra.proxmox.shell.pct import Pct
from zentoria_infra.roles.prepared import Prepared, prepared, prepared_state

SILENCE = 300.0
"""Seconds without a byte after which packing counts as stuck."""

_CLEAN = (
    # what each container makes, or is given, anew
    ": >/etc/machine-id; : >/etc/resolv.conf",
    "rm -f /var/lib/dbus/machine-id /etc/hostname /etc/hosts /etc/.pve-ignore.hosts /etc/ssh/ssh_host_*_key*",
    "rm -f /etc/apt/apt.conf.d/80zentoria /var/lib/systemd/random-seed /root/.bash_history",
    "rm -rf /var/lib/zentoria",
    # what is left of the installation. The lists of packages stay: each container would fetch them anew
    "rm -rf /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old",
    "find /var/log -type f -delete",
)
_LEFT_OUT = ("dev", "proc", "sys", "run", "tmp", "var/tmp", "var/log/journal")
"""Folders that are there and empty: most are file systems of their own."""


def pack_argv() -> list[str]:
    """The command that cleans a container and writes its file system to standard output, as a tar packed with zstd."""
    lines = [
        "set -eu",
        "journalctl --quiet --flush --rotate >&2 || true",
        *_CLEAN,
        "sync",
        # 1: a file changed while it was read, as those of a running systemd may
        "{ tar --create --directory=/ --one-file-system --numeric-owner --sort=name --xattrs"
        " --xattrs-include=security.capability "
        + " ".join(f"--exclude='./{one}/*'" for one in _LEFT_OUT)
        + " . || [ $? = 1 ]; } | zstd --quiet -3 --threads=0",
    ]
    return ["bash", "-o", "pipefail", "-c", "\n".join(lines)]


def pack(pct: Pct, vmid: int, file: Path, say: Callable[[int], None] = lambda size: None) -> None:
    """Write a container's file system to ``file``; the container is good for nothing then, and is to be destroyed.

    Args:
        pct: the node's.
        vmid: the container, which runs and has what the template shall have.
        file: where to; it is there whole or not at all.
        say: told of the bytes so far.

    Raises:
        GuestError: it could not be packed.
    """
    tried = f"pack the file system of container {vmid}"
    partial = file.with_name(f".{file.name}.partial")
    size = 0
    try:
        with pct.session(vmid, pack_argv(), SILENCE, tried=tried) as session, partial.open("wb") as stream:
            session.close_stdin()
            while data := session.read_some():
                stream.write(data)
                size += len(data)
                say(size)
            code = session.close()
            said = session.stderr.decode(errors="replace").strip()
        if code or not size:
            raise GuestError(
                tried,
                got=f"exit code {code}, {size} bytes: {said[-2000:]}",
                todo="see that there is room on the container's disk, then run again",
            )
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def builder(inventory: Inventory, there: Collection[int], name: str = "") -> Container:
    """The container of the inventory that the template is made in: one that does not exist yet.

    Args:
        inventory: of the site.
        there: VMIDs that exist.
        name: the one that somebody wants; empty for the one that serves best.

    Raises:
        RefusedError: there is none.
    """
    fit = [one for one in inventory.containers if one.unprivileged and one.public is None]
    fit.sort(key=lambda one: (len(one.volumes), one.resources.rootfs, one.vmid))
    chosen = [one for one in fit if one.vmid not in there and name in ("", one.name, str(one.vmid))]
    if not chosen:
        raise RefusedError(
            "build a template",
            got=f"it is made in a container of the inventory that does not exist yet, and {name or 'each of them'} "
            "exists, is privileged, or has a public address",
            todo="take a container without data down (`zentoria down NAME`), and name it: `--in NAME`",
        )
    return chosen[0]


def bare(inventory: Inventory, container: Container) -> tuple[DesiredContainer, ...]:
    """The containers of the inventory; that in which the template is made without volumes and protection."""
    return tuple(
        dataclasses.replace(one, volumes=(), protect=False, needs=frozenset()) if one.vmid == container.vmid else one
        for one in desired_containers(inventory)
    )


def as_it_was(plan: Plan) -> tuple[LoseFlows, ...]:
    """What takes the datacenter's firewall back to before a build, once its container is gone.

    Nothing, where that firewall was on before: then others rely on it. Members that joined the IP set ``management``,
    so that the node stays in reach, stay.
    """
    if not plan.switch_on:
        return ()
    back = (undone for step in reversed(plan.datacenter.gained) for undone in _undone(step))
    steps: tuple[Step, ...] = (SetOptions(DATACENTER, {"enable": "0"}), *back)
    return (LoseFlows(0, NAME, f"{NAME}:as-it-was", (), steps),)


def _undone(step: Step) -> tuple[Step, ...]:
    """What takes back what a step makes; nothing where it changes what was there."""
    match step:
        case PutAlias(exists=False):
            return (DropAlias(step.where, step.alias.name),)
        case MakeIpSet():
            return (DropIpSet(step.where, step.name),)
        case PutEntry(exists=False):
            return (DropEntry(step.where, step.ipset, step.entry.cidr),)
        case MakeGroup():
            return (DropGroup(step.name),)
        case InsertRule():
            return (DropRule(step.where, step.rule),)
    return ()


class BuilderInside(GuestsInside):
    """The inside of the container in which a template is made: packages, and nothing else."""

    def _compiled(self, vmid: int) -> tuple[GuestState, Mapping[str, str]]:
        container = self._inventory.by_vmid(vmid)
        return prepared_state(self._inventory, container, self._all_materials()), {}


def of_site(inventory: Inventory) -> Prepared:
    """What the template of a site holds. Made without keys, network, wheels or files."""
    return prepared(inventory, SourceMaterials(inventory.root))


def found(inventory: Inventory, templates: Mapping[str, int]) -> str:
    """The volume id that the site's prepared template has.

    Args:
        inventory: of the site.
        templates: of the node: sizes in bytes by volume id.

    Raises:
        RefusedError: the template that it is made from is not there.
    """
    what = of_site(inventory)
    size = templates.get(what.base)
    if size is None:
        raise RefusedError(
            "build a template",
            got=f"the node has no template {what.base}",
            todo="download it (`pveam download`) or set `template` in the site's file",
        )
    return what.volid(size)

"""What real guests need on this machine, and how to get what is missing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from zentoria_infra.lab.lxc import cgroup
from zentoria_infra.lab.lxc.commands import PATH, run
from zentoria_infra.lab.runtime import RuntimeFailure

PROGRAMS = {
    "lxc-start": "lxc",
    "lxc-attach": "lxc",
    "lxcfs": "lxcfs",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "zstd": "zstd",
    "gpgv": "gpgv",
}
"""Programs that the runtime uses and the Debian packages that have them."""

FIREWALL_PROGRAMS = {"iptables": "iptables", "ipset": "ipset", "conntrack": "conntrack"}
"""Programs without which guests run, but nothing filters their packets as a node of Proxmox does."""


@dataclasses.dataclass(frozen=True)
class Missing:
    """One thing that is not there."""

    what: str
    how: str
    """How to get it; packages are put together in one command by :func:`sentence`."""
    package: str = ""


def missing() -> list[Missing]:
    """Everything that real guests need and this machine lacks; empty when they can run.

    Without root only that is said: most of the rest cannot be tried.
    """
    if os.geteuid() != 0:
        return [Missing("root", "run it as root"), *_programs()]
    found = _programs()
    if "memory" not in cgroup.probe().controllers:
        found.append(Missing("the memory cgroup", "boot with cgroup_enable=memory"))
    if not _overlay():
        found.append(Missing("the overlay file system", "load the kernel module 'overlay'"))
    if not Path("/dev/fuse").exists():
        found.append(Missing("/dev/fuse", "load the kernel module 'fuse'"))
    if _number("/proc/sys/user/max_user_namespaces") < 1:
        found.append(Missing("user namespaces", "set sysctl user.max_user_namespaces"))
    if not found and not _veth():
        found.append(Missing("virtual network devices", "load the kernel modules 'veth' and 'bridge'"))
    return found


def sentence(found: list[Missing], who: str = "real guests need") -> str:
    """One line for a person: what is missing and how to get it; empty for an empty list."""
    if not found:
        return ""
    names = ", ".join(item.what for item in found)
    ways = list(dict.fromkeys(item.how for item in found if not item.package))
    if packages := list(dict.fromkeys(item.package for item in found if item.package)):
        ways.append("apt-get install --no-install-recommends " + " ".join(packages))
    return f"{who} {names}: {'; '.join(ways)}"


def firewall_missing() -> list[Missing]:
    """Programs of :data:`FIREWALL_PROGRAMS` that are not there."""
    return _programs(FIREWALL_PROGRAMS)


def _programs(wanted: Mapping[str, str] = PROGRAMS) -> list[Missing]:
    return [
        Missing(program, f"install {package}", package)
        for program, package in wanted.items()
        if shutil.which(program, path=PATH) is None
    ]


def _overlay() -> bool:
    if "overlay" in Path("/proc/filesystems").read_text().split():
        return True
    try:
        run(["modprobe", "overlay"])
    except RuntimeFailure:
        return False
    return "overlay" in Path("/proc/filesystems").read_text().split()


def _veth() -> bool:
    """Try it in a network namespace that ends with the program."""
    batch = "link add name zt0 type veth peer name zt1\nlink add name zt2 type bridge\n"
    try:
        run(["unshare", "--net", "--", "ip", "-batch", "-"], feed=batch)
    except RuntimeFailure:
        return False
    return True


def _number(file: str) -> int:
    try:
        return int(Path(file).read_text())
    except (OSError, ValueError):
        return 0

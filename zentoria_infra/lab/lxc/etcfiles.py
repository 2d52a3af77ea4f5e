"""Files in a guest's /etc that the host writes: hostname, hosts, resolv.conf.

Proxmox keeps its lines between markers and leaves the rest of a file alone; so do we. A guest could put a
link where we write, so no link is ever followed: every step goes through a folder's descriptor.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from zentoria_infra.lab.lxc import config as pve
from zentoria_infra.lab.runtime import Config, RuntimeFailure

BEGIN = "# --- BEGIN PVE ---"
END = "# --- END PVE ---"

_LIMIT = 1024 * 1024


def section(text: str, lines: list[str]) -> str:
    """Put ``lines`` between the markers of a file's text; at its end when it has no markers yet."""
    head, found, rest = text.partition(BEGIN + "\n")
    if found:
        _, _, tail = rest.partition(END + "\n")
    elif text and not text.endswith("\n"):
        head, tail = text + "\n", ""
    else:
        tail = ""
    middle = "\n".join([BEGIN, *lines, END]) + "\n" if lines else ""
    return head + middle + tail


def hosts_lines(vmid: int, config: Config) -> list[str]:
    """The lines of /etc/hosts that Proxmox writes: the guest's own address and names."""
    names = pve.hostname(vmid, config)
    domain = (config.get("searchdomain") or "").split(" ")[0]
    if "." in (whole := config.get("hostname", "")):
        names = f"{whole} {names}"
    elif domain:
        names = f"{names}.{domain} {names}"
    address = next((str(net.address.ip) for net in pve.nets(config) if net.address), "127.0.1.1")
    return [f"{address} {names}"]


def resolver_lines(config: Config) -> list[str]:
    """The lines of /etc/resolv.conf: empty without ``nameserver``, for the host's would not be reachable."""
    lines = []
    if domains := config.get("searchdomain", "").strip():
        lines.append(f"search {domains}")
    lines += [f"nameserver {server}" for server in config.get("nameserver", "").split()]
    return lines


def write(rootfs: Path, vmid: int, config: Config) -> None:
    """Write the files into a guest's root file system, mounted on the host.

    Raises:
        RuntimeFailure: /etc is not a folder, or the guest's disk is full.
    """
    try:
        with _folder(rootfs) as top, _folder("etc", top) as etc:
            name = pve.hostname(vmid, config)
            _put(etc, "hostname", name + "\n")
            _put(etc, "hosts", section(_get(etc, "hosts", _LOCALHOST), hosts_lines(vmid, config)))
            _put(etc, "resolv.conf", section(_get(etc, "resolv.conf", ""), resolver_lines(config)))
    except OSError as failure:
        raise RuntimeFailure(f"unable to write the files in /etc of CT {vmid}: {failure}") from failure


_LOCALHOST = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


@contextlib.contextmanager
def _folder(path: str | Path, parent: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _get(folder: int, name: str, default: str) -> str:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:  # absent, or a link: both are replaced
        return default
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        return file.read(_LIMIT)


def _ignored(folder: int, name: str) -> bool:
    """Whether the guest has ``.pve-ignore.NAME``: Proxmox leaves such a file alone (pct(1), guest configuration)."""
    try:
        return stat.S_ISREG(os.stat(f".pve-ignore.{name}", dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _put(folder: int, name: str, text: str) -> None:
    if _ignored(folder, name) or _get(folder, name, "") == text:
        return
    partial = f".{name}.zt-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial, dir_fd=folder)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(descriptor, 0o644)
        os.fchown(descriptor, pve.UID_BASE, pve.UID_BASE)
    os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)

"""From a container's Proxmox configuration to what LXC, ``ip`` and the cgroups want. Nothing here has effects."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from zentoria_infra.lab.lxc.cgroup import Limits, Setting
from zentoria_infra.lab.runtime import Config, RuntimeFailure

UID_BASE = 100000
"""Host uid and gid that root of an unprivileged guest is, as Proxmox's default map has it."""

UID_COUNT = 65536

_MIB = 1024 * 1024
_PERIOD = 100_000
_UNITS = {"": 1, "K": 1024, "M": _MIB, "G": 1024 * _MIB, "T": 1024 * 1024 * _MIB}


@dataclasses.dataclass(frozen=True)
class Net:
    """One ``netN`` of a container."""

    index: int
    name: str
    bridge: str
    hwaddr: str
    address: ipaddress.IPv4Interface | None
    """None for ``dhcp``, ``manual`` or no address: the lab has no DHCP server."""
    gateway: ipaddress.IPv4Address | None
    mtu: int = 0
    firewall: bool = False
    """Whether it is behind a bridge of its own, where its traffic can be filtered."""


@dataclasses.dataclass(frozen=True)
class MountPoint:
    """``rootfs`` or one ``mpN``: a volume and where it goes in the guest."""

    key: str
    volume: str
    """Volume id, as ``local:404/vm-404-disk-0.raw``."""
    path: str
    """Absolute path in the guest; ``/`` for the root file system."""
    read_only: bool = False


def options(value: str) -> dict[str, str]:
    """Split a property string, as ``local:404/x.raw,size=8G``; the part without a key is under ``""``."""
    found: dict[str, str] = {}
    for part in value.split(","):
        key, separator, text = part.partition("=")
        if separator:
            found[key.strip()] = text.strip()
        elif part.strip():
            found[""] = part.strip()
    return found


def size(text: str) -> int:
    """Bytes of a Proxmox disk size: ``8G``, ``102M``, ``0T`` or plain bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if match is None:
        raise RuntimeFailure(f"unable to parse size '{text}'")
    return int(float(match[1]) * _UNITS[match[2]])


def nets(config: Config) -> tuple[Net, ...]:
    """All network devices of a container, by number.

    Raises:
        RuntimeFailure: an address or gateway cannot be read, or a device has no name or bridge.
    """
    numbers = sorted(int(key[3:]) for key in config if re.fullmatch(r"net\d+", key))
    return tuple(_net(number, config[f"net{number}"]) for number in numbers)


def _net(index: int, value: str) -> Net:
    parts = options(value)
    bridge = parts.get("bridge", "")
    name = parts.get("name", "")
    if not name:
        raise RuntimeFailure(f"net{index}: no interface name specified")
    if not bridge:
        raise RuntimeFailure(f"net{index}: no bridge specified")
    try:
        ip = parts.get("ip", "manual")
        address = None if ip in ("manual", "dhcp") else ipaddress.IPv4Interface(ip)
        gateway = ipaddress.IPv4Address(parts["gw"]) if parts.get("gw") else None
        mtu = int(parts.get("mtu", "0"))
    except ValueError as failure:
        raise RuntimeFailure(f"net{index}: {failure}") from failure
    firewall = parts.get("firewall", "0") in ("1", "yes", "on", "true")
    return Net(index, name, bridge, parts.get("hwaddr", ""), address, gateway, mtu, firewall)


def mounts(config: Config) -> tuple[MountPoint, ...]:
    """The root file system and the volumes of a container; the root first, then by number as Proxmox mounts them.

    Raises:
        RuntimeFailure: there is no rootfs, or a mount point has no absolute path.
    """
    if "rootfs" not in config:
        raise RuntimeFailure("missing root file system in the configuration")
    found = []
    for key in config:
        if not re.fullmatch(r"mp\d+", key):
            continue
        parts = options(config[key])
        path = parts.get("mp", "")
        if not path.startswith("/") or ".." in path.split("/"):
            raise RuntimeFailure(f"{key}: no absolute path in '{config[key]}'")
        found.append(MountPoint(key, _volume(parts), path.rstrip("/"), parts.get("ro") == "1"))
    found.sort(key=lambda point: int(point.key.removeprefix("mp")))
    return (MountPoint("rootfs", _volume(options(config["rootfs"])), "/"), *found)


def _volume(parts: Mapping[str, str]) -> str:
    return parts.get("", parts.get("volume", ""))


def limits(vmid: int, config: Config, processors: Sequence[int]) -> Limits:
    """What the container may use. ``processors`` are the numbers of the host's processors.

    Proxmox pins ``cores`` processors with a cpuset and balances them; we spread by VMID, which needs no
    memory of who has what. ``cpulimit`` is a quota. The defaults are Proxmox's: 512 MiB each, all cores.
    """
    total = len(processors)
    cores = min(int(config.get("cores", "0")) or total, total)
    first = vmid % total
    chosen = sorted(processors[(first + step) % total] for step in range(cores))
    share = float(config.get("cpulimit", "0"))
    return Limits(
        memory=int(config.get("memory", "512")) * _MIB,
        swap=int(config.get("swap", "512")) * _MIB,
        cpus=tuple(chosen),
        quota=int(share * _PERIOD),
        period=_PERIOD,
    )


def hostname(vmid: int, config: Config) -> str:
    """The container's host name, without a domain."""
    return config.get("hostname", f"CT{vmid}").partition(".")[0]


@dataclasses.dataclass(frozen=True)
class GuestPaths:
    """The files of one guest below LXC's path."""

    folder: Path

    @property
    def config(self) -> Path:
        """What ``lxc-start`` reads."""
        return self.folder / "config"

    @property
    def hook(self) -> Path:
        """The script that makes the network."""
        return self.folder / "net.sh"

    @property
    def pid(self) -> Path:
        """Pid of init, written by the hook at every start (a reboot from inside as well)."""
        return self.folder / "init.pid"

    @property
    def log(self) -> Path:
        """LXC's own log of the last start."""
        return self.folder / "lxc.log"

    @property
    def output(self) -> Path:
        """What ``lxc-start`` itself said at the last start."""
        return self.folder / "start.log"

    @property
    def console(self) -> Path:
        """What the guest wrote to its console since the last start."""
        return self.folder / "console.log"

    @property
    def base(self) -> Path:
        """Text file with the name of the unpacked template that the guest's overlay stands on."""
        return self.folder / "base"

    @property
    def disk(self) -> Path:
        """Where the root volume is mounted; it holds the overlay's upper and work folders."""
        return self.folder / "disk"

    @property
    def rootfs(self) -> Path:
        """Where the overlay is mounted: the guest's ``/``."""
        return self.folder / "rootfs"

    def point(self, key: str) -> Path:
        """Where the volume of ``mpN`` is mounted on the host."""
        return self.folder / key


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What the host decides about a container's LXC configuration."""

    cgroups: str
    """Cgroup of the lab, as ``zt-lab``, relative to each hierarchy's root."""
    apparmor: bool
    """Whether AppArmor is on in the kernel and its parser is there."""


def lxc_text(vmid: int, config: Config, paths: GuestPaths, host: HostFacts, settings: Sequence[Setting]) -> str:
    """The configuration file for ``lxc-start``.

    A clean, fast boot takes exactly these mounts: proc and sys mixed, and the unified cgroup hierarchy as
    an entry of our own. The network is empty: the hook makes it in the lab's namespace.
    """
    lines = [
        "lxc.include = /usr/share/lxc/config/common.conf",
        "lxc.include = /usr/share/lxc/config/userns.conf",
        "lxc.arch = linux64",
        f"lxc.uts.name = {hostname(vmid, config)}",
        f"lxc.rootfs.path = dir:{paths.rootfs}",
        f"lxc.idmap = u 0 {UID_BASE} {UID_COUNT}",
        f"lxc.idmap = g 0 {UID_BASE} {UID_COUNT}",
        "lxc.mount.auto =",
        "lxc.mount.auto = proc:mixed sys:mixed",
        "lxc.mount.entry = cgroup2 sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec 0 0",
        f"lxc.cgroup.dir.container = {host.cgroups}/{vmid}",
        f"lxc.cgroup.dir.monitor = {host.cgroups}/{vmid}-monitor",
        f"lxc.cgroup.dir.monitor.pivot = {host.cgroups}/pivot",
        "lxc.net.0.type = empty",
        f"lxc.hook.start-host = {paths.hook}",
        f"lxc.hook.stop = {paths.hook}",
        "lxc.tty.max = 0",
        "lxc.pty.max = 1024",
        "lxc.signal.halt = SIGRTMIN+3",
        f"lxc.log.file = {paths.log}",
        "lxc.log.level = WARN",
        f"lxc.console.logfile = {paths.console}",
    ]
    if host.apparmor:
        lines += ["lxc.apparmor.profile = generated", "lxc.apparmor.allow_nesting = 1"]
    else:
        lines.append("lxc.apparmor.profile = unconfined")
    for point in mounts(config)[1:]:
        mode = "bind,ro,create=dir" if point.read_only else "bind,create=dir"
        target = point.path.lstrip("/").replace(" ", "\\040")
        lines.append(f"lxc.mount.entry = {paths.point(point.key)} {target} none {mode} 0 0")
    lines += [f"{setting.lxc_key} = {setting.value}" for setting in settings]
    return "\n".join(lines) + "\n"


def veth(vmid: int, index: int) -> str:
    """Name of the guest's link ``net<index>`` on the node, as Proxmox names it."""
    return f"veth{vmid}i{index}"


def filter_bridge(vmid: int, index: int) -> str:
    """Name of the bridge between a guest's link and the node's bridge, where there is a firewall."""
    return f"fwbr{vmid}i{index}"


def filter_links(vmid: int, index: int) -> tuple[str, str]:
    """Names of the pair from the node's bridge to :func:`filter_bridge`: the end in the first, that in the second."""
    return f"fwpr{vmid}p{index}", f"fwln{vmid}i{index}"


def outside_batch(vmid: int, net: Net, pid: str) -> list[str]:
    """Lines for ``ip -batch`` in the lab's namespace that make the pair and hand one end to ``pid``."""
    name = veth(vmid, net.index)
    address = f" address {net.hwaddr}" if net.hwaddr else ""
    mtu = f" mtu {net.mtu}" if net.mtu else ""
    return [
        f"link add name {name}{mtu} group {vmid} type veth peer name {net.name}{address}{mtu} netns {pid}",
        f"link set dev {name} addrgenmode none",
        *plug_batch(vmid, net),
    ]


def plug_batch(vmid: int, net: Net) -> list[str]:
    """Lines that bring a guest's link to its bridge: straight, or over a bridge of its own as Proxmox does it.

    Only there a packet is "bridged" twice by the node, on its way from the guest and on its way to it.
    """
    name = veth(vmid, net.index)
    if not net.firewall:
        return [f"link set dev {name} master {net.bridge} up"]
    bridge, (outer, inner) = filter_bridge(vmid, net.index), filter_links(vmid, net.index)
    mtu = f" mtu {net.mtu}" if net.mtu else ""
    return [
        f"link add name {bridge}{mtu} group {vmid} type bridge stp_state 0 forward_delay 0",
        f"link set dev {bridge} addrgenmode none up",
        f"link add name {outer}{mtu} group {vmid} type veth peer name {inner}{mtu}",
        f"link set dev {outer} addrgenmode none",
        f"link set dev {inner} addrgenmode none",
        f"link set dev {inner} master {bridge} up",
        f"link set dev {outer} master {net.bridge} up",
        f"link set dev {name} master {bridge} up",
    ]


def remove_all(vmid: int) -> str:
    """The words for ``ip`` that remove all of a guest's network devices outside of it at once.

    The kernel takes a while for each removal, and one removal of many is one.
    """
    return f"link delete group {vmid}"


def remove_batch(vmid: int, index: int) -> list[str]:
    """Lines for ``ip -force -batch`` that remove all of ``net<index>`` outside of the guest."""
    devices = (veth(vmid, index), filter_links(vmid, index)[0], filter_bridge(vmid, index))
    return [f"link delete dev {device}" for device in devices]


def inside_batch(net: Net) -> list[str]:
    """Lines for ``ip -batch`` in the guest's namespace: address with its broadcast, route, no IPv6."""
    lines = [f"link set dev {net.name} addrgenmode none", f"link set dev {net.name} up"]
    return lines + address_batch(net)


def address_batch(net: Net) -> list[str]:
    """The lines of :func:`inside_batch` that give the device its address and the default route."""
    lines = []
    if net.address is not None:
        broadcast = net.address.network.broadcast_address
        lines.append(f"addr add {net.address} broadcast {broadcast} dev {net.name}")
    if net.gateway is not None:
        # Proxmox accepts a gateway outside the subnet: it is reached over the link
        lines.append(f"route replace default via {net.gateway} dev {net.name} onlink")
    return lines


def hook_text(
    vmid: int,
    found: Sequence[Net],
    namespace: Path,
    pid_file: Path,
    writes: Sequence[tuple[Path, str]] = (),
) -> str:
    """The script that LXC runs on the host between the making of the guest's namespaces and its init, and at its end.

    LXC gives it the pid of init-to-be in ``LXC_PID``. So the address is there before anything runs inside.
    A guest that reboots itself is started again by LXC with the limits of its first start, but with the
    script as it is then: ``writes`` (cgroup files and values) brings the limits up to date.
    """
    outside = 'nsenter --net="$NETNS" -- ip'
    lines = [
        "#!/bin/sh",
        "# Runs at each start of this container: its network, and the pid of its init; and at each end.",
        "set -eu",
        f"PATH={PATH_FOR_HOOKS}",
        f"NETNS={shlex.quote(str(namespace))}",
        f"PID_FILE={shlex.quote(str(pid_file))}",
    ]
    if found:
        # at a start too: a guest that reboots may leave its pair for a moment, the kernel removes namespaces later
        lines.append(f"{outside} {remove_all(vmid)} 2>/dev/null || true")
    lines.append('[ "${3-}" != stop ] || exit 0')
    if found:
        batch = [line for net in found for line in outside_batch(vmid, net, "$LXC_PID")]
        lines += _fed(f"{outside} -batch -", batch)
        batch = [line for net in found for line in inside_batch(net)]
        lines += _fed('nsenter --net="/proc/$LXC_PID/ns/net" -- ip -batch -', batch)
    for _ in range(2):
        # twice: v1 refuses a memory limit above the sum with swap until that has grown as well
        lines += [f"echo {value} 2>/dev/null > {shlex.quote(str(file))} || true" for file, value in writes]
    lines.append('echo "$LXC_PID" > "$PID_FILE.new"')
    lines.append('mv "$PID_FILE.new" "$PID_FILE"')
    return "\n".join(lines) + "\n"


PATH_FOR_HOOKS = "/usr/sbin:/usr/bin:/sbin:/bin"


def _fed(command: str, batch: Sequence[str]) -> list[str]:
    return [f"{command} <<EOF", *batch, "EOF"]

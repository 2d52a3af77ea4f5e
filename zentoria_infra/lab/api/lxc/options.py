"""The options of a container, declared once (PVE::LXC::Config): what create and config take and the file holds."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from zentoria_infra.lab.api.faults import internal
from zentoria_infra.lab.api.formats import split_list
from zentoria_infra.lab.api.schema import Param, Schema, format_properties, lookup, opt, parse_properties

FLAG = Param("boolean", optional=True)
TEXT = Param(optional=True)
_IPV4 = Param(optional=True, format="ipv4")
_MOUNT_OPTION = "(?:discard|lazytime|noatime|nodev|noexec|nosuid)"

_ENV = r"\w+=[^\x00-\x08\x0a-\x1F\x7F]*"
_IDMAP = r"[ug]:\d+:\d+:\d+"

NET: Schema = {
    "name": Param(pattern=r"[-_.\w\d]+"),
    "bridge": Param(optional=True, pattern=r"[-_.\w\d]+"),
    "firewall": FLAG,
    "gw": _IPV4,
    "gw6": Param(optional=True, format="ipv6"),
    "host-managed": Param("boolean", optional=True, since=(9, 0)),
    "hwaddr": Param(optional=True, format="mac-addr"),
    "ip": Param(optional=True, format="pve-ipv4-config"),
    "ip6": Param(optional=True, format="pve-ipv6-config"),
    "link_down": FLAG,
    "mtu": Param("integer", optional=True, minimum=64, maximum=65535),
    "rate": Param("number", optional=True),
    "tag": Param("integer", optional=True, minimum=1, maximum=4094),
    "trunks": Param(optional=True, pattern=r"\d+(?:;\d+)*"),
    "type": Param(optional=True, enum=("veth",)),
}
ROOTFS: Schema = {
    "volume": Param(format="pve-lxc-mp-string", default_key=True),
    "acl": FLAG,
    "idmap": Param(optional=True, pattern=f"{_IDMAP}(?:;{_IDMAP})*", since=(9, 2)),
    "mountoptions": Param(optional=True, pattern=f"{_MOUNT_OPTION}(?:;{_MOUNT_OPTION})*"),
    "quota": FLAG,
    "replicate": FLAG,
    "ro": FLAG,
    "shared": FLAG,
    "size": Param(optional=True, format="disk-size"),
}
MOUNT: Schema = {**ROOTFS, "mp": Param(format="pve-lxc-mp-target"), "backup": FLAG,
                 "keepattrs": Param("boolean", optional=True, since=(9, 0))}  # fmt: skip
FEATURES: Schema = {
    "force_rw_sys": FLAG,
    "fuse": FLAG,
    "keyctl": FLAG,
    "mknod": FLAG,
    "mount": Param(optional=True, pattern=r"[a-zA-Z0-9_; ]+"),
    "nesting": FLAG,
}
DEVICE: Schema = {
    "path": Param(optional=True, format="pve-lxc-dev-string", default_key=True),
    "deny-write": FLAG,
    "gid": Param("integer", optional=True, minimum=0),
    "mode": Param(optional=True, pattern="0[0-7]{3}"),
    "uid": Param("integer", optional=True, minimum=0),
}
UNUSED: Schema = {"volume": Param(format="pve-volume-id", default_key=True)}

OS_TYPES = ("debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos",
            "unmanaged")  # fmt: skip
LOCKS = ("backup", "create", "destroyed", "disk", "fstrim", "migrate", "mounted", "rollback", "snapshot",
         "snapshot-delete")  # fmt: skip

OPTIONS: Schema = {
    "arch": Param(optional=True, enum=("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64")),
    "cmode": Param(optional=True, enum=("shell", "console", "tty")),
    "console": FLAG,
    "cores": Param("integer", optional=True, minimum=1, maximum=8192),
    "cpulimit": Param("number", optional=True, minimum=0, maximum=8192),
    "cpuunits": Param("integer", optional=True, minimum=0, maximum=500000),
    "debug": FLAG,
    "description": Param(optional=True, max_length=8192),
    "dev[n]": Param(optional=True, format=DEVICE),
    "features": Param(optional=True, format=FEATURES),
    "hookscript": Param(optional=True, format="pve-volume-id"),
    "hostname": Param(optional=True, max_length=255, format="dns-name"),
    "lock": Param(optional=True, enum=LOCKS),
    "memory": Param("integer", optional=True, minimum=16),
    "mp[n]": Param(optional=True, format=MOUNT),
    "nameserver": Param(optional=True, format="lxc-ip-with-ll-iface-list"),
    "net[n]": Param(optional=True, format=NET),
    "onboot": FLAG,
    "ostype": Param(optional=True, enum=OS_TYPES),
    "protection": FLAG,
    "rootfs": Param(optional=True, format=ROOTFS),
    "searchdomain": Param(optional=True, format="dns-name-list"),
    "startup": Param(optional=True, format="pve-startup-order"),
    "swap": Param("integer", optional=True, minimum=0),
    "tags": Param(optional=True, format="pve-tag-list"),
    "template": FLAG,
    "timezone": Param(optional=True, format="pve-ct-timezone"),
    "tty": Param("integer", optional=True, minimum=0, maximum=6),
    "unprivileged": FLAG,
    "unused[n]": Param(optional=True, format=UNUSED),
    "entrypoint": Param(optional=True, pattern=r"[^\x00-\x08\x0a-\x1F\x7F]+", since=(9, 0)),
    "env": Param(optional=True, pattern=rf"{_ENV}(?:\0{_ENV})*", since=(9, 0)),
}
"""Every option of the configuration file that the API may set."""

VMID = Param("integer", minimum=100, maximum=999999999, format="pve-vmid")
NODE = Param(format="pve-node")
CREATE: Schema = {
    **OPTIONS,
    "vmid": VMID,
    "node": NODE,
    "ostemplate": Param(max_length=255),
    "bwlimit": Param("number", optional=True, minimum=0),
    "force": FLAG,
    "ignore-unpack-errors": FLAG,
    "password": Param(optional=True, min_length=5),
    "pool": Param(optional=True, format="pve-poolid"),
    "restore": FLAG,
    "ssh-public-keys": TEXT,
    "start": FLAG,
    "storage": Param(optional=True, format="pve-storage-id"),
    "unique": Param("boolean", optional=True, requires="restore"),
    "ha-managed": Param("boolean", optional=True, since=(9, 0)),
}
UPDATE: Schema = {
    **OPTIONS,
    "vmid": VMID,
    "node": NODE,
    "delete": Param(optional=True, format="pve-configid-list"),
    "revert": Param(optional=True, format="pve-configid-list"),
    "digest": Param(optional=True, max_length=40),
}
DISKS = ("rootfs", *(f"mp{n}" for n in range(256)))
RESIZE: Schema = {
    "vmid": VMID,
    "node": NODE,
    "disk": Param(enum=DISKS),
    "size": Param(pattern=r"\+?\d+(\.\d+)?[KMGT]?"),
    "digest": opt(UPDATE["digest"]),
}

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def known(name: str) -> bool:
    """Whether an option of that name exists."""
    return lookup(OPTIONS, name) is not None


def is_volume(name: str) -> bool:
    """Whether an option holds a volume: rootfs or mpN."""
    return name == "rootfs" or (name.startswith("mp") and name[2:].isdigit())


def is_net(name: str) -> bool:
    """Whether an option is a network interface: netN."""
    return name.startswith("net") and name[3:].isdigit()


def properties(name: str, text: str) -> dict[str, str]:
    """The parts of a property string that is an option's value; raises a 500 Fault when it does not parse."""
    found = lookup(OPTIONS, name)
    if found is None or found.format is None or isinstance(found.format, str):
        raise internal(f"option '{name}' is not a property string")
    parts, complaint = parse_properties(text, found.format, "")
    if complaint:
        raise internal(complaint.strip())
    return parts


def join_properties(name: str, parts: Mapping[str, str]) -> str:
    """A property string as Proxmox writes it."""
    found = lookup(OPTIONS, name)
    if found is None or found.format is None or isinstance(found.format, str):
        raise internal(f"option '{name}' is not a property string")
    return format_properties(parts, found.format)


def random_mac() -> str:
    """A hardware address below Proxmox's own prefix BC:24:11."""
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in secrets.token_bytes(3))


def normalise_net(text: str) -> str:
    """A NIC as it is stored: with an address of its own and a type; keys in Proxmox's order."""
    parts = properties("net0", text)
    parts.setdefault("type", "veth")
    parts.setdefault("hwaddr", random_mac())
    return join_properties("net0", parts)


def normalise_tags(text: str) -> str:
    """Tags as they are stored: lower case, each once, sorted, joined by ';' (PVE::GuestHelpers)."""
    return ";".join(sorted({tag.lower() for tag in split_list(text)}))


def parse_size(text: str) -> int:
    """Bytes of ``8G``, ``512M``, ``0.5T`` or plain bytes."""
    unit = text[-1:] if text[-1:] in "KMGT" else ""
    return int(float(text.removesuffix(unit) if unit else text) * _UNITS[unit])


def format_size(size: int) -> str:
    """Bytes as Proxmox writes them: the largest unit that divides them (``8G``, ``102M``, ``0T``)."""
    unit = "T"
    for name in ("", "K", "M", "G"):
        if size % _UNITS[{"": "K", "K": "M", "M": "G", "G": "T"}[name]]:
            unit = name
            break
    return f"{size // _UNITS[unit]}{unit}"

"""Formats of parameter values by Proxmox's name for them, with Proxmox's wording for what does not fit.

Source of the rules: PVE::JSONSchema, PVE::Storage, PVE::AccessControl, as seen in their answers.
"""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable

from zentoria_infra.lab.api.auth import privileges

Check = Callable[[str], None]


class FormatError(ValueError):
    """A value does not have its format. The text has no newline at its end."""


def split_list(text: str) -> list[str]:
    """Split as Proxmox splits lists: at commas, semicolons, white space and NUL; empty parts vanish."""
    return [part for part in re.split(r"[,;\s\0]+", text.strip()) if part]


def _matching(pattern: str, complaint: str) -> Check:
    compiled = re.compile(pattern)

    def check(value: str) -> None:
        if not compiled.fullmatch(value):
            raise FormatError(complaint.format(value))

    return check


def _ip(value: str, version: int | None = None) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return version is None or address.version == version


def _cidr(value: str, version: int | None = None) -> bool:
    if not re.fullmatch(r"[0-9a-fA-F.:]+/\d{1,3}", value):
        return False
    try:
        interface = ipaddress.ip_interface(value)
    except ValueError:
        return False
    if version is not None and interface.version != version:
        return False
    return interface.network.prefixlen > 0


def _true(ok: Callable[[str], bool], complaint: str) -> Check:
    def check(value: str) -> None:
        if not ok(value):
            raise FormatError(complaint.format(value))

    return check


def _netmask(value: str) -> bool:
    if value.isdigit():
        return 1 <= int(value) <= 32
    try:
        ipaddress.ip_network(f"0.0.0.0/{value}")
    except ValueError:
        return False
    return True


_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_USER = r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+"
_TOKEN = r"[A-Za-z][A-Za-z0-9.\-_]+"  # noqa: S105 - a pattern for names of tokens, no secret
VOLUME_ID = re.compile(r"([a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]):(.+)")
CONTENT_TYPES = ("images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none")
_STARTUP = re.compile(r"(?:order=)?\d+|(?:up|down)=\d+")


def _timezone(value: str) -> None:
    if value != "host" and value not in zoneinfo.available_timezones():
        raise FormatError(f"invalid time zone '{value}'")


def _startup(value: str) -> None:
    parts = [part for part in split_list(value)]
    if not parts or not all(_STARTUP.fullmatch(part) for part in parts):
        raise FormatError("unable to parse startup options")


def _mount_source(value: str) -> None:
    path = f"/{value}/" if not value.startswith("/") and ":" not in value else f"{value}/"
    if "/./" in path or "/../" in path:
        raise FormatError(f"{value} contains illegal character sequences")


def _mount_target(value: str) -> None:
    _mount_source(value)
    if not value.strip("/"):
        raise FormatError("mount point must not be the root folder")


def _nameserver(value: str) -> None:
    base, _, interface = value.partition("%")
    if not _ip(base) or (interface and not base.lower().startswith("fe80:")):
        raise FormatError("value does not look like a valid IP address")


def _privilege(value: str) -> None:
    if value not in privileges.ALL:
        raise FormatError(f"invalid privilege '{value}'")


def _task_status(value: str) -> None:
    if value not in ("ok", "error", "warning", "unknown"):
        raise FormatError("value does not look like a valid task status")


def _content(value: str) -> None:
    if value not in CONTENT_TYPES:
        raise FormatError(f"invalid content type '{value}'")


def _interface_config(version: int) -> Check:
    words = ("dhcp", "manual") if version == 4 else ("auto", "dhcp", "manual")

    def check(value: str) -> None:
        if value not in words and not _cidr(value, version):
            raise FormatError(f"value does not look like a valid ipv{version} network configuration")

    return check


_IP_OR_CIDR = _true(lambda v: _ip(v) or _cidr(v), "value does not look like a valid IP address or CIDR network")


def _ip_or_alias(value: str) -> None:
    if not re.fullmatch(r"(?:(?:dc|guest)/)?[A-Za-z][A-Za-z0-9\-_]+", value) and value != "0.0.0.0/0":
        _IP_OR_CIDR(value)


CHECKS: dict[str, Check] = {
    "pve-vmid": _matching(r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    "pve-node": _matching(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?", "value does not look like a valid node name"),
    "pve-poolid": _matching(
        r"[A-Za-z0-9.\-_]+(?:/[A-Za-z0-9.\-_]+){0,2}", "value does not look like a valid pool name"
    ),
    "pve-groupid": _matching(r"[A-Za-z0-9.\-_]+", "group name '{}' contains invalid characters"),
    "pve-roleid": _matching(r"[A-Za-z0-9.\-_]+", "role name '{}' contains invalid characters"),
    "pve-realm": _matching(r"[A-Za-z][A-Za-z0-9.\-_]+", "value does not look like a valid realm"),
    "pve-userid": _matching(_USER, "value '{}' does not look like a valid user name"),
    "pve-tokenid": _matching(rf"{_USER}!{_TOKEN}", "value '{}' does not look like a valid token ID"),
    "pve-priv": _privilege,
    "pve-configid": _matching(r"[a-zA-Z][a-zA-Z0-9_\-]+", "invalid configuration ID '{}'"),
    "pve-storage-id": _matching(r"[a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]", "storage ID '{}' contains illegal characters"),
    "pve-storage-content": _content,
    "pve-storage-path": _matching(r"/.*", "value does not look like a valid absolute path"),
    "pve-volume-id": _matching(VOLUME_ID.pattern, "unable to parse volume ID '{}'"),
    "pve-tag": _matching(r"(?i:[a-z0-9_][a-z0-9_\-+.]*)", "invalid characters in tag"),
    "pve-ct-timezone": _timezone,
    "pve-startup-order": _startup,
    "pve-iface": _matching(r"[a-zA-Z][a-zA-Z0-9_]{1,20}(?:[:.]\d+)?", "invalid network interface name '{}'"),
    "pve-lxc-mp-string": _mount_source,
    "pve-lxc-mp-target": _mount_target,
    "pve-lxc-dev-string": _matching(r"/dev/.+", "{} must start with /dev/"),
    "pve-task-status-type": _task_status,
    "lxc-ip-with-ll-iface": _nameserver,
    "dns-name": _true(lambda v: bool(_DNS.fullmatch(v)), "value does not look like a valid DNS name"),
    "ip": _true(_ip, "value does not look like a valid IP address"),
    "ipv4": _true(lambda v: _ip(v, 4), "value does not look like a valid IPv4 address"),
    "ipv6": _true(lambda v: _ip(v, 6), "value does not look like a valid IPv6 address"),
    "ipv4mask": _true(_netmask, "value does not look like a valid IP netmask"),
    "CIDRv4": _true(lambda v: _cidr(v, 4), "value does not look like a valid IPv4 network"),
    "CIDRv6": _true(lambda v: _cidr(v, 6), "value does not look like a valid IPv6 network"),
    "IPorCIDR": _IP_OR_CIDR,
    "IPorCIDRorAlias": _ip_or_alias,
    "pve-ipv4-config": _interface_config(4),
    "pve-ipv6-config": _interface_config(6),
    "mac-addr": _matching(
        r"(?i:[a-f0-9][02468ace](?::[a-f0-9]{2}){5})", "value does not look like a valid unicast MAC address"
    ),
    "disk-size": _matching(r"\d+(?:\.\d+)?[KMGT]?", "value does not look like a valid disk size: {}"),
    "email": _matching(r"[^\s@]+@[^\s@]+", "value does not look like a valid email address"),
}
"""Format name to its check. ``<name>-list`` and ``<name>-opt`` are derived from these."""


def check(name: str, value: str) -> None:
    """Check ``value`` against the format ``name``; raises FormatError."""
    if name in CHECKS:
        CHECKS[name](value)
    elif name.endswith("-list"):
        for part in split_list(value):
            CHECKS[name.removesuffix("-list")](part)
    elif value:
        CHECKS[name.removesuffix("-opt")](value)

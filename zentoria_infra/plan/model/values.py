"""Proxmox's notations as values: property strings, sizes, tags. Pure; nothing here talks to a node."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)", re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

GIB = 1 << 30


def parse_properties(text: str, default_key: str = "") -> dict[str, str]:
    """Read a property string as ``name=eth0,bridge=vmbr0``.

    Args:
        text: the string as Proxmox stores it.
        default_key: name of the value that stands without a key, as ``volume`` in ``local:8,size=8G``.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if equals:
            found[key.strip()] = value.strip()
        elif part.strip():
            found[default_key] = part.strip()
    return found


def format_properties(values: Mapping[str, str], default_key: str = "") -> str:
    """Write a property string: the value of ``default_key`` first and bare, the others in the given order."""
    parts = [values[default_key]] if default_key and default_key in values else []
    parts += [f"{key}={value}" for key, value in values.items() if key != default_key or not default_key]
    return ",".join(parts)


def parse_size(text: str) -> int:
    """Read a disk size as ``8G`` or ``102M`` into bytes.

    Raises:
        ValueError: not a size in Proxmox's notation.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_tags(text: str) -> frozenset[str]:
    """Read tags: Proxmox takes ``;``, ``,`` and blanks between them, and stores them in lower case."""
    return frozenset(tag.lower() for tag in re.split(r"[;,\s]+", text) if tag)


def format_tags(tags: frozenset[str]) -> str:
    """Write tags as Proxmox stores them: sorted, ``;`` between."""
    return ";".join(sorted(tags))


def truth(text: str) -> bool:
    """Read a boolean of Proxmox: ``1``, ``on``, ``yes``, ``true`` in any case are true."""
    return text.strip().lower() in ("1", "on", "yes", "true")


def untrue(text: str) -> bool:
    """Whether a boolean of Proxmox is one that says no: ``0``, ``off``, ``no``, ``false`` in any case."""
    return text.strip().lower() in ("0", "off", "no", "false")

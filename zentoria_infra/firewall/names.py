"""Names of a site's objects in the datacenter: they carry the site's id, and are as long as Proxmox takes them.

``_`` stands between the site and the rest: neither a site's id nor a container's name has one, so that no two objects
of two sites have one name. An id that is too long is cut, and has a part of its SHA-256 in place of its end.
"""

from __future__ import annotations

import base64
import functools
import hashlib

HEAD = "zt-"
"""How all names of ours begin."""
_DIGEST = 5
"""Letters of the digest: 25 bits. Two sites that have the same all the same are told apart by their comments."""
_LONGEST_NAME = 31
"""Of a container: :data:`~zentoria_infra.inventory.values.Name`."""
_LONGEST = 64
"""Of an alias or an IP set in Proxmox."""
_LONGEST_GROUP = 18
"""Of a security group in Proxmox."""


def alias_name(site: str, container: str) -> str:
    """Name of a container's alias, as ``zt-home_db``."""
    return _name(site, container, _LONGEST - _LONGEST_NAME)


def set_name(site: str, what: str) -> str:
    """Name of an IP set, as ``zt-home_internet``."""
    return _name(site, what, _LONGEST - _LONGEST_NAME)


def group_name(site: str, what: str) -> str:
    """Name of a security group, as ``zt-home_deny``; ``what`` has six letters at most."""
    return _name(site, what, _LONGEST_GROUP - len("common"))


@functools.lru_cache(maxsize=65536)
def _name(site: str, what: str, room: int) -> str:
    """``room`` is for all but ``what``."""
    return f"{HEAD}{_short(site, room - len(HEAD) - 1)}_{what}"


def _short(site: str, room: int) -> str:
    if len(site) <= room:
        return site
    digest = base64.b32encode(hashlib.sha256(site.encode()).digest()).decode().lower()[:_DIGEST]
    return f"{site[: room - _DIGEST - 1]}_{digest}"

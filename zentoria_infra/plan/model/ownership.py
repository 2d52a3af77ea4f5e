"""Whose is a container? The mark that Zentoria leaves on what it makes, and how it is read back.

The mark stands in the description, since that can be given in the create call itself with pool rights; tags
cannot (Proxmox checks the right for tags before the container joins the pool). So a container is marked from its
first moment, and a run that was killed between create and tagging finds its own work again.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping

from zentoria_infra.plan.model.values import parse_tags

TAG = "zentoria"
"""Every container that Zentoria makes carries this tag."""

ZONE_TAG = "zone-"
"""What the tag that says a container's zone begins with."""

_MARK = re.compile(r"^zentoria-id: (?P<id>[a-z0-9-]+/\d+)\s*$", re.MULTILINE)


_VOLUMES = re.compile(r"^zentoria-volumes:(?P<all>(?: [a-z][a-z0-9-]*=mp\d+)+)\s*$", re.MULTILINE)
"""Which mount point is which volume, as ``zentoria-volumes: data=mp0 archive=mp1``."""


class Owner(enum.Enum):
    """Who a container belongs to, as far as its mark tells."""

    OURS = "ours"
    FOREIGN = "foreign"
    """No mark, or the mark of another site: never touched."""


def mark(site_id: str, vmid: int) -> str:
    """The id of one container of one site, as ``home/404``."""
    return f"{site_id}/{vmid}"


def description(hostname: str, purpose: str, site_id: str, vmid: int) -> str:
    """Text of a container's description. Proxmox shows it as Markdown."""
    head = f"{hostname}: {purpose}" if purpose else hostname
    return f"{head}\n\nManaged by Zentoria: changes made by hand are undone.\n\nzentoria-id: {mark(site_id, vmid)}"


def with_volumes(text: str, keys: Mapping[str, str]) -> str:
    """A description that says which mount point is which volume, before whose it is.

    Args:
        text: from :func:`description`, with or without such a line.
        keys: of mount points, by the names of volumes.
    """
    bare = "".join(line for line in text.splitlines(keepends=True) if not _VOLUMES.fullmatch(line))
    head, id_mark, tail = bare.rpartition("zentoria-id: ")
    if not keys or not id_mark:
        return bare
    said = " ".join(f"{name}={keys[name]}" for name in sorted(keys))
    return f"{head}zentoria-volumes: {said}\n{id_mark}{tail}"


def volumes(description_text: str) -> dict[str, str]:
    """The mount points of a description by the names of volumes; the last such line counts."""
    found = _VOLUMES.findall(description_text)
    return dict(part.split("=", 1) for part in found[-1].split()) if found else {}


def owner(description_text: str, site_id: str, vmid: int) -> Owner:
    """Tell whose a container is by its description."""
    found = _MARK.search(description_text)
    return Owner.OURS if found is not None and found["id"] == mark(site_id, vmid) else Owner.FOREIGN


def carries_mark(description_text: str, vmid: int, site_id: str = "") -> bool:
    """Whether a container of that VMID is Zentoria's: of one site, or of any where none is named."""
    found = _MARK.search(description_text)
    site, _, number = found["id"].rpartition("/") if found is not None else ("", "", "")
    return number == str(vmid) and site_id in ("", site)


def marks(description_text: str) -> tuple[str, ...]:
    """The lines of a description that say whose it is, and which of its mount points is which volume."""
    return tuple(found[0].rstrip() for mark in (_VOLUMES, _MARK) for found in mark.finditer(description_text))


def foreign_tags(there: Collection[str], wanted: Collection[str]) -> frozenset[str]:
    """Tags of a container that others have put there: they stay, and are no drift.

    Ours are :data:`TAG`, those of zones, and what the inventory sets.
    """
    return frozenset(one for one in there if one not in wanted and one != TAG and not one.startswith(ZONE_TAG))


def why_foreign(description_text: str, tags: str, site_id: str, vmid: int) -> str:
    """Say in the user's words why a container does not count as ours."""
    found = _MARK.search(description_text)
    if found is not None:
        return f"it carries the mark {found['id']}, ours would be {mark(site_id, vmid)}"
    if TAG in parse_tags(tags):
        return f"it has the tag '{TAG}' but no zentoria-id in its notes"
    return f"it has neither the tag '{TAG}' nor a zentoria-id in its notes"

"""What all parts of a listing share: places in the inventory, privileges, origins, and changes of a firewall. Pure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping

from zentoria_infra.firewall.change.changes import Changes
from zentoria_infra.plan.model.document import Change, Origin, Privilege, Unknown
from zentoria_infra.plan.privileges import Need, firewall_needs
from zentoria_infra.plan.saved.applied import Origins
from zentoria_infra.plan.show.listing_firewall import object_changes
from zentoria_infra.plan.stages.types import DATACENTER


@dataclasses.dataclass(frozen=True)
class Basis:
    """What a listing looks at besides the plan.

    Args:
        places: file:line:column by the end of a change's id, or by the identity of a firewall rule, for each VMID;
            ``""`` is the container's file. VMID 0 has what containers share.
        pool: the pool that holds the containers, for the privileges.
        origins: tells drift from intent.
    """

    places: Mapping[int, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    pool: str = ""
    origins: Origins = dataclasses.field(default_factory=Origins)
    unread: str = ""
    """Why the record of what was last applied could not be read; empty where it could, or there is none."""
    unknown: tuple[Unknown, ...] = ()
    """What else could not be looked at."""

    def said_at(self, vmid: int, *names: str) -> str:
        """Where the inventory says what a change wants: of the first name that has a place of its own."""
        known = self.places.get(vmid, {})
        shared = self.places.get(0, {})
        for name in filter(None, names):
            if place := known.get(name) or shared.get(name):
                return place
        return known.get("", "")


NOTHING_ELSE = Basis()


def listed_privileges(needs: Iterable[Need]) -> tuple[Privilege, ...]:
    """Needs as a plan tells them: sorted, each once."""
    return tuple(_privilege(one) for one in sorted(set(needs)))


@functools.lru_cache(maxsize=1024)
def _privilege(need: Need) -> Privilege:
    return Privilege(path=need.path, privilege=need.privilege)


def common_origin(origins: Origins, names: Iterable[tuple[int, str]]) -> Origin:
    """Intent where any is; drift where all are."""
    found = {origins.of(vmid, name) for vmid, name in names}
    return next((one for one in (Origin.INTENT, Origin.UNKNOWN, Origin.DRIFT) if one in found), Origin.UNKNOWN)


def listed_firewall(vmid: int, name: str, changes: Changes, basis: Basis) -> Iterator[Change]:
    """Yield the changes of one firewall, one for each object. VMID 0 is the datacenter."""
    for one in object_changes((*changes.gained, *changes.lost)):
        yield Change(
            id=f"{vmid or DATACENTER}/{one.name}",
            vmid=vmid,
            container=name,
            action=one.action,
            what=one.what,
            reason=one.reason,
            where=basis.said_at(vmid, one.said_by, one.name),
            privileges=listed_privileges(firewall_needs(one.steps, basis.pool)),
            before=one.before,
            after=one.after,
            origin=basis.origins.of(vmid, one.name),
        )

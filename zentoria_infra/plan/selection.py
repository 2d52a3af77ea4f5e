"""A part of the stack: which containers a run is for, and what that means for those that need each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from zentoria_infra.errors import RefusedError
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.inventory.wording import nearest


@dataclasses.dataclass(frozen=True)
class Selection:
    """The containers of a run.

    Attributes:
        vmids: which.
        needs: by VMID of a selected container, those that it needs and that are not selected.
    """

    vmids: frozenset[int]
    needs: Mapping[int, frozenset[int]]


def select(
    inventory: Inventory,
    needs: Mapping[int, Collection[int]],
    *,
    only: Sequence[str] = (),
    zones: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Selection | None:
    """The containers that are named, or in a zone that is named, without those that are excluded.

    Args:
        inventory: of the site.
        needs: by VMID, the VMIDs of the containers whose services it needs.
        only: names, as ``db``, ``zentoria-db`` or ``404``.
        zones: names of zones.
        exclude: names.

    Returns:
        None when nothing was asked for, which means all.

    Raises:
        RefusedError: a name is unknown, or nothing is left.
    """
    if not only and not zones and not exclude:
        return None
    everybody = {one.vmid for one in inventory.containers}
    chosen = set(vmids_of(inventory, only)) | _in_zones(inventory, zones) if only or zones else set(everybody)
    chosen -= set(vmids_of(inventory, exclude))
    if not chosen:
        raise RefusedError(
            "choose containers", got="none is left of those that were named", todo="name fewer with --exclude"
        )
    without = {vmid: frozenset(needs.get(vmid, ())) - chosen - {vmid} for vmid in sorted(chosen)}
    return Selection(frozenset(chosen), {vmid: left for vmid, left in without.items() if left})


def vmids_of(inventory: Inventory, names: Sequence[str]) -> list[int]:
    """The VMIDs of containers by their names, in the order given.

    Raises:
        RefusedError: a name is not in the inventory.
    """
    found = []
    for name in names:
        try:
            found.append(inventory.by_name(name).vmid)
        except KeyError:
            raise _unknown("container", name, [one.name for one in inventory.containers]) from None
    return found


def explained(selection: Selection, inventory: Inventory) -> Iterable[str]:
    """Say what selected containers need of others, which are taken as they are."""
    for vmid, needed in selection.needs.items():
        names = ", ".join(inventory.by_vmid(one).name for one in sorted(needed))
        be = "is" if len(needed) == 1 else "are"
        yield f"{inventory.by_vmid(vmid).name} needs {names}, which {be} not chosen and taken as found"


def require_there(selection: Selection, inventory: Inventory, there: Collection[int]) -> None:
    """See that what is needed and not selected is at least there.

    Args:
        selection: the run.
        inventory: of the site.
        there: VMIDs of the containers that exist.

    Raises:
        RefusedError: something is not; it names what to add.
    """
    lines = []
    missing: set[int] = set()
    for vmid, needed in selection.needs.items():
        gone = sorted(needed - set(there))
        missing.update(gone)
        name = inventory.by_vmid(vmid).name
        lines += [f"  - {name} needs {inventory.by_vmid(one).name} ({one}), which does not exist" for one in gone]
    if lines:
        words = " ".join(f"--only {inventory.by_vmid(one).name}" for one in sorted(missing))
        raise RefusedError(
            "bring up a part of the stack",
            got="\n".join(["", *lines]),
            todo=f"choose those too ({words}, or without --exclude); nothing was changed",
        )


def _in_zones(inventory: Inventory, zones: Sequence[str]) -> set[int]:
    known = [zone.name for zone in inventory.zones]
    for name in zones:
        if name not in known:
            raise _unknown("zone", name, known)
    return {one.vmid for one in inventory.containers if one.zone in zones}


def _unknown(kind: str, name: str, known: Sequence[str]) -> RefusedError:
    return RefusedError(
        f"find the {kind} {name!r}",
        got=f"the inventory has none of that name{nearest(name, known)}",
        todo=f"one of: {', '.join(known)}",
    )

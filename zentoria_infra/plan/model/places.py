"""Where the inventory says what a plan is about."""

from __future__ import annotations

from collections.abc import Mapping

from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.inventory.model import Inventory

_SHARED = 0


def places_of(inventory: Inventory, compiled: Compiled | None) -> Mapping[int, Mapping[str, str]]:
    """Where the inventory says things, for a :class:`Basis`: containers by VMID, what firewalls hold by identity."""
    found: dict[int, dict[str, str]] = {one.vmid: {"": inventory.where(one)} for one in inventory.containers}
    shared = {"": inventory.where("zones", "flows")}
    if compiled is not None:
        shared |= {key: str(position) for key, position in compiled.positions.items()}
        shared |= {one.key: str(one.position) for one in compiled.intents}
    found[_SHARED] = shared
    return found

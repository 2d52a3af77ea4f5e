"""A part of an inventory, for tests that need no more of it."""

from __future__ import annotations

from zentoria_infra.inventory.model import Inventory, Service


def only(inventory: Inventory, names: tuple[str, ...]) -> Inventory:
    """The inventory with these containers, and the flows and needs among them."""
    ends = {*names, "all", "internet"}

    def among(service: Service) -> Service:
        return service.model_copy(update={"needs": tuple(one for one in service.needs if one.container in ends)})

    kept = tuple(
        one.model_copy(update={"services": tuple(among(service) for service in one.services)})
        for one in inventory.containers
        if one.name in names
    )
    flows = tuple(one for one in inventory.flows if {one.source, one.destination} <= ends)
    return inventory.model_copy(update={"containers": kept, "flows": flows})

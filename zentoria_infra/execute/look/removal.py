"""What goes, and what stays, when a container is destroyed: asked of the node before anybody is asked."""

from __future__ import annotations

import dataclasses

from zentoria_infra.errors import ApiError
from zentoria_infra.plan.model import parking, snapshots
from zentoria_infra.plan.model.observed import ObservedContainer
from zentoria_infra.plan.model.orphan import Orphan
from zentoria_infra.plan.model.values import GIB, parse_properties
from zentoria_infra.plan.stages.types import Destroy
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.records import Volume


class RemovalLook:
    """Makes the stages that destroy containers, with all that they take along.

    Calls: one a container (its snapshots), and one for each storage and one for their list, once a node.

    Args:
        observer: reads the node.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._volumes: dict[str, tuple[Volume, ...]] = {}

    def stage(self, observed: ObservedContainer, name: str, site_id: str) -> Destroy:
        """The stage that destroys a container of the inventory."""
        vmid, config = observed.vmid, {**observed.config, **observed.in_force}
        taken = self._observer.snapshots(vmid, observed.node)
        return Destroy(
            vmid,
            name,
            f"{vmid}:destroy",
            (),
            # A volume that is taken away at the next restart is destroyed too.
            loses=parking.destroyed(config, vmid),
            snapshots=tuple(one.name for one in snapshots.foreign(taken, site_id, vmid)),
            leaves=self._beside(observed),
            digest=observed.digest,
        )

    def orphan(self, orphan: Orphan, observed: ObservedContainer) -> Destroy:
        """The stage that destroys a container which the inventory does not have."""
        made = self.stage(observed, orphan.name or str(orphan.vmid), orphan.site_id)
        return dataclasses.replace(made, orphan=orphan)

    def _beside(self, observed: ObservedContainer) -> tuple[str, ...]:
        """Volumes that have a container's number, and that its configuration does not speak of: not ours to remove."""
        values = (*observed.config.values(), *observed.in_force.values())
        named = {parse_properties(value, "volume").get("volume", "") for value in values}
        return tuple(
            f"{one.volid} ({one.size / GIB:.3g}G)"
            for one in self._on(observed.node)
            if one.vmid == observed.vmid and one.volid not in named
        )

    def _on(self, node: str) -> tuple[Volume, ...]:
        if node not in self._volumes:
            found: list[Volume] = []
            for storage in self._observer.storages(node):
                if storage.active and storage.enabled and {"images", "rootdir"} & set(storage.content):
                    try:
                        found += self._observer.volumes(storage.name, node)
                    except ApiError:
                        continue  # it is told for information: what cannot be listed is left alone as well
            self._volumes[node] = tuple(found)
        return self._volumes[node]

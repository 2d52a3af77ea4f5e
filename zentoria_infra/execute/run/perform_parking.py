"""Parks the data volumes of a container that is replaced on a spare one, and brings them back."""

from __future__ import annotations

from zentoria_infra.errors import RefusedError
from zentoria_infra.plan.model import parking
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.stages.types import MoveVolume
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.records import ContainerConfig


class ParkingPerformer:
    """Carries out the stages of parking. Safe from several threads.

    Every method does what is left to do: a run that was killed may have done a part of it.

    Args:
        proxmox: the node.
    """

    def __init__(self, proxmox: Proxmox) -> None:
        self._proxmox = proxmox

    def make(self, desired: DesiredContainer, vmid: int) -> None:
        """Make the parking container of a container.

        Args:
            desired: the container that is replaced.
            vmid: of the parking container.

        Raises:
            ZentoriaError: it could not be made; nothing was changed.
        """
        self._proxmox.write.create(
            vmid,
            parking_parameters(desired),
            node=desired.node,
            is_ours=lambda config: _is_for(config, desired),
        )

    def move(self, desired: DesiredContainer, stage: MoveVolume) -> None:
        """Move one volume to the parking container, or back.

        Raises:
            RefusedError: the parking container is not what it was.
            ZentoriaError: it did not move; it is where it was.
        """
        self.require(desired, stage.parking)
        self._still(stage.parking, desired.node)
        ways = (stage.parking, desired.vmid) if stage.back else (desired.vmid, stage.parking)
        self._proxmox.write.hand_over(ways[0], stage.key, ways[1], node=desired.node)

    def drop(self, desired: DesiredContainer, vmid: int) -> None:
        """Remove the parking container.

        Raises:
            RefusedError: it holds a volume, or is not what it was; it stays.
        """
        config = self.require(desired, vmid)
        if left := parking.data_volumes(config.values):
            raise RefusedError(
                f"remove container {vmid}, where data of {desired.vmid} ({desired.name}) was parked",
                got=f"it holds {', '.join(left)}",
                todo="run `zentoria up` again: it brings back what is parked",
            )
        self._still(vmid, desired.node)
        self._proxmox.write.destroy(vmid, node=desired.node)

    def require(self, desired: DesiredContainer, vmid: int) -> ContainerConfig:
        """The configuration of a parking container, if it is one for this container.

        Raises:
            RefusedError: it is not.
        """
        config = self._proxmox.observe.config(vmid, desired.node)
        if not _is_for(config, desired):
            raise RefusedError(
                f"park data of container {desired.vmid} ({desired.name}) on container {vmid}",
                got="its description does not say that it is for that",
                todo=f"look at container {vmid}; nothing of it was changed",
            )
        return config

    def _still(self, vmid: int, node: str) -> None:
        """It never runs, unless somebody has started it by hand."""
        if self._proxmox.observe.status(vmid, node) == "running":
            self._proxmox.write.shutdown(vmid, node=node)


def parking_parameters(desired: DesiredContainer) -> dict[str, str | int | bool]:
    """Parameters of ``POST /nodes/{node}/lxc`` for the parking container of a container."""
    parameters: dict[str, str | int | bool] = {
        "ostemplate": desired.ostemplate,
        "unprivileged": True,
        "rootfs": f"{desired.rootfs.storage}:{parking.GIB}",
        "hostname": parking.hostname(desired.vmid),
        "memory": 64,
        "swap": 0,
        "onboot": False,
        # It never runs, and Proxmox warns of a system with systemd without it (the create ends "WARNINGS: 1").
        "features": "nesting=1",
        "description": parking.description(
            desired.hostname,
            desired.site_id,
            desired.vmid,
            {volume.name: volume.key for volume in desired.volumes if volume.name},
        ),
    }
    if desired.pool:
        parameters["pool"] = desired.pool
    return parameters


def _is_for(config: ContainerConfig, desired: DesiredContainer) -> bool:
    return parking.is_for(config.values.get("description", ""), desired.site_id, desired.vmid)

"""Takes snapshots of containers, goes back to them, and removes those of ours that are not needed any more."""

from __future__ import annotations

from collections.abc import Callable

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.plan.model import snapshots
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.stages.types import DropSnapshots, GoBack, Snapshot
from zentoria_infra.plan.stages.way_back import command
from zentoria_infra.proxmox.client import Proxmox


class SnapshotPerformer:
    """Carries out the stages for snapshots. Safe from several threads.

    Args:
        proxmox: the node.
    """

    def __init__(self, proxmox: Proxmox) -> None:
        self._proxmox = proxmox

    def __call__(
        self, stage: Snapshot | DropSnapshots | GoBack, desired: DesiredContainer, say: Callable[[str], None]
    ) -> None:
        """Carry out one stage.

        Args:
            stage: the stage.
            desired: its container.
            say: told of progress.

        Raises:
            ZentoriaError: it did not work. A container that could not go back still has its snapshot.
        """
        match stage:
            case Snapshot():
                self._take(desired, stage)
            case DropSnapshots(keep=keep):
                self._drop(desired, keep, say)
            case GoBack():
                self._go_back(desired, stage, say)

    def _take(self, desired: DesiredContainer, stage: Snapshot) -> None:
        try:
            self._proxmox.snapshots.take(desired.vmid, stage.name, stage.description, node=desired.node)
        except ZentoriaError as error:
            error.todo = f"{error.todo}; nothing was changed yet, and --no-snapshot does without".lstrip("; ")
            raise

    def _drop(self, desired: DesiredContainer, keep: int, say: Callable[[str], None]) -> None:
        there = self._proxmox.observe.snapshots(desired.vmid, desired.node)
        # The oldest first: on some storages a snapshot cannot go before those that came after it have.
        for one in snapshots.ours(there, desired.site_id, desired.vmid)[keep:][::-1]:
            say(one.name)
            self._proxmox.snapshots.remove(desired.vmid, one.name, node=desired.node)

    def _go_back(self, desired: DesiredContainer, stage: GoBack, say: Callable[[str], None]) -> None:
        try:
            self._proxmox.snapshots.roll_back(desired.vmid, stage.name, node=desired.node)
            say("start")
            self._proxmox.write.start(desired.vmid, node=desired.node)
        except ZentoriaError as error:
            error.todo = f"put that right; then `{command(desired.name, stage.name)}` tries it again ({error.todo})"
            raise
        if stage.after_failure:
            say("remove the snapshot")
            self._proxmox.snapshots.remove(desired.vmid, stage.name, node=desired.node)

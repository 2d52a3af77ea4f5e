"""Moving volumes: a data volume goes from one container to another, with all that is on it."""

from __future__ import annotations

import re

from zentoria_infra.errors import TaskError, ZentoriaError
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.records import ContainerConfig
from zentoria_infra.proxmox.write import Writer

TASK = "move_volume"
"""Type of Proxmox's task; its subject is ``404-mp0>424-mp0``, or the VMID where it goes to another storage."""

_SUBJECT = re.compile(r"(\d+)(?:-\w+>(\d+)-\w+)?")


def vmids_of(subject: str) -> frozenset[int]:
    """The containers that a task which moves a volume works on."""
    found = _SUBJECT.fullmatch(subject)
    return frozenset(int(number) for number in found.groups() if number) if found else frozenset()


class VolumeWriter(Writer):
    """Writes like :class:`Writer`, and moves volumes. The gates of both containers are taken."""

    def hand_over(
        self, vmid: int, key: str, target: int, *, node: str | None = None, progress: tasks.Progress | None = None
    ) -> None:
        """Make a volume of one container another's, under the same key and with its options; nothing is copied.

        Nothing to do when it is there already. After a lost answer we wait for what may be at work, and look; it is
        sent again when the volume has not moved.

        Args:
            vmid: the container that has it. It must not run.
            key: ``mp0``, ``unused0``...
            target: the container that gets it, on the same node.
            node: where.
            progress: called while the task runs.

        Raises:
            TaskError: it has not moved, or neither container has a volume of that key.
        """
        where = self._node(node)
        tried = f"move {key} of container {vmid} to container {target}"
        first, second = sorted((vmid, target))
        with self._gates.vmid(first), self._gates.vmid(second):
            if not self._has_moved(vmid, key, target, where, tried):
                self._locked(
                    lambda: self._move_once(vmid, key, target, where, tried, progress),
                    lambda: self._require_both(vmid, target, where, tried),
                )

    def move_to_storage(
        self, vmid: int, key: str, storage: str, *, node: str | None = None, progress: tasks.Progress | None = None
    ) -> None:
        """Copy a volume of a stopped container to another storage, and remove it where it was.

        It is not sent again after a lost answer: the next run looks where it is.

        Args:
            vmid: the container.
            key: ``mp0``...
            storage: where it goes.
            node: where the container is.
            progress: called while the task runs.

        Raises:
            TaskError: it could not be copied; it is where it was.
        """
        where, path = self._node(node), "/nodes/{node}/lxc/{vmid}/move_volume"
        tried = f"move {key} of container {vmid} to storage {storage}"
        params = {"volume": key, "storage": storage, "delete": True}
        with self._gates.vmid(vmid):
            self._locked(
                lambda: self._lost_and_found(vmid, where, ("POST", path, params), tried, progress, done=()),
                self._looker(vmid, where, tried),
            )

    def _move_once(
        self, vmid: int, key: str, target: int, node: str, tried: str, progress: tasks.Progress | None
    ) -> None:
        params = {"volume": key, "target-vmid": target, "target-volume": key}
        call = ("POST", "/nodes/{node}/lxc/{vmid}/move_volume", params)
        send = self._sender(call, tried, node, lambda: self._require_both(vmid, target, node, tried), vmid=vmid)
        try:
            answer = send()
        except (errors.LostAnswerError, errors.TransientError) as lost:
            self._settle_moves({vmid, target}, node, progress)
            self._require_both(vmid, target, node, tried, lost)
            if self._has_moved(vmid, key, target, node, tried):
                return
            answer = send()
        self._await(answer, tried, node, progress)

    def _require_both(self, vmid: int, target: int, node: str, tried: str, lost: ZentoriaError | None = None) -> None:
        for one in (vmid, target):
            self._require_ours(one, node, tried, lost)

    def settle(self, vmid: int, *, node: str | None = None, progress: tasks.Progress | None = None) -> None:
        """As :meth:`Writer.settle`, and for moves of volumes from or to it."""
        super().settle(vmid, node=node, progress=progress)
        self._settle_moves({vmid}, self._node(node), progress)

    def _settle_moves(self, vmids: set[int], node: str, progress: tasks.Progress | None) -> None:
        for task in self._observe.running_tasks(node=node):
            if task.kind == TASK and vmids & vmids_of(task.subject):
                try:
                    self._await(task.upid, f"wait for {task.kind} of {task.subject}", node, progress)
                except tasks.TaskTimeoutError:
                    raise
                except TaskError:
                    continue  # how it ended shows in what is there now

    def _has_moved(self, vmid: int, key: str, target: int, node: str, tried: str) -> bool:
        here, there = (self._observe.config(one, node) for one in (vmid, target))
        if key in here.values and key in there.values:
            raise self._stuck(tried, node, f"both containers have a volume {key}", here, there)
        if key not in here.values and key not in there.values:
            raise self._stuck(tried, node, f"neither container has a volume {key}", here, there)
        return key in there.values

    def _stuck(self, tried: str, node: str, got: str, here: ContainerConfig, there: ContainerConfig) -> TaskError:
        return TaskError(
            tried,
            on=f"node {node}",
            got=got,
            todo=f"look at the volumes of {here.vmid} and {there.vmid} (`pct config`); nothing was removed",
        )

"""Snapshots of containers: take one, go back to one, remove one. Each is a task, and it is waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.write import Writer

_ALL = "/nodes/{node}/lxc/{vmid}/snapshot"
_ONE = _ALL + "/{snapname}"


class SnapshotWriter(Writer):
    """Writes like :class:`Writer`, and works with snapshots. The container's gate is taken.

    Every method raises TaskError when the task fails: where a storage cannot make snapshots, or where Proxmox can only
    go back to the newest one (ZFS), and HeldLockError when a task that was killed has left its lock.
    """

    def take(
        self,
        vmid: int,
        name: str,
        description: str,
        *,
        node: str | None = None,
        progress: tasks.Progress | None = None,
    ) -> None:
        """Snapshot all volumes of a container, and its configuration. It goes on running.

        After a lost answer we wait for what may be at work, and look; it is sent again when there is no such snapshot.

        Args:
            vmid: the container.
            name: nobody else's.
            description: free text.
            node: where the container is.
            progress: called while the task runs.
        """
        where = self._node(node)
        tried = f"take snapshot {name} of container {vmid}"
        params = {"snapname": name, "description": description}
        send = partial(self._call, "POST", _ALL, params, tried=tried, node=where, vmid=vmid)
        self._change(vmid, where, tried, send, lambda: name in self._whole(vmid, where), progress)

    def roll_back(
        self, vmid: int, name: str, *, node: str | None = None, progress: tasks.Progress | None = None
    ) -> None:
        """Put volumes and configuration of a container back to a snapshot. Proxmox stops it hard before; it stays so.

        The notes stay as they are now, and volumes that are not in the snapshot become unused ones. After a lost
        answer we wait for what may be at work, and send it again: twice does what once does, while it is stopped.

        Args:
            vmid: the container.
            name: of the snapshot.
            node: where the container is.
            progress: called while the task runs.
        """
        where = self._node(node)
        tried = f"put container {vmid} back to snapshot {name}"
        path = _ONE + "/rollback"
        send = partial(self._call, "POST", path, {}, tried=tried, node=where, vmid=vmid, snapname=name)
        self._change(vmid, where, tried, send, lambda: False, progress)

    def remove(self, vmid: int, name: str, *, node: str | None = None, progress: tasks.Progress | None = None) -> None:
        """Remove a snapshot; the container stays as it is. Nothing to do when there is none of that name.

        Args:
            vmid: the container.
            name: of the snapshot.
            node: where the container is.
            progress: called while the task runs.
        """
        where = self._node(node)
        tried = f"remove snapshot {name} of container {vmid}"
        send = partial(self._call, "DELETE", _ONE, {}, tried=tried, node=where, vmid=vmid, snapname=name)
        if self._is_there(vmid, name, where):
            self._change(vmid, where, tried, send, lambda: not self._is_there(vmid, name, where), progress)

    def _change(
        self,
        vmid: int,
        node: str,
        tried: str,
        send: Callable[[], object],
        is_done: Callable[[], bool],
        progress: tasks.Progress | None,
    ) -> None:
        def once() -> None:
            try:
                answer = send()
            except (errors.LostAnswerError, errors.TransientError):
                self._settle(vmid, node, progress)
                if is_done():
                    return
                answer = send()
            self._await(answer, tried, node, progress)

        with self._gates.vmid(vmid):
            self._locked(once)

    def _whole(self, vmid: int, node: str) -> set[str]:
        return {one.name for one in self._observe.snapshots(vmid, node) if not one.state}

    def _is_there(self, vmid: int, name: str, node: str) -> bool:
        return any(one.name == name for one in self._observe.snapshots(vmid, node))

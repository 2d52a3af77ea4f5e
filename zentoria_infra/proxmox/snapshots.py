"""Snapshots of containers: take one, go back to one, remove one. Each is a task, and it is waited for."""

from __future__ import annotations

from collections.abc import Callable

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.plan.model.snapshots import Snapshot
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.write import Writer

_ALL = "/nodes/{node}/lxc/{vmid}/snapshot"
_ONE = _ALL + "/{snapname}"
ROLLBACK = "vzrollback"
"""Type of the task that goes back to a snapshot."""


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
        send = self._sender(("POST", _ALL, params), tried, where, self._looker(vmid, where, tried), vmid=vmid)
        wanted = name, description.strip(), ""

        def is_done(lost: ZentoriaError) -> bool:
            return wanted in {(one.name, one.description, one.state) for one in self._observe.snapshots(vmid, where)}

        self._change(vmid, where, tried, send, is_done, progress)

    def roll_back(
        self, vmid: int, name: str, *, node: str | None = None, progress: tasks.Progress | None = None
    ) -> None:
        """Put volumes and configuration of a container back to a snapshot. Proxmox stops it hard before; it stays so.

        The notes stay as they are now, and volumes that are not in the snapshot become unused ones. After a lost
        answer we wait for what may be at work, and look whether the node has had a task for it since. It is sent again
        when it had none: what somebody has written since the first would be lost with a second.

        Args:
            vmid: the container.
            name: of the snapshot.
            node: where the container is.
            progress: called while the task runs.
        """
        where = self._node(node)
        tried = f"put container {vmid} back to snapshot {name}"
        path = _ONE + "/rollback"
        look = self._looker(vmid, where, tried)
        send = self._sender(("POST", path, {}), tried, where, look, vmid=vmid, snapname=name)
        before = {task.upid for task in self._observe.tasks(vmid, ROLLBACK, where)}

        def is_done(lost: ZentoriaError) -> bool:
            since = [task for task in self._observe.tasks(vmid, ROLLBACK, where) if task.upid not in before]
            if not since:
                if isinstance(lost, errors.AnswerTimeoutError):
                    raise lost  # it may still be waiting for a lock, and be carried out later
                return False
            if len(since) > 1 or self._observe.config(vmid, where).values.get("parent") != name:
                raise lost  # somebody else went back too: nobody can tell what is there
            self._await(since[0].upid, tried, where, progress)
            return True

        self._change(vmid, where, tried, send, is_done, progress)

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
        look = self._looker(vmid, where, tried)
        send = self._sender(("DELETE", _ONE, {}), tried, where, look, vmid=vmid, snapname=name)
        there = self._called(vmid, name, where)
        if there is None:
            return

        def is_done(lost: ZentoriaError) -> bool:
            now = self._called(vmid, name, where)
            # One that somebody else has taken since, under the same name, is another one.
            return now is None or (now.taken, now.description) != (there.taken, there.description)

        self._change(vmid, where, tried, send, is_done, progress)

    def _change(
        self,
        vmid: int,
        node: str,
        tried: str,
        send: Callable[[], object],
        is_done: Callable[[ZentoriaError], bool],
        progress: tasks.Progress | None,
    ) -> None:
        def once() -> None:
            try:
                answer = send()
            except (errors.LostAnswerError, errors.TransientError) as lost:
                self._settle(vmid, node, progress)
                self._require_ours(vmid, node, tried, lost)
                if is_done(lost):
                    return
                answer = send()
            self._await(answer, tried, node, progress)

        with self._gates.vmid(vmid):
            self._locked(once, self._looker(vmid, node, tried))

    def _called(self, vmid: int, name: str, node: str) -> Snapshot | None:
        return next((one for one in self._observe.snapshots(vmid, node) if one.name == name), None)

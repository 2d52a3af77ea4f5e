"""Changing the world: each method is one change, made alone on its VMID, waited for to its end."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zentoria_infra.errors import PermissionDeniedError, RefusedError, ZentoriaError
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.connection import Repeat
from zentoria_infra.proxmox.gates import storages_of
from zentoria_infra.proxmox.records import ContainerConfig
from zentoria_infra.proxmox.write_base import WriterBase

Value = str | int | float | bool
"""What a parameter may be; booleans become 0 and 1."""


class Writer(WriterBase):
    """Makes, changes and removes containers and pools on a Proxmox server. Safe from several threads.

    Every method takes the VMID's gate, awaits the task, and returns None or raises: the errors of
    :class:`~zentoria_infra.proxmox.connection.Connection`, TaskError for a task that fails.
    """

    def create(
        self,
        vmid: int,
        params: Mapping[str, Value],
        *,
        node: str | None = None,
        is_ours: Callable[[ContainerConfig], bool] | None = None,
        progress: tasks.Progress | None = None,
    ) -> None:
        """Make a container and wait until it is complete.

        Tags are taken out of the create call and set afterwards: for a token with rights on a pool alone,
        Proxmox refuses them in the create (it checks the VMID before it has joined the pool).

        Before the call is repeated, after a lost answer, we look what is there: one made by the lost call is
        waited for and taken; one that is not ours is refused.

        Args:
            vmid: the container's number.
            params: as for ``POST /nodes/{node}/lxc``, without vmid.
            node: where.
            is_ours: tells by its configuration whether this very call made it; default: same description.
            progress: called while the task runs.

        Raises:
            AlreadyExistsError: the VMID is taken, by something that was there before this call.
        """
        wanted = dict(params)
        tags = wanted.pop("tags", None)
        ours = is_ours or _same_description(wanted)
        with self._gates.vmid(vmid), self._gates.storages(storages_of(wanted)):
            self._locked(lambda: self._create_once(vmid, wanted, ours, self._node(node), progress))
            if tags:
                self._put_tags(vmid, tags, ours, self._node(node))

    def set_config(
        self,
        vmid: int,
        params: Mapping[str, Value],
        *,
        delete: Sequence[str] = (),
        revert: Sequence[str] = (),
        digest: str | None = None,
        node: str | None = None,
    ) -> None:
        """Change options, hot where Proxmox can, else pending until a restart.

        After a lost answer we look whose the container is, and send it again where that is safe, with the digest of
        that look: when the configuration is still the one that ``digest`` is of. Values that are there by then came
        with the lost call.

        Args:
            vmid: the container.
            params: option to new value.
            delete: options to remove.
            revert: options of which a change waits for a restart, which is taken back.
            digest: of the configuration that the change was planned from.
            node: where.

        Raises:
            ModifiedError: the digest is old.
        """
        lists = {"delete": ",".join(delete) or None, "revert": ",".join(revert) or None}
        everything = {**params, **lists, "digest": digest}
        where = self._node(node)
        with self._gates.vmid(vmid):
            try:
                self._put_config(vmid, everything, where)
            except (errors.LostAnswerError, errors.TransientError) as lost:
                if digest is None and isinstance(lost, errors.AnswerTimeoutError):
                    raise  # that was the time to wait
                there = self._require_ours(vmid, where, f"change container {vmid}", lost)
                if digest in (None, there.digest):
                    self._put_again(vmid, everything, where, there, lost)
                elif revert or not _has(there, params, delete):
                    raise

    def start(self, vmid: int, *, node: str | None = None, progress: tasks.Progress | None = None) -> None:
        """Start; nothing to do when it runs."""
        self._power(vmid, "start", {}, self._node(node), progress, done=errors.AlreadyRunningError)

    def shutdown(
        self,
        vmid: int,
        *,
        timeout: int = 60,
        force: bool = True,
        node: str | None = None,
        progress: tasks.Progress | None = None,
    ) -> None:
        """Shut down from inside within ``timeout`` seconds, then stop it hard if ``force``."""
        params = {"timeout": timeout, "forceStop": force}
        self._power(vmid, "shutdown", params, self._node(node), progress, done=errors.NotRunningError)

    def stop(self, vmid: int, *, node: str | None = None, progress: tasks.Progress | None = None) -> None:
        """Stop hard; nothing to do when it does not run."""
        self._power(vmid, "stop", {}, self._node(node), progress, done=errors.NotRunningError)

    def reboot(
        self, vmid: int, *, timeout: int = 60, node: str | None = None, progress: tasks.Progress | None = None
    ) -> None:
        """Shut down and start, which also brings pending changes into force.

        Raises:
            NotRunningError: it does not run.
        """
        self._power(vmid, "reboot", {"timeout": timeout}, self._node(node), progress, done=None)

    def resize(
        self,
        vmid: int,
        disk: str,
        size: str,
        *,
        digest: str | None = None,
        node: str | None = None,
        progress: tasks.Progress | None = None,
    ) -> None:
        """Grow ``disk`` ("rootfs", "mp0") to ``size`` ("20G"; nothing to do when it has it) or by it ("+4G").

        Proxmox never shrinks. After a lost answer it is asked for a size again, but not to grow by one, and not with
        a digest: the first call has changed that.

        Raises:
            ModifiedError: ``digest`` was given, and is not that of the configuration any more.
        """
        where = self._node(node)
        call = ("PUT", "/nodes/{node}/lxc/{vmid}/resize", {"disk": disk, "size": size, "digest": digest})
        has_it = () if size.startswith("+") else (errors.AlreadySizedError,)
        done = () if digest else has_it
        tried = f"resize {disk} of container {vmid} to {size}"
        with self._gates.vmid(vmid), contextlib.suppress(*has_it):
            self._locked(
                lambda: self._lost_and_found(vmid, where, call, tried, progress, done=done),
                self._looker(vmid, where, tried),
            )

    def destroy(
        self,
        vmid: int,
        *,
        purge: bool = True,
        digest: str = "",
        node: str | None = None,
        progress: tasks.Progress | None = None,
    ) -> None:
        """Remove a stopped container and its volumes; with ``purge`` also from jobs, pools and ACLs.

        Volumes of its name that its configuration does not speak of stay: whose they are, nobody knows, and another
        guest may have them mounted. Proxmox removes its firewall file with it. It is not stopped first: that is a
        decision of the caller.

        After a lost answer we wait for what may be at work, and look: when ours is gone, it is done, whatever
        somebody else has made there meanwhile.

        Args:
            vmid: the container.
            purge: see above.
            digest: of the configuration that it is destroyed with; Proxmox takes none here, so it counts only
                before a repeated call.
            node: where.
            progress: called while the task runs.

        Raises:
            ModifiedError: the answer was lost, and the configuration is not that of ``digest`` any more.
        """
        where = self._node(node)
        params = {"purge": purge, "destroy-unreferenced-disks": False}
        with self._gates.vmid(vmid):
            look = self._looker(vmid, where, f"destroy container {vmid}", digest)
            self._locked(lambda: self._destroy_once(vmid, params, digest, where, progress), look)

    def create_pool(self, poolid: str, comment: str = "") -> None:
        """Make a pool; nothing to do when it exists. Needs Pool.Allocate."""
        try:
            params = {"poolid": poolid, "comment": comment}
            self._call("POST", "/pools", params, repeat=Repeat.SAFE, tried=f"make pool {poolid}")
        except errors.AlreadyExistsError:
            return

    def add_to_pool(self, poolid: str, vmids: Sequence[int] = (), storages: Sequence[str] = ()) -> None:
        """Add guests and storages to a pool."""
        params = {
            "poolid": poolid,
            "vms": ",".join(str(vmid) for vmid in vmids) or None,
            "storage": ",".join(storages) or None,
        }
        self._call("PUT", "/pools", params, tried=f"add to pool {poolid}")

    def settle(self, vmid: int, *, node: str | None = None, progress: tasks.Progress | None = None) -> None:
        """Wait for tasks that still run on ``vmid``, as those of a run that was killed; their end is not judged."""
        with self._gates.vmid(vmid):
            self._settle(vmid, self._node(node), progress)

    def _put_config(self, vmid: int, params: Mapping[str, Any], node: str) -> None:
        tried = f"change container {vmid}"
        call = ("PUT", "/nodes/{node}/lxc/{vmid}/config", params)
        self._sender(call, tried, node, self._looker(vmid, node, tried), vmid=vmid)()

    def _put_again(
        self, vmid: int, params: Mapping[str, Any], node: str, there: ContainerConfig, lost: ZentoriaError
    ) -> None:
        """The same change once more, of the configuration that was looked at and of no other.

        What makes a new volume is not sent again where the lost call has changed anything: twice would make two.
        """
        if params.get("digest") is None and any(_allocates(key, value) for key, value in params.items()):
            raise lost
        self._put_config(vmid, {**params, "digest": there.digest}, node)

    def _put_tags(self, vmid: int, tags: Value, ours: Callable[[ContainerConfig], bool], node: str) -> None:
        """Set the tags of the container that was just made."""
        try:
            self._put_config(vmid, {"tags": tags}, node)
        except (errors.LostAnswerError, errors.TransientError) as lost:
            there = self._look(vmid, node)
            if there is None or not ours(there):
                raise
            self._put_again(vmid, {"tags": tags}, node, there, lost)

    def _power(
        self,
        vmid: int,
        action: str,
        params: Mapping[str, Any],
        node: str,
        progress: tasks.Progress | None,
        *,
        done: type[Exception] | None,
    ) -> None:
        """One power change; ``done`` is the refusal that says that there is nothing to do."""
        path = "/nodes/{node}/lxc/{vmid}/status/" + action

        def once() -> None:
            try:
                self._lost_and_found(
                    vmid,
                    node,
                    ("POST", path, params),
                    f"{action} container {vmid}",
                    progress,
                    done=(done,) if done else (),
                )
            except Exception as error:
                if done is None or not isinstance(error, done):
                    raise

        with self._gates.vmid(vmid):
            self._locked(once, self._looker(vmid, node, f"{action} container {vmid}"))

    def _destroy_once(
        self, vmid: int, params: Mapping[str, Any], digest: str, node: str, progress: tasks.Progress | None
    ) -> None:
        tried = f"destroy container {vmid}"
        call = ("DELETE", "/nodes/{node}/lxc/{vmid}", params)
        send = self._sender(call, tried, node, self._looker(vmid, node, tried, digest), vmid=vmid)
        try:
            answer = send()
        except (errors.LostAnswerError, errors.TransientError) as lost:
            self._settle(vmid, node, progress)
            there = self._look(vmid, node)
            if there is None or not self._whose(there):
                return
            if digest and there.digest != digest:
                raise errors.ModifiedError(
                    tried,
                    on=f"node {node}",
                    got=f"the answer was lost ({lost.got}), and its configuration has changed: it was not sent again",
                    todo="run again: what is there is planned anew",
                ) from lost
            try:
                answer = send()
            except (errors.MissingError, PermissionDeniedError):
                # A pool token is told 403 of what is gone: the right is checked before the existence.
                return
        self._await(answer, tried, node, progress)

    def _create_once(
        self,
        vmid: int,
        params: Mapping[str, Value],
        ours: Callable[[ContainerConfig], bool],
        node: str,
        progress: tasks.Progress | None,
    ) -> None:
        tried = f"create container {vmid}"
        path = "/nodes/{node}/lxc"
        everything = {**params, "vmid": vmid}
        try:
            answer = self._call("POST", path, everything, tried=tried, node=node)
        except (errors.LostAnswerError, errors.TransientError) as lost:
            if self._was_made(vmid, ours, node, lost.got, progress):
                return
            try:
                answer = self._call("POST", path, everything, tried=tried, node=node)
            except errors.AlreadyExistsError as error:
                # The lost call was slower than our look at what it did.
                if self._was_made(vmid, ours, node, error.got, progress):
                    return
                raise
        self._await(answer, tried, node, progress)

    def _was_made(
        self,
        vmid: int,
        ours: Callable[[ContainerConfig], bool],
        node: str,
        why: str,
        progress: tasks.Progress | None,
    ) -> bool:
        """After a lost answer: whether that call has made the container.

        While a create runs, the configuration holds nothing but its lock: only afterwards it can be told whose
        it is. A create that fails takes the configuration away again.
        """
        began = time.monotonic()
        while True:
            self._settle(vmid, node, progress)
            found = self._look(vmid, node)
            if found is None:
                return False
            if found.lock != "create" or time.monotonic() - began > self._pace.deadline:
                break
            self._sleep(self._pace.longest)
        if ours(found):
            return True
        raise RefusedError(
            f"create container {vmid}",
            on=f"node {node}",
            got=f"the answer was lost ({why}), and {vmid} is a container that this call did not make",
            todo="look at it on the node; remove it by hand if it is not needed",
        )


def _allocates(key: str, value: Value) -> bool:
    """Whether setting an option makes a new volume (``storage:GiB``): twice would make two."""
    volume = str(value).removeprefix("volume=").partition(",")[0]
    return re.fullmatch(r"rootfs|mp\d+", key) is not None and re.fullmatch(r"[^:/]+:\d+(\.\d+)?", volume) is not None


def _has(there: ContainerConfig, params: Mapping[str, Value], delete: Sequence[str]) -> bool:
    """Whether a configuration is what a change makes of it, as far as that can be told without knowing its shapes."""
    wanted = {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in params.items()}
    same = all(there.values.get(key, "").strip() == value.strip() for key, value in wanted.items())
    return same and not any(key in there.values for key in delete)


def _same_description(params: Mapping[str, Value]) -> Callable[[ContainerConfig], bool]:
    wanted = str(params.get("description", "")).strip()
    return lambda config: bool(wanted) and config.description == wanted

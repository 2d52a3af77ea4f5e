"""What all changes have in common: awaited, tried again while a lock is busy, found when an answer is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tenacity

from zentoria_infra.errors import PermissionDeniedError, RefusedError, TaskError, ZentoriaError
from zentoria_infra.plan.model import ownership, parking
from zentoria_infra.proxmox import errors, tasks
from zentoria_infra.proxmox.connection import Connection, Repeat
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.observe import Observer
from zentoria_infra.proxmox.records import ContainerConfig

_T = TypeVar("_T")

Whose = Callable[[ContainerConfig], bool]
"""Tells by a container's configuration whether it is ours."""

_BUSY = "somebody else held its lock"

LOCK_ATTEMPTS = 4
"""How often a change is tried whose task found the lock file busy; Proxmox waits 10 s each time itself."""


def of_site(site: str = "") -> Whose:
    """Tells containers that carry the mark of a site (of any, where none is named): its own, and parking ones."""

    def is_ours(config: ContainerConfig) -> bool:
        text = config.values.get("description", "")
        return ownership.carries_mark(text, config.vmid, site) or parking.carries_mark(text, site)

    return is_ours


class WriterBase:
    """The way that a change of a container takes.

    Args:
        connection: the API.
        observer: for the re-read before a change is repeated.
        gates: shared with everything else that writes.
        pace: how tasks are polled.
        sleep: waits seconds; replaced in tests.
        whose: tells ours: what is not is never changed by a call that is sent again.
    """

    def __init__(
        self,
        connection: Connection,
        observer: Observer,
        gates: Gates,
        *,
        pace: tasks.Pace | None = None,
        sleep: Callable[[float], None] = time.sleep,
        whose: Whose | None = None,
    ) -> None:
        self._call = connection.call
        self._read = connection.reader()
        self._observe = observer
        self._gates = gates
        self._pace = pace or tasks.Pace()
        self._sleep = sleep
        self.warnings: list[str] = []
        """What tasks have warned of, with what they were for; they ended well all the same."""
        self._whose = whose or of_site()

    def _node(self, node: str | None) -> str:
        return node or self._observe.node

    def _await(self, answer: Any, tried: str, node: str, progress: tasks.Progress | None) -> None:
        if not tasks.is_upid(answer):
            raise TaskError(
                tried,
                on=f"node {node}",
                got=f"no task id in the answer, but {answer!r}",
                todo="look at the node's task list; the server may be of a version that this tool does not know",
            )
        warned = tasks.await_task(
            self._read,
            answer,
            tried=tried,
            on=f"node {node}",
            pace=self._pace,
            progress=progress,
            sleep=self._sleep,
        )
        self.warnings += [f"{tried}: {line}" for line in warned]

    def _sender(
        self,
        call: tuple[str, str, Mapping[str, Any]],
        tried: str,
        node: str,
        look: Callable[[], object],
        **path: str | int,
    ) -> Callable[[], Any]:
        """Sends a change; again while the lock file is busy, and before that ``look`` is called (:meth:`_locked`)."""
        verb, template, params = call
        return lambda: self._call(
            verb, template, params, repeat=Repeat.UNSENT, tried=tried, again=look, node=node, **path
        )

    def _locked(self, change: Callable[[], _T], look: Callable[[], object] = lambda: None) -> _T:
        """Make a change again while its *task* finds the lock file busy and does nothing.

        Somebody else held the lock, for ten seconds or more: ``look`` sees before each repetition that the container
        is still ours, and what it raises ends it.
        """
        busy = False

        def once() -> _T:
            nonlocal busy
            if busy:
                look()
            busy = True
            return change()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(tasks.TaskLockBusyError),
            stop=tenacity.stop_after_attempt(LOCK_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=5),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(once)

    def _lost_and_found(
        self,
        vmid: int,
        node: str,
        call: tuple[str, str, Mapping[str, Any]],
        tried: str,
        progress: tasks.Progress | None,
        *,
        done: tuple[type[Exception], ...],
    ) -> None:
        """Send a change; when its answer is lost, wait for what it may have begun, then send it once more.

        Before that we look whose the container is by now: what somebody else made meanwhile is not touched. ``done``
        are the refusals of the second call that say that the first was carried out. Without any, the change is not
        sent a second time.
        """
        send = self._sender(call, tried, node, self._looker(vmid, node, tried), vmid=vmid)
        try:
            answer = send()
        except (errors.LostAnswerError, errors.TransientError) as lost:
            if not done:
                raise
            self._settle(vmid, node, progress)
            self._require_ours(vmid, node, tried, lost)
            try:
                answer = send()
            except done:
                return
        self._await(answer, tried, node, progress)

    def _settle(self, vmid: int, node: str, progress: tasks.Progress | None) -> None:
        for task in self._observe.running_tasks(vmid, node):
            try:
                self._await(task.upid, f"wait for {task.kind} of {vmid}", node, progress)
            except tasks.TaskTimeoutError:
                raise
            except TaskError:
                continue  # how another's task ended shows in what is there now

    def _looker(self, vmid: int, node: str, tried: str, digest: str = "") -> Callable[[], object]:
        """What looks before a change is sent again that found the lock busy; with ``digest``, that it is the same."""

        def look() -> None:
            there = self._require_ours(vmid, node, tried)
            if digest and there.digest != digest:
                raise errors.ModifiedError(
                    tried,
                    on=f"node {node}",
                    got=f"{_BUSY}, and its configuration has changed: it was not sent again",
                    todo="run again: what is there is planned anew",
                )

        return look

    def _require_ours(self, vmid: int, node: str, tried: str, lost: ZentoriaError | None = None) -> ContainerConfig:
        """Look before a call is repeated whose answer was lost, or that found the lock busy.

        Raises:
            RefusedError: the container is gone, or somebody else's by now.
        """
        why = f"the answer was lost ({lost.got})" if lost is not None else _BUSY
        there = self._look(vmid, node)
        if there is None or not self._whose(there):
            what = f"there is no container {vmid} of ours any more" if there is None else f"{vmid} is another's by now"
            raise RefusedError(
                tried,
                on=f"node {node}",
                got=f"{why}, and {what}: it was not sent again",
                todo=f"look at {vmid} on the node, then run again: what is there is planned anew",
            )
        return there

    def _look(self, vmid: int, node: str) -> ContainerConfig | None:
        """The container, or None: a pool token is told 403 of what does not exist."""
        try:
            return self._observe.config(vmid, node)
        except (errors.MissingError, PermissionDeniedError):
            return None

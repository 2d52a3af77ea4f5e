"""Tasks: what Proxmox does after it has answered. A UPID says that it began, nothing more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from zentoria_infra.errors import TaskError, ZentoriaError
from zentoria_infra.proxmox.connection import Reader
from zentoria_infra.proxmox.errors import is_lock_busy

_UPID = re.compile(
    r"UPID:(?P<node>[^:\s]+):[0-9A-Fa-f]+:[0-9A-Fa-f]+:(?P<start>[0-9A-Fa-f]+):"
    r"(?P<kind>[^:\s]+):(?P<subject>[^:]*):(?P<user>[^:]+):"
)
_WARNINGS = re.compile(r"WARNINGS: \d+")

LOG_TAIL = 15
"""Lines of the task's log that an error quotes."""


@dataclass(frozen=True)
class Pace:
    """How a task is polled, in seconds.

    Attributes:
        first: before the first look.
        growth: factor between two looks.
        longest: between two looks at most.
        deadline: after which we stop waiting. The task itself goes on at the node.
    """

    first: float = 0.06
    growth: float = 1.5
    longest: float = 2.0
    deadline: float = 900.0


@dataclass(frozen=True)
class TaskNews:
    """What the progress callback gets at each look: the task, seconds so far, and whether it runs."""

    upid: str
    elapsed: float
    running: bool


Progress = Callable[[TaskNews], None]


class TaskLockBusyError(TaskError):
    """The task did nothing, since the lock file was busy. May be tried again."""


class TaskTimeoutError(TaskError):
    """The task still runs after our deadline."""


def is_upid(value: object) -> bool:
    """Whether an answer is a UPID (``UPID:node:pid:pstart:starttime:type:id:user:``)."""
    return isinstance(value, str) and _UPID.fullmatch(value) is not None


def node_of(upid: str) -> str:
    """The node that a task runs on; only that one knows it."""
    found = _UPID.fullmatch(upid)
    if found is None:
        raise TaskError(
            "follow a task",
            got=f"{upid!r} is not a task id",
            todo="look at the node's task list; the server may be of a version that this tool does not know",
        )
    return found["node"]


def await_task(
    read: Reader,
    upid: str,
    *,
    tried: str,
    on: str = "",
    pace: Pace | None = None,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str, ...]:
    """Wait until a task has ended well; return what it warned of, a line each.

    Args:
        read: GET.
        upid: the task.
        tried: what it does, for errors: "create container 404".
        on: where, for errors.
        pace: how often to look, and for how long.
        progress: called at each look.
        sleep: waits seconds.
        clock: monotonic seconds.

    Raises:
        TaskError: it ended with anything but ``OK`` or ``WARNINGS: n``; quotes exit status and log.
        TaskLockBusyError: it ended because a lock file was busy.
        TaskTimeoutError: it did not end before the deadline.
        ZentoriaError: how it goes on could not be asked; it names the task.
    """
    pace = pace or Pace()
    node = node_of(upid)
    began = clock()
    wait = pace.first
    while True:
        sleep(wait)
        try:
            status = read("/nodes/{node}/tasks/{upid}/status", node=node, upid=upid)
        except ZentoriaError as error:
            error.tried = f"{tried}: {error.tried}"
            error.got = f"{error.got}; how it goes on is not known (task {upid})"
            raise
        elapsed = clock() - began
        running = status.get("status") != "stopped"
        if progress is not None:
            progress(TaskNews(upid, elapsed, running))
        if not running:
            break
        if elapsed >= pace.deadline:
            raise TaskTimeoutError(
                tried,
                on=on,
                got=f"still running after {elapsed:.0f} s (task {upid})",
                todo="watch it in the node's task list; run again when it has ended",
            )
        wait = min(wait * pace.growth, pace.longest, max(pace.deadline - elapsed, pace.first))
    exit_status = str(status.get("exitstatus", "no exit status"))
    if exit_status == "OK":
        return ()
    if _WARNINGS.fullmatch(exit_status):
        return _warnings(read, node, upid, exit_status)
    kind = TaskLockBusyError if is_lock_busy(exit_status) else TaskError
    raise kind(tried, on=on, got=_report(read, node, upid, exit_status), todo=_todo(exit_status))


def _warnings(read: Reader, node: str, upid: str, exit_status: str) -> tuple[str, ...]:
    """Lines of a task's log that begin with ``WARN:`` (PVE::RESTEnvironment); its exit status where there are none."""
    try:
        lines = log(read, upid, node=node)
    except ZentoriaError as error:
        return (f"{exit_status} (its log could not be read: {error.got})",)
    found = tuple(line.removeprefix("WARN:").strip() for line in lines if line.startswith("WARN:"))
    return found or (exit_status,)


def _report(read: Reader, node: str, upid: str, exit_status: str) -> str:
    """Exit status and log; a log that cannot be read hides neither how the task ended nor that it may be repeated."""
    try:
        lines = log(read, upid, node=node)
    except ZentoriaError as error:
        lines = [f"(its log could not be read: {error.got})"]
    tail = [line for line in lines if line.strip() and line != f"TASK ERROR: {exit_status}"][-LOG_TAIL:]
    return "\n".join([exit_status, *(f"    {line}" for line in tail)])


def log(read: Reader, upid: str, *, node: str | None = None) -> list[str]:
    """All lines of a task's log (the default of the API is the first 50)."""
    lines = read("/nodes/{node}/tasks/{upid}/log", {"start": 0, "limit": 10_000}, node=node or node_of(upid), upid=upid)
    return [str(line.get("t", "")) for line in lines]


def _todo(exit_status: str) -> str:
    low = exit_status.lower()
    if "no space left" in low or ("not enough" in low and "space" in low):
        return "the storage is full: free space, or choose another storage in the site file"
    if ("volume" in low and "does not exist" in low) or "can't find" in low:
        return "is the template on that storage? download it, or name another in the site file"
    if "bridge" in low and "does not exist" in low:
        return "create the bridge on the node, or name another in the site file"
    if found := re.search(r"is locked \(([^)]+)\)", exit_status):
        return f"wait for the {found[1]} to end; when nothing of that kind runs, `pct unlock` on the node"
    return "see the task's log on the node, then run again"

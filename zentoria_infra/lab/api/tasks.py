"""Tasks: a thread, an UPID, a log file whose last line is the task's end (PVE::Tools, PVE::RESTEnvironment)."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from zentoria_infra.lab.api.faults import Fault
from zentoria_infra.lab.api.files import read_text, write_atomic
from zentoria_infra.lab.runtime import Log, RuntimeFailure

Work = Callable[[Log], None]
UNEXPECTED = "unexpected status"
_ABORT_WAIT = 5.0
_KEEP = 2000
_UPID = re.compile(
    r"UPID:([a-zA-Z0-9-]+):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s]+):([^:\s]*):([^:\s]+):"
)


class Aborted(RuntimeFailure):
    """Somebody stopped the task; it unwinds at the next line that it logs."""


@dataclasses.dataclass(frozen=True)
class Upid:
    """The parts of a task's name: ``UPID:node:pid:pstart:starttime:type:id:user:`` (numbers in hexadecimal)."""

    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str

    def __str__(self) -> str:
        return (
            f"UPID:{self.node}:{self.pid:08X}:{self.pstart:08X}:{self.starttime:08X}:{self.type}:{self.id}:{self.user}:"
        )

    @property
    def owner(self) -> str:
        """The user without the name of a token."""
        return self.user.partition("!")[0]

    @property
    def tokenid(self) -> str:
        """The name of the token; empty when the task was started without one."""
        return self.user.partition("!")[2]


def parse_upid(text: str) -> Upid | None:
    """Read a task's name; None when it is none."""
    match = _UPID.fullmatch(text)
    if not match:
        return None
    node, pid, pstart, start, kind, ident, user = match.groups()
    return Upid(node, int(pid, 16), int(pstart, 16), int(start, 16), kind, ident, user)


@dataclasses.dataclass
class Task:
    """A task. ``status`` is empty while it runs, then ``OK`` or the text of its error; times in seconds."""

    upid: Upid
    status: str = ""
    endtime: int = 0

    @property
    def running(self) -> bool:
        """Whether it has no end yet."""
        return not self.status


class Tasks:
    """Starts tasks and remembers them in files: ``index`` (finished), ``active`` (running), one log a task."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._aborted: set[str] = set()
        self._serial = int(time.time()) % 0x10000 * 0x10
        folder.mkdir(parents=True, exist_ok=True)
        self._load()

    def _load(self) -> None:
        finished = (read_text(self._folder / "index") or "").splitlines()
        if len(finished) > 2 * _KEEP:
            finished = finished[-_KEEP:]
            write_atomic(self._folder / "index", "".join(f"{line}\n" for line in finished))
        for line in finished:
            name, _, rest = line.partition(" ")
            end, _, status = rest.partition(" ")
            if (upid := parse_upid(name)) and status:
                self._tasks[name] = Task(upid, status, int(end, 16))
        left = [name for name in (read_text(self._folder / "active") or "").split() if name not in self._tasks]
        for name in left:
            if upid := parse_upid(name):
                task = Task(upid, self._end_in_log(name), int(time.time()))
                self._tasks[name] = task
                self._append(task)
        self._write_active()

    def _end_in_log(self, name: str) -> str:
        lines = self.lines(name)
        last = lines[-1] if lines else ""
        if last == "TASK OK" or last.startswith("TASK WARNINGS: "):
            return last.removeprefix("TASK ")
        return last.removeprefix("TASK ERROR: ") if last.startswith("TASK ERROR: ") else UNEXPECTED

    def log_path(self, name: str) -> Path:
        """The file of a task's log."""
        upid = parse_upid(name)
        return self._folder / (f"{upid.starttime:X}"[-1] if upid else "0") / name.rstrip(":").replace("/", "_")

    def lines(self, name: str) -> list[str]:
        """A task's log so far."""
        text = read_text(self.log_path(name)) or ""
        return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []

    def get(self, name: str) -> Task | None:
        """A task by its UPID."""
        with self._lock:
            return self._tasks.get(name)

    def all(self) -> list[Task]:
        """All tasks, the newest first."""
        with self._lock:
            return list(self._tasks.values())[::-1]

    def start(self, kind: str, ident: str, user: str, work: Work) -> str:
        """Start a task; answers its UPID at once. What ``work`` raises becomes its exit status."""
        with self._lock:
            self._serial += 1
            clock = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) & 0xFFFFFFFF
            upid = Upid(self._node, self._serial, clock, int(time.time()), kind, ident, user)
            name = str(upid)
            task = Task(upid)
            self._tasks[name] = task
            path = self.log_path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o640)
            self._write_active()
            thread = threading.Thread(target=self._run, args=(task, work), name=f"task-{kind}-{ident}", daemon=True)
            self._threads[name] = thread
        thread.start()
        return name

    def _run(self, task: Task, work: Work) -> None:
        name = str(task.upid)
        path = self.log_path(name)
        warnings = 0

        def log(line: str) -> None:
            nonlocal warnings
            if name in self._aborted:
                raise Aborted("received interrupt")
            warnings += line.startswith("WARN: ")
            with path.open("a", encoding="utf-8") as stream:
                stream.write(line.rstrip("\n") + "\n")

        try:
            work(log)
            status = f"WARNINGS: {warnings}" if warnings else "OK"
        except Fault as fault:
            status = fault.message.strip()
        except (RuntimeFailure, OSError) as error:
            status = str(error).strip() or type(error).__name__
        except Exception as error:  # the end of a task is always told; a bug must not leave it running for ever
            status = f"internal error: {type(error).__name__}: {error}"
        status = " ".join(status.split("\n")) or "unknown error"
        with self._lock:
            well = status in ("OK", f"WARNINGS: {warnings}")
            if name in self._aborted and not well:
                status = UNEXPECTED
            self._aborted.discard(name)
        if status != UNEXPECTED:
            log(f"TASK {status}" if well else f"TASK ERROR: {status}")
        with self._lock:
            task.endtime = int(time.time())
            task.status = status
            self._append(task)
            self._threads.pop(name, None)
            self._write_active()

    def _append(self, task: Task) -> None:
        with (self._folder / "index").open("a", encoding="utf-8") as stream:
            stream.write(f"{task.upid} {task.endtime:08X} {task.status}\n")

    def _write_active(self) -> None:
        running = [name for name, task in self._tasks.items() if task.running]
        write_atomic(self._folder / "active", "".join(f"{name}\n" for name in running))

    def abort(self, name: str) -> None:
        """Stop a running task (at the next line that it logs) and wait a little for its end; a finished one stays."""
        with self._lock:
            thread = self._threads.get(name)
            if thread is not None:
                self._aborted.add(name)
        if thread is not None:
            thread.join(_ABORT_WAIT)

    def wait(self, timeout: float) -> bool:
        """Wait until no task runs; False when some still do after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            return not any(thread.is_alive() for thread in self._threads.values())

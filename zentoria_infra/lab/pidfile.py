"""Pid files that do not mistake another process for ours: pid and start time together."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_ZOMBIE = "ZX"


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc(5)); 0 when there is none, or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # the second field is the program's name in brackets, and may hold blanks and brackets itself
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in _ZOMBIE else int(fields[19])


class PidFile:
    """The file in which a process of the lab says that it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, pid: int | None = None) -> None:
        """Write a process's pid (this one's when None) and start time."""
        number = os.getpid() if pid is None else pid
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".new")
        partial.write_text(f"{number} {started(number)}\n")
        partial.replace(self.path)

    def alive(self) -> int:
        """Pid of the process when it still runs, else 0. A reused number is not taken for it."""
        try:
            pid, since = (int(word) for word in self.path.read_text().split())
        except (OSError, ValueError):
            return 0
        return pid if since and started(pid) == since else 0

    def remove(self) -> None:
        """Remove the file; a missing one is no error."""
        self.path.unlink(missing_ok=True)

    def end(self, seconds: float) -> bool:
        """Ask the process to end (SIGTERM), insist after ``seconds`` (SIGKILL). False when none ran."""
        pid = self.alive()
        if not pid:
            self.remove()
            return False
        since = started(pid)
        _send(pid, signal.SIGTERM)
        if not _gone(pid, since, seconds):
            _send(pid, signal.SIGKILL)
            _gone(pid, since, 5)
        self.remove()
        return True


def _gone(pid: int, since: int, seconds: float) -> bool:
    """Wait until a process has ended. It may remove its pid file long before."""
    deadline = time.monotonic() + seconds
    while since and started(pid) == since:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return

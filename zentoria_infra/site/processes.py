"""Which process of which machine one is, in such a way that another can tell later whether it has died."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ENDED = "ZX"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def who() -> str:
    """The user and the machine, as ``ada@desk``."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in some containers of CI
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def identity() -> dict[str, Any]:
    """This process: what :func:`is_dead` asks for. Plain values for JSON; no secrets."""
    return {"machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_dead(record: Mapping[str, Any]) -> bool:
    """Whether the process that said this of itself ran here and has ended. False wherever that is not sure.

    The number of a process may have been given to another one since; the time when it started tells them apart.
    """
    machine, pid, started = (record.get(name) for name in ("machine", "pid", "started"))
    if not machine or machine != _machine() or not isinstance(pid, int) or not isinstance(started, int):
        return False
    if pid <= 1 or not started:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # it is there, and somebody else's
    found = _started(pid)
    return found is not None and found != started


def _machine() -> str:
    """Where process numbers mean the same: one boot of one kernel, and one PID namespace. Empty where unknown."""
    try:
        words = f"{_BOOT.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5)); 0 when it has ended, None when it may be hidden."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the second field is the program's name in brackets, and may hold blanks and brackets itself
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in _ENDED else int(fields[19])

"""What all parts of the agent share: running commands, failing with words, writing files atomically."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import select
import signal
import subprocess
from collections.abc import Iterable, Sequence
from typing import IO, Any

from . import paths
from .failure import Failed

__all__ = ["Failed"]

Resource = dict[str, Any]
"""One resource as the workstation sent it (see ``zentoria_infra.guest.state``)."""

STATE = os.environ.get("ZENTORIA_AGENT_STATE", "/var/lib/zentoria")
KEPT = 1 << 20
"""Bytes of each stream of a command that are looked at, from its end."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Outcome:
    """What a handler found or did: ``changed`` with a line of detail and perhaps a diff.

    ``before`` and ``after`` are what was there and what shall be, in a few words and without secrets. ``beneath`` is
    how much lies where a volume is going to be mounted, in bytes.
    """

    def __init__(
        self, changed: bool, detail: str = "", diff: str = "", before: str = "", after: str = "", beneath: int = 0
    ) -> None:
        self.changed = changed
        self.detail = detail
        self.diff = diff
        self.before = before
        self.after = after
        self.beneath = beneath


SAME = Outcome(False)


def environment(**more: str) -> dict[str, str]:
    """The environment of every command: nothing of the caller's but PATH, so that a run is the same everywhere."""
    base = {"PATH": os.environ.get("ZENTORIA_AGENT_PATH", PATH), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return {**base, "HOME": "/root", **more}


def run(
    argv: Sequence[str],
    stdin: str | None = None,
    user: str | None = None,
    timeout: float = 120,
    cwd: str = "/",
    env: dict[str, str] | None = None,
    hold: Sequence[int] = (),
) -> tuple[int, str]:
    """Run a command without a shell; gives back (exit code, output of both streams), as :func:`run_apart` does."""
    code, output, errors = run_apart(argv, stdin, user, timeout, cwd, env, hold)
    return code, output + errors


def run_apart(
    argv: Sequence[str],
    stdin: str | None = None,
    user: str | None = None,
    timeout: float = 120,
    cwd: str = "/",
    env: dict[str, str] | None = None,
    hold: Sequence[int] = (),
) -> tuple[int, str, str]:
    """Run a command without a shell; gives back (exit code, standard output, standard error).

    A command that is not there counts as exit code 127, one that runs longer than ``timeout`` seconds as 124, like a
    shell's; then its whole process group is killed. Input and output are memory files and no pipes: a daemon that a
    command leaves behind would keep a pipe open, and the wait would not end. ``hold`` are descriptors it inherits.
    """
    more: dict[str, Any] = {}
    full = environment(**(env or {}))
    if user not in (None, "root"):
        entry = account(user)
        if entry.pw_uid != os.geteuid():
            more = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}
        full["HOME"] = entry.pw_dir
        full["USER"] = full["LOGNAME"] = user
    streams = [os.memfd_create(name) for name in ("in", "out", "err")]
    try:
        with os.fdopen(os.dup(streams[0]), "wb") as entrance:
            entrance.write((stdin or "").encode())
        os.lseek(streams[0], 0, os.SEEK_SET)
        process = subprocess.Popen(
            list(argv), stdin=streams[0], stdout=streams[1], stderr=streams[2], cwd=cwd, env=full, umask=0o022,
            start_new_session=True, pass_fds=tuple(hold), **more,
        )  # fmt: skip
        code = _wait(process, timeout)
        late = f"\nran longer than {timeout:.0f} seconds" if code == 124 else ""
        return code, _tail(streams[1]), _tail(streams[2]) + late
    except FileNotFoundError as error:
        return 127, "", f"{error.filename}: not found"
    finally:
        for stream in streams:
            os.close(stream)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Wait by the kernel's word: ``Popen.wait(timeout)`` looks only every 50 ms."""
    watched = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(watched, select.POLLIN)
        if poller.poll(timeout * 1000):
            return process.wait()
    finally:
        os.close(watched)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return 124


def _tail(stream: int) -> str:
    size = os.lseek(stream, 0, os.SEEK_END)
    start = max(0, size - KEPT)
    return os.pread(stream, size - start, start).decode(errors="replace")


def must(argv: Sequence[str], detail: str, **options: Any) -> str:
    """Run a command that has to work; its output."""
    code, output = run(argv, **options)
    if code:
        raise Failed(detail, " ".join(argv), output)
    return output


def account(name: str) -> pwd.struct_passwd:
    """The user's entry. Raises Failed."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Failed(f"there is no user '{name}'") from None


def sha256_of(path: str) -> str | None:
    """Hash of a regular file's content; None when it is not one."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as stream:
        return sha256_in(stream)


def sha256_in(stream: IO[bytes]) -> str:
    """Hash of what a stream still holds."""
    digest = hashlib.sha256()
    for piece in paths.pieces(stream):
        digest.update(piece)
    return digest.hexdigest()


def write_atomically(path: str, data: bytes | Iterable[bytes], mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Write a file so that a reader sees the old or the new one, with its owner and mode from the first moment.

    Missing folders on the way are made.
    """
    with paths.parent(path, make=True) as (folder, name):
        paths.replace(folder, name, (data,) if isinstance(data, bytes) else data, mode, uid, gid)


def load_json(name: str) -> dict[str, Any]:
    """A small file of the agent's own state; {} when it is missing or broken."""
    try:
        with open(os.path.join(STATE, name), "rb") as stream:
            found = json.loads(stream.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save_json(name: str, value: dict[str, Any]) -> None:
    """Keep a small file of the agent's own state."""
    write_atomically(os.path.join(STATE, name), json.dumps(value, sort_keys=True).encode())

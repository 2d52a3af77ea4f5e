"""What all parts of the agent share: running commands, failing with words, writing files atomically."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

Resource = dict[str, Any]
"""One resource as the workstation sent it (see ``zentoria_infra.guest.state``)."""

STATE = os.environ.get("ZENTORIA_AGENT_STATE", "/var/lib/zentoria")
TAIL = 6000
"""Characters of a command's output that are reported, from its end."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failed(Exception):
    """A resource could not be brought to its state."""

    def __init__(self, detail: str, command: str = "", output: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.command = command
        self.output = output[-TAIL:]


class Outcome:
    """What a handler found or did: ``changed`` with a line of detail and perhaps a diff."""

    def __init__(self, changed: bool, detail: str = "", diff: str = "") -> None:
        self.changed = changed
        self.detail = detail
        self.diff = diff


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
) -> tuple[int, str]:
    """Run a command without a shell; gives back (exit code, output of both streams).

    A command that is not there counts as exit code 127, one that runs too long as 124, like a shell's.
    """
    more: dict[str, Any] = {}
    full = environment(**(env or {}))
    if user not in (None, "root"):
        entry = account(user)
        more = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}
        full["HOME"] = entry.pw_dir
        full["USER"] = full["LOGNAME"] = user
    try:
        done = subprocess.run(
            list(argv),
            input=stdin.encode() if stdin is not None else None,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            cwd=cwd,
            env=full,
            **more,
        )
    except FileNotFoundError:
        return 127, f"{argv[0]}: command not found"
    except subprocess.TimeoutExpired as error:
        return 124, (error.stdout or b"").decode(errors="replace") + f"\nran longer than {timeout:.0f} seconds"
    return done.returncode, done.stdout.decode(errors="replace")


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
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: str, data: bytes, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Write a file so that a reader sees the old or the new one, with its owner and mode from the first moment."""
    handle, partial = tempfile.mkstemp(prefix=".zentoria-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            if uid >= 0:
                os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


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


def mask(text: str, secrets: Sequence[str | None]) -> str:
    """Text with every line of a secret input blotted out."""
    for secret in secrets:
        for line in (secret or "").splitlines():
            if len(line.strip()) >= 6:
                text = text.replace(line.strip(), "********")
    return text

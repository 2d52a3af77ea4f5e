"""What ``zentoria bootstrap`` runs on a node, once, as root: it puts programs, settings and one SSH key in place.

The program comes by standard input (``python3 -IS -``), with what it shall do as JSON at its end, and answers with one
JSON object. It changes nothing but its own files and its own line of authorized_keys; what is as it shall be is left.

On Proxmox, ``/root/.ssh/authorized_keys`` is a link to a file that all nodes share, on a file system of its own
(pmxcfs) that knows no modes: the link stays, and the file behind it is put in place by a rename beside it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

SECONDS = 30.0
"""How long systemd may take for a command."""


def put(path: str, content: bytes, mode: int, *, dry: bool) -> bool:
    """Have a file with this content and mode; whether that is a change. The old or the new is there, never a part."""
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as stream:
            same = stream.read() == content
        found = os.stat(real)
    except FileNotFoundError:
        same, found = False, None
    if same and found is not None and (found.st_mode & 0o7777 == mode or mode < 0):
        return False
    if dry:
        return True
    folder = os.path.dirname(real)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    new = f"{real}.tmp.{os.getpid()}"
    wanted = mode if mode >= 0 else (found.st_mode & 0o7777 if found is not None else 0o600)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, wanted & 0o700)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
            with contextlib.suppress(OSError):  # pmxcfs has modes and owners of its own
                os.fchmod(descriptor, wanted)
                if found is not None:
                    os.fchown(descriptor, found.st_uid, found.st_gid)
        os.replace(new, real)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    return True


def lines_with(content: bytes, line: str, mark: str) -> bytes:
    """Authorized keys with one line for ``mark``; with an empty ``line``, with none. All others stay as they are."""
    kept = [one for one in content.split(b"\n") if not is_ours(one, mark)]
    while kept and not kept[-1]:
        kept.pop()
    if line:
        kept.append(line.encode())
    return b"\n".join(kept) + b"\n" if kept else b""


def is_ours(line: bytes, mark: str) -> bool:
    """Whether a line of authorized_keys is the one with our mark: its last word, of a line that is no comment."""
    text = line.decode("utf-8", "replace").strip()
    return not text.startswith("#") and text.split()[-1:] == [mark]


class UnsafeError(Exception):
    """Putting the key there would not restrict it, or what belongs to it cannot be had."""


def authorize(path: str, line: str, mark: str, *, dry: bool) -> bool:
    """Have our line in a file of authorized keys, or not have it; whether that is a change.

    Raises:
        UnsafeError: another line lets the same key in, and sshd takes the first one.
    """
    try:
        with open(path, "rb") as stream:
            before = stream.read()
    except FileNotFoundError:
        before = b""
        if not line:
            return False
    key = line.split()[-2:-1]  # before the mark
    if key and any(key[0].encode() in one.split() for one in before.split(b"\n") if not is_ours(one, mark)):
        raise UnsafeError(f"{path} has another line with the same key, which sshd may take, without any restriction")
    after = lines_with(before, line, mark)
    if sorted(after.split(b"\n")) == sorted(before.split(b"\n")):
        return False
    folder = os.path.dirname(path)
    if not dry and not os.path.isdir(folder):
        os.makedirs(folder, mode=0o700)
    return put(path, after, -1, dry=dry)


def drop(path: str, *, dry: bool) -> bool:
    """Have no file there; whether that is a change."""
    if not os.path.lexists(path):
        return False
    if not dry:
        os.unlink(path)
    return True


def keep_timer(wanted: Mapping[str, Any], *, changed: bool, dry: bool) -> bool:
    """Have systemd's timer on, with its units as they are now; whether that is a change.

    Raises:
        UnsafeError: systemd does not take it.
    """
    timer = wanted["timer"]
    on = all(_systemctl(wanted, verb, "--quiet", timer) == 0 for verb in ("is-enabled", "is-active"))
    if on and not changed:
        return False
    if not dry:
        for words in (["daemon-reload"], ["enable", timer], ["restart", timer]):
            if code := _systemctl(wanted, *words):
                raise UnsafeError(f"`systemctl {' '.join(words)}` ended with {code}")
    return True


def drop_timer(wanted: Mapping[str, Any], *, dry: bool) -> list[str]:
    """Have neither the timer nor its units; gives back what was there."""
    there = [path for path in sorted(wanted["units"]) if os.path.lexists(path)]
    if there and not dry:
        _systemctl(wanted, "disable", "--now", "--quiet", wanted["timer"])
        for path in there:
            drop(path, dry=False)
        _systemctl(wanted, "daemon-reload")
    return there


def _systemctl(wanted: Mapping[str, Any], *words: str) -> int:
    import subprocess

    argv = [*wanted["systemctl"], *words]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UnsafeError(f"`systemctl {' '.join(words)}` took more than {SECONDS:.0f} s") from None
    return done.returncode


def carry_out(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Install or remove; tells what was changed (with ``dry``: what would be) and what was as it shall be."""
    dry = bool(wanted["dry"])
    changed: list[str] = []
    same: list[str] = []

    def note(done: bool, what: str) -> None:
        (changed if done else same).append(what)

    if wanted["remove"]:
        note(authorize(wanted["keys"], "", wanted["mark"], dry=dry), f"the key in {wanted['keys']}")
        note(drop(wanted["settings"], dry=dry), wanted["settings"])
        if not _others(wanted["settings"]):
            changed += drop_timer(wanted, dry=dry)
            for path in sorted(wanted["programs"]):
                note(drop(path, dry=dry), path)
    else:
        for path, text in sorted(wanted["programs"].items()):
            note(put(path, base64.b64decode(text), 0o755, dry=dry), path)
        units = {
            path: put(path, base64.b64decode(text), 0o644, dry=dry) for path, text in sorted(wanted["units"].items())
        }
        for path, done in units.items():
            note(done, path)
        note(keep_timer(wanted, changed=any(units.values()), dry=dry), f"the timer {wanted['timer']}")
        note(put(wanted["settings"], base64.b64decode(wanted["content"]), 0o600, dry=dry), wanted["settings"])
        # The key comes last: before, the program behind it may not be there.
        note(authorize(wanted["keys"], wanted["line"], wanted["mark"], dry=dry), f"the key in {wanted['keys']}")
    return {"changed": changed, "same": same}


def _others(settings: str) -> Sequence[str]:
    """Settings of other sites, which need the programs too."""
    folder, own = os.path.split(settings)
    try:
        return [name for name in os.listdir(folder) if re.fullmatch(r"[a-z0-9-]+\.json", name) and name != own]
    except FileNotFoundError:
        return []


def main(text: str) -> int:
    """Carry out what the JSON text says, and answer on standard output."""
    try:
        answer = carry_out(json.loads(text))
    except OSError as error:
        answer = {"error": f"{error.filename or ''}: {error.strerror or error}"}
    except UnsafeError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__" and len(sys.argv) > 1:  # by standard input there are no arguments: the caller adds the call
    sys.exit(main(sys.argv[1]))

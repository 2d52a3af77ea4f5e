"""The agent: reads a request from standard input, checks or applies each resource, answers JSON lines."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from . import common, files, masking, packages, releases, rollback, units
from .common import Failed, Outcome, Resource

VERSION = 1
LOCK_SECONDS = 20
INCOMING = os.path.join(common.STATE, "incoming")

Tell = Callable[["dict[str, Any]"], None]

HANDLERS: dict[str, Callable[[Resource, Run], Outcome]] = {
    "packages": packages.packages,
    "file": files.file,
    "directory": files.directory,
    "symlink": files.symlink,
    "absent": files.absent,
    "user": files.user,
    "volume": files.volume,
    "step": packages.step,
    "release": releases.release,
    "rollback": rollback.rollback,
    "unit": units.unit,
    "health": units.health,
}
UNIT_FOLDERS = ("/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/")


class Run:
    """One run: what all handlers share."""

    def __init__(self, request: dict[str, Any], tell: Tell, hold: Sequence[int]) -> None:
        self.apply = request["mode"] == "apply"
        self.key = bytes.fromhex(request.get("key", ""))
        self.resources: list[Resource] = request["state"]["resources"]
        self.hold = hold
        self._tell = tell
        self.changed: set[str] = set()
        self.restarted: list[str] = []
        self.reloaded: list[str] = []
        self.verbs: dict[str, str] = {}
        self.masked: set[str] = set()
        self.unit_files_changed = False
        self._at = ""
        self._mask = masking.Mask(self.resources)
        names = [n.partition("=")[0] for one in self.resources if one["kind"] == "packages" for n in one["names"]]
        self.installed = packages.installed(names)
        self._unit_names = [one["name"] for one in self.resources if one["kind"] == "unit"]
        self.starts = units.Starts(self.resources)
        self.starts_before = self.starts.snapshot()
        self._units: dict[str, dict[str, str]] | None = None

    @property
    def pending(self) -> bool:
        """Whether something before would change."""
        return bool(self.changed)

    @property
    def units(self) -> dict[str, dict[str, str]]:
        """Properties of all units, asked once, when the first one is reached (packages bring units)."""
        if self._units is None:
            self._units = units.show(self._unit_names)
            if any(one.get("NeedDaemonReload") == "yes" for one in self._units.values()):
                self.unit_files_changed = True
        return self._units

    def progress(self, text: str) -> None:
        """Say what the resource at hand is at."""
        self._tell({"event": "progress", "id": self._at, "text": text})

    def will_change(self, resource: Resource) -> None:
        """Right before a resource changes."""
        self.starts.forget(resource["id"])
        if str(resource.get("path", "")).startswith(UNIT_FOLDERS):
            self.unit_files_changed = True

    def blob(self, sha256: str) -> bytes:
        """Content that was sent."""
        with open(self.blob_path(sha256), "rb") as stream:
            return stream.read()

    def blob_path(self, sha256: str, folder: str = INCOMING) -> str:
        """Path of content that was sent, or was kept from a run before."""
        for place in (INCOMING, folder):
            path = os.path.join(place, sha256)
            if os.path.isfile(path):
                return path
        raise Failed(f"the content {sha256[:12]} was not sent")

    def needed(self) -> list[str]:
        """Blobs that must be sent for this run."""
        wanted: list[str] = []
        if self.apply:
            for one in self.resources:
                if one["kind"] == "file" and one["blob"] and common.sha256_of(one["path"]) != one["blob"]:
                    wanted.append(one["blob"])
                elif one["kind"] == "release":
                    wanted += releases.needed(one)
        return sorted(one for one in set(wanted) if common.sha256_of(os.path.join(INCOMING, one)) != one)

    def resource(self, one: Resource) -> dict[str, Any]:
        """Handle one resource; its report."""
        self._at = one["id"]
        self._tell({"event": "start", "id": one["id"]})
        report: dict[str, Any] = {"id": one["id"], "outcome": "unchanged"}
        try:
            outcome = HANDLERS[one["kind"]](one, self)
        except Failed as error:
            said = {"detail": self._mask(error.detail), "command": self._mask(error.command)}
            report.update(outcome="failed", output=self._mask.tail(error.output), **said)
        except OSError as error:
            report.update(
                outcome="failed", detail="{}: {}".format(error.filename or one["id"], error.strerror or error)
            )
        else:
            if outcome.changed:
                self.changed.add(one["id"])
                done = "changed" if self.apply else "would-change"
                report.update(outcome=done, detail=outcome.detail, diff=outcome.diff)
                report.update(before=outcome.before, after=outcome.after)
            elif outcome.detail:
                report["detail"] = outcome.detail
        return report


def converge(request: dict[str, Any], tell: Tell, hold: Sequence[int] = ()) -> dict[str, Any]:
    """Handle all resources; the report. ``hold`` is the lock, for commands that must not outlive it."""
    begun = time.monotonic()
    if request["mode"] == "apply":
        packages.allow_starts()
        units.wait_for_systemd()
    run = Run(request, tell, hold)
    receive(run.needed(), tell)
    reports = []
    failed = ""
    for one in run.resources:
        if failed:
            reports.append({"id": one["id"], "outcome": "skipped"})
            continue
        report = run.resource(one)
        reports.append(report)
        if report["outcome"] == "failed":
            failed = one["id"]
    _tell_readers(run, reports)
    for name in os.listdir(INCOMING) if not failed else ():  # the next run goes on with what was sent
        os.unlink(os.path.join(INCOMING, name))
    return {
        "vmid": request["state"]["vmid"],
        "mode": request["mode"],
        "resources": reports,
        "restarted": sorted(set(run.restarted)),
        "reloaded": sorted(set(run.reloaded)),
        "failed": failed,
        "seconds": round(time.monotonic() - begun, 3),
    }


def _tell_readers(run: Run, reports: Sequence[dict[str, Any]]) -> None:
    """Say of each thing that changes which units restart or reload for it."""
    by_id = {one["id"]: one for one in reports if one["outcome"] in ("changed", "would-change")}
    for one in run.resources:
        if one["kind"] == "release" and one["id"] in by_id:
            by_id[one["id"]]["restarts"] = list(one["units"])
        verb = run.verbs.get(one["name"], "") if one["kind"] == "unit" else ""
        for name in (*one["reads"], one["id"]) if verb else ():
            if name in by_id:
                by_id[name].setdefault(verb + "s", []).append(one["name"])


def receive(needed: Sequence[str], tell: Tell) -> None:
    """Ask for blobs and keep them: each comes as a line "<sha256> <size>" and its bytes."""
    tell({"need": needed})
    stream = sys.stdin.buffer
    for sha256 in needed:
        name, _, size = stream.readline().decode().strip().partition(" ")
        if name != sha256:
            raise Failed(f"expected the content {sha256[:12]}, and {name[:80]!r} came")
        data = stream.read(int(size))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Failed(f"the content {sha256[:12]} came broken")
        common.write_atomically(os.path.join(INCOMING, sha256), data)


def lock(tell: Tell) -> IO[str]:
    """Be the only agent in this guest; the lock goes with the process, however it ends. A wait is told."""
    stream = open(os.path.join(common.STATE, "lock"), "a+")  # noqa: SIM115 -- held as long as the process lives
    until = time.monotonic() + LOCK_SECONDS
    told = False
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            if time.monotonic() > until:
                stream.seek(0)
                raise Failed(f"another agent is at work: {stream.read().strip() or 'unknown'}") from None
            if not told:
                stream.seek(0)
                text = f"wait for another agent: {stream.read().strip() or 'unknown'}"
                tell({"event": "progress", "id": "lock", "text": text})
                told = True
            time.sleep(0.1)
            continue
        stream.truncate(0)
        stream.write(f"pid {os.getpid()} since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}")
        stream.flush()
        return stream


def main() -> None:
    """Entry point, called by the loader."""
    out = sys.stdout.buffer

    def tell(message: dict[str, Any]) -> None:
        out.write(json.dumps(message).encode() + b"\n")
        out.flush()

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that drops does not cut an installation
    try:
        request = json.loads(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))
        if request.get("version") != VERSION:
            raise Failed(f"this agent speaks version {VERSION}, the request is of {request.get('version')!r}")
        for folder in (common.STATE, INCOMING):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        held = lock(tell)
        try:
            tell({"report": converge(request, tell, (held.fileno(),))})
        finally:
            held.close()
    except Failed as error:
        tell({"error": error.detail, "command": error.command, "output": error.output[-masking.TAIL :]})
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise  # nobody listens any more
        tell({"error": f"{error.filename or common.STATE}: {error.strerror or error}"})
    except Exception:  # a bug of the agent: told to the other side in full, which shows it as one
        import traceback

        tell({"error": "the agent broke", "command": "", "output": traceback.format_exc()[-masking.TAIL :]})

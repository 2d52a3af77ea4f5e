"""The agent: reads a request from standard input, checks or applies each resource, answers JSON lines."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from . import common, files, masking, migrations, owned, packages, paths, releases, rollback, units
from .common import Failed, Outcome, Resource
from .run import INCOMING, Run, Starts, Tell

VERSION = 1
LOCK_SECONDS = 20

HANDLERS: dict[str, Callable[[Resource, Run], Outcome]] = {
    "packages": packages.packages,
    "file": files.file,
    "directory": files.directory,
    "symlink": files.symlink,
    "absent": files.absent,
    "user": files.user,
    "volume": files.volume,
    "command": packages.command,
    "release": releases.release,
    "migration": migrations.migration,
    "restore": migrations.restore,
    "rollback": rollback.rollback,
    "unit": units.unit,
    "health": units.health,
}


def needed(run: Run) -> list[str]:
    """Blobs that must be sent for this run."""
    wanted: list[str] = []
    if run.apply:
        for one in run.resources:
            if one["kind"] == "file" and one["blob"] and common.sha256_of(one["path"]) != one["blob"]:
                wanted.append(one["blob"])
            elif one["kind"] == "release":
                wanted += releases.needed(one)
    return sorted(one for one in set(wanted) if common.sha256_of(os.path.join(INCOMING, one)) != one)


def handle(run: Run, one: Resource) -> dict[str, Any]:
    """Handle one resource; its report."""
    run.at = one["id"]
    run.tell({"event": "start", "id": one["id"]})
    report: dict[str, Any] = {"id": one["id"], "outcome": "unchanged"}
    try:
        outcome = HANDLERS[one["kind"]](one, run)
    except Failed as error:
        said = {"detail": run.mask(error.detail), "command": run.mask(error.command)}
        report.update(outcome="failed", output=run.mask.tail(error.output), **said)
    except OSError as error:
        report.update(outcome="failed", detail="{}: {}".format(error.filename or one["id"], error.strerror or error))
    else:
        if outcome.changed:
            run.changed.add(one["id"])
            done = "changed" if run.apply else "would-change"
            report.update(outcome=done, detail=outcome.detail, diff=outcome.diff)
            report.update(before=outcome.before, after=outcome.after, beneath=outcome.beneath)
        elif outcome.detail:
            report["detail"] = outcome.detail
    return report


def converge(request: dict[str, Any], tell: Tell, hold: Sequence[int] = ()) -> dict[str, Any]:
    """Handle all resources; the report. ``hold`` is the lock, for commands that must not outlive it."""
    begun = time.monotonic()
    if request["mode"] == "apply":
        packages.allow_starts()
        units.wait_for_systemd()
    resources = request["state"]["resources"]
    names = [name.partition("=")[0] for one in resources if one["kind"] == "packages" for name in one["names"]]
    run = Run(request, tell, hold, packages.installed(names), Starts(resources), units.show)
    receive(needed(run), tell)
    kept = owned.Owned(resources, whole=bool(request["state"].get("whole")))
    if run.apply:
        kept.begin()
    reports: list[dict[str, Any]] = []
    failed = ""
    stopped = False
    for one in run.resources:
        if failed:
            reports.append({"id": one["id"], "outcome": "skipped"})
            continue
        if not stopped and one["kind"] in ("unit", "release"):
            stopped = True
            reports += kept.clear_the_way(run)
            failed = _failed(reports)
            if failed:
                reports.append({"id": one["id"], "outcome": "skipped"})
                continue
        report = handle(run, one)
        reports.append(report)
        failed = _failed([report])
    if not failed:
        reports += [*(() if stopped else kept.clear_the_way(run)), *kept.remove(run)]
        failed = _failed(reports)
    units.settle(run)
    if run.apply and not failed:
        kept.end()
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


def _failed(reports: Sequence[dict[str, Any]]) -> str:
    return next((str(one["id"]) for one in reports if one["outcome"] == "failed"), "")


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


def receive(wanted: Sequence[str], tell: Tell) -> None:
    """Ask for blobs and keep them: each comes as a line "<sha256> <size>" and its bytes."""
    tell({"need": wanted})
    stream = sys.stdin.buffer
    for sha256 in wanted:
        name, _, size = stream.readline().decode().strip().partition(" ")
        if name != sha256:
            raise Failed(f"expected the content {sha256[:12]}, and {name[:80]!r} came")
        data = paths.checked(paths.pieces(stream, int(size)), sha256, f"the content {sha256[:12]} came broken")
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

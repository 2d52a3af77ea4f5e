"""Debian packages, and steps with a check of their own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import common, unsynced
from .common import SAME, Failed, Outcome, Resource

if TYPE_CHECKING:
    from .run import Run

POLICY = os.environ.get("ZENTORIA_AGENT_POLICY", "/usr/sbin/policy-rc.d")
MARK = "# zentoria: no service starts while packages are installed\n"
LISTS = "/var/lib/apt/lists"
FRESH = 24 * 3600
"""Seconds for which package lists are taken as they are; an install that does not find its package looks again."""


def installed(names: Sequence[str]) -> dict[str, str]:
    """Installed version by package name, in one call; packages that are not installed are left out."""
    if not names:
        return {}
    layout = "${Package}\t${db:Status-Abbrev}\t${Version}\n"
    _, output = common.run(["dpkg-query", "-W", "-f", layout, *names])
    found = {}
    for line in output.splitlines():
        parts = line.split("\t")
        if len(parts) == 3 and parts[1].startswith("ii"):
            found[parts[0]] = parts[2]
    return found


def packages(resource: Resource, run: Run) -> Outcome:
    """Packages that are installed, in one transaction."""
    have = run.installed
    missing = [one for one in resource["names"] if not _satisfied(one, have)]
    pinned = {one.partition("=")[0]: one for one in resource["names"]}
    lost = [pinned.get(name.partition(":")[0], name) for name in unsynced.lost()]
    if not missing and not lost:
        if run.apply:
            unsynced.end()  # a run that was killed has left it
        return SAME
    before = ", ".join(f"{name} {have[name]}" for name in (one.partition("=")[0] for one in missing) if name in have)
    if run.apply:
        run.will_change(resource)
        _install(missing, lost, run)
        have.update(installed([one.partition("=")[0] for one in missing]))
        still = [one for one in missing if not _satisfied(one, have)]
        if still:
            raise Failed("apt-get ended well, and these are not installed: {}".format(" ".join(still)))
    detail = ["install {}".format(" ".join(missing))] if missing else []
    if lost:
        detail.append(f"install {len(lost)} again, for the machine went down while they were unpacked")
    return Outcome(True, "; ".join(detail), "", before, ", ".join(missing))


def _satisfied(wanted: str, have: dict[str, str]) -> bool:
    name, _, version = wanted.partition("=")
    return name in have and version in ("", have[name])


def _install(names: Sequence[str], lost: Sequence[str], run: Run) -> None:
    """Install packages; with ``lost``, these again."""
    forbid = _forbid_starts()
    # Nothing of ours has run here yet.
    first = not run.starts_before
    try:
        if first:
            unsynced.begin()
        code, output = common.run(["dpkg", "--audit"])
        if output.strip():
            argv = ["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"]
            common.must(argv, "an interrupted installation cannot be ended", **_options(600))
        updated = False
        if not _fresh():
            run.progress("apt-get update")
            _update()
            updated = True
        run.progress("apt-get install")
        options = [*(unsynced.OPTIONS if first else ()), *(("--reinstall",) if lost else ())]
        code, output = _apt([*names, *lost], options)
        if code and not updated:
            _update()
            code, output = _apt([*names, *lost], options)
        if code:
            raise Failed(
                "packages cannot be installed: {}".format(" ".join(names)), "apt-get install " + " ".join(names), output
            )
        if first or lost:
            run.progress("write to the disk")
            unsynced.end()
    finally:
        if forbid:
            os.unlink(POLICY)


def _options(timeout: float) -> dict[str, Any]:
    return {"timeout": timeout, "env": {"DEBIAN_FRONTEND": "noninteractive"}}


# apt reads the lists once for the install, in memory: written down, what it made of them would be 90 MiB in each guest,
# out of date with the first package that is unpacked.
_NO_CACHE = ("-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=")


def _apt(names: Sequence[str], options: Sequence[str] = ()) -> tuple[int, str]:
    argv = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *_NO_CACHE, *options]
    argv += ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
    argv += ["-o", "DPkg::Lock::Timeout=60", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Keep-Downloaded-Packages=false"]
    return common.run([*argv, *names], **_options(1200))


def _update() -> None:
    argv = ["apt-get", "update", "--quiet", "-o", "DPkg::Lock::Timeout=60", "-o", "APT::Update::Error-Mode=any"]
    argv += [*_NO_CACHE, "-o", "pkgCacheFile::Generate=false"]
    common.must(argv, "package lists cannot be fetched", **_options(300))
    os.utime(LISTS)


def _fresh() -> bool:
    """Whether the lists are there, young, and younger than what says where they come from."""
    try:
        age = os.stat(LISTS).st_mtime
        if not any(name.endswith(("_InRelease", "_Release")) for name in os.listdir(LISTS)):
            return False
    except OSError:
        return False
    sources = ["/etc/apt/sources.list"]
    for folder in ("/etc/apt/sources.list.d",):
        if os.path.isdir(folder):
            sources += [
                os.path.join(folder, name) for name in os.listdir(folder) if name.endswith((".sources", ".list"))
            ]
    newest = max([os.stat(one).st_mtime for one in sources if os.path.exists(one)] or [0])
    return time.time() - age < FRESH and age >= newest


def _forbid_starts() -> bool:
    """Keep packages from starting services (invoke-rc.d asks this program); False when somebody else's is there."""
    if os.path.exists(POLICY):
        with open(POLICY, encoding="utf-8", errors="replace") as stream:
            return MARK in stream.read()
    common.write_atomically(POLICY, ("#!/bin/sh\n" + MARK + "exit 101\n").encode(), 0o755)
    return True


@contextlib.contextmanager
def without_starts() -> Iterator[None]:
    """Nothing that packages bring starts or stops meanwhile (``deb-systemd-invoke`` asks policy-rc.d for both)."""
    forbid = _forbid_starts()
    try:
        yield
    finally:
        if forbid:
            os.unlink(POLICY)


def allow_starts() -> None:
    """Take back what a run that was killed has left."""
    if os.path.exists(POLICY) and _forbid_starts():
        os.unlink(POLICY)


def command(resource: Resource, run: Run) -> Outcome:
    """Something with a check of its own."""
    options = {"user": resource["user"], "cwd": resource["cwd"], "timeout": resource["timeout"]}
    if not run.apply and run.pending:
        # What it needs may not be there yet: its packages, its user, its service.
        try:
            passed, _ = _check(resource, options)
        except Failed:
            passed = False
        return SAME if passed else Outcome(True, "its check does not pass yet")
    passed, said = _check(resource, options)
    if passed:
        return SAME
    if run.apply:
        run.will_change(resource)
        command = " ".join(resource["apply"])
        code, output = common.run(resource["apply"], stdin=resource["apply_stdin"], **options)
        if code:
            raise Failed(f"it ended with {code}", command, output)
        passed, said = _check(resource, options)
        if not passed:
            raise Failed("it was done, and its check still does not pass", " ".join(resource["check"]), said)
    return Outcome(True, "done" if run.apply else "its check does not pass")


def _check(resource: Resource, options: dict[str, Any]) -> tuple[bool, str]:
    code, output, errors = common.run_apart(resource["check"], stdin=resource["check_stdin"], **options)
    expect = resource["expect"]
    return code == 0 and (expect is None or output.strip() == expect.strip()), output + errors

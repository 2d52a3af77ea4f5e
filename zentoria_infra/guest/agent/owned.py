"""What the agent has made in this guest, and the removal of what nothing asks for any more.

A record of it is kept beside the agent's other state. Before a run changes anything, what it is about to make is
written down; after a run that ended well, only what is asked for is left in it. So a run that was killed in the middle
of a removal is made good by the next one. What lies on a data volume is never touched, nor is a database, a user who
may own data, or a package that was there before.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from typing import TYPE_CHECKING, Any

from . import common, packages, paths, releases, units
from .common import Failed, Resource

if TYPE_CHECKING:
    from .run import Run

KEPT = "owned.json"
PREFIX = "orphan:"
"""What the ids of reports begin with that tell of a removal; behind it is the id that the thing had."""
DROP_INS = "/etc/systemd/system/"
_KEYS = {
    "file": ("path",),
    "symlink": ("path", "target"),
    "directory": ("path",),
    "volume": ("path", "owner"),
    "user": ("name",),
    "unit": ("name", "enabled", "running", "masked"),
    "release": ("root", "units"),
    "packages": ("names",),
}
"""What is kept of each kind; steps and checks have nothing that could be removed."""
_ORDER = ("release", "symlink", "file", "directory", "packages", "user")
"""Units come before all of these, and before anything that is new is started."""


class Owned:
    """The record, and what of it is asked for no more.

    Args:
        resources: of the state at hand.
        whole: whether that is all the guest shall be; a state that only goes back to a release is not.
    """

    def __init__(self, resources: list[Resource], whole: bool) -> None:
        kept = common.load_json(KEPT)
        self._things: dict[str, Any] = kept.get("things") or {}
        self._before: list[str] = kept.get("packages_before") or []
        self._wanted = {key: one for one in resources for key, one in _things(one).items()}
        self._whole = whole
        self._seen_packages = "packages_before" in kept
        volumes = [one["path"] for one in (*self._things.values(), *self._wanted.values()) if one["kind"] == "volume"]
        self._volumes = tuple(path.rstrip("/") + "/" for path in volumes)
        self._owners = {one["owner"] for one in self._things.values() if one["kind"] == "volume"}
        gone = [key for key in self._things if key not in self._wanted] if whole else []
        self.orphans = [one for one in map(self._things.__getitem__, gone) if self._counts(one)]

    def _counts(self, one: dict[str, Any]) -> bool:
        """Whether there is something to remove."""
        kind = one["kind"]
        if kind in ("file", "symlink", "directory"):
            if (one["path"] + "/").startswith(self._volumes) or self._is_wanted_path(one["path"]):
                return False
            return os.path.lexists(one["path"]) and (kind != "symlink" or _leads(one["path"]) == one["target"])
        if kind == "release":
            return os.path.isdir(os.path.join(one["root"], "releases"))
        if kind == "user":
            return one["name"] not in self._owners and _is_user(one["name"])
        if kind == "packages":
            return bool(self._removable(one))
        return kind == "unit" and (one["enabled"] is not None or one["masked"])

    def _is_wanted_path(self, path: str) -> bool:
        return any(one.get("path") == path and one["kind"] != "directory" for one in self._wanted.values())

    def _removable(self, one: dict[str, Any]) -> list[str]:
        """Packages that nothing asks for, that were not there before us."""
        wanted = self._wanted_packages()
        return [name for name in map(_bare, one["names"]) if name not in wanted and name not in self._before]

    def _wanted_packages(self) -> set[str]:
        return {_bare(name) for other in self._wanted.values() for name in other.get("names", ())}

    def begin(self) -> None:
        """Before anything changes: write down what is about to be made, and which packages were there before."""
        if not self._whole:
            return
        if not self._seen_packages:
            code, output = common.run(["dpkg-query", "-W", "-f", "${Package}\n"])
            self._before = [] if code else sorted(set(output.split()))
            self._seen_packages = True
        self._save({**self._things, **self._wanted})

    def end(self) -> None:
        """After a run that ended well: what is not asked for is gone."""
        if self._whole:
            self._save(self._wanted)

    def _save(self, things: dict[str, Any]) -> None:
        kept = {"things": things, "packages_before": self._before}
        if kept != common.load_json(KEPT):
            common.save_json(KEPT, kept)

    # -- removal ---------------------------------------------------------------------------------------------------

    def clear_the_way(self, run: Run) -> list[dict[str, Any]]:
        """What must be gone before units start. Reports.

        Units that nothing asks for stop: two may not have one port. And pieces of settings that a unit reads with all
        others of their folder go: else it would start with them once more.
        """
        found = [self._done(one, run, self._unit) for one in self.orphans if one["kind"] == "unit"]
        found += [self._done(one, run, _unlink) for one in self.orphans if _is_piece(one)]
        if run.apply and found:
            units.reload_files(run)
        return found

    def remove(self, run: Run) -> list[dict[str, Any]]:
        """Everything else, once all that is asked for is there. Their reports."""
        found = []
        handlers = {
            "release": self._release, "symlink": _unlink, "file": _unlink, "directory": _rmdir,
            "packages": self._packages, "user": _userdel,
        }  # fmt: skip
        for kind in _ORDER:
            these = [one for one in self.orphans if one["kind"] == kind and not _is_piece(one)]
            if kind == "directory":
                these.sort(key=lambda one: -str(one["path"]).count("/"))  # what is inside first
            found += [self._done(one, run, handlers[kind]) for one in these]
        if run.apply and found:
            units.reload_files(run)
        return found

    def _done(self, one: dict[str, Any], run: Run, how: Any) -> dict[str, Any]:
        report = {"id": PREFIX + one["id"], "outcome": "would-change", "detail": "nothing asks for it any more"}
        run.at = report["id"]
        if not run.apply:
            return report
        run.progress(f"remove {one['id']}")
        try:
            said = how(one, run)
        except (Failed, OSError) as error:
            detail = error.detail if isinstance(error, Failed) else str(error.strerror or error)
            output = error.output if isinstance(error, Failed) else ""
            return {**report, "outcome": "failed", "detail": f"it cannot be removed: {detail}", "output": output}
        return {**report, "outcome": "changed", "detail": report["detail"] + (f"; {said}" if said else "")}

    def _unit(self, one: dict[str, Any], run: Run) -> str:
        name = one["name"]
        if one["masked"]:
            common.must(["systemctl", "unmask", name], f"{name} cannot be unmasked")
            return ""
        seen = units.show([name]).get(name, {})
        if seen.get("LoadState", "not-found") == "not-found":
            return ""
        common.must(["systemctl", "disable", "--now", name], f"{name} cannot be stopped", timeout=180)
        common.run(["systemctl", "reset-failed", name])
        run.starts.drop(name)
        return ""

    def _release(self, one: dict[str, Any], run: Run) -> str:
        """All its releases: they hold programs and no data."""
        import shutil  # only where something is removed: a look starts sooner

        wanted = self._wanted.values()
        ours = {name for other in wanted for name in other.get("units", [other.get("name")])}
        for name in one["units"]:
            if name not in ours and units.show([name]).get(name, {}).get("ActiveState") == "active":
                raise Failed(f"{name} still runs from it")
        current = os.path.join(one["root"], "current")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(current)
        shutil.rmtree(os.path.join(one["root"], "releases"), ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(one["root"])
        if all(other["id"] != one["id"] for other in wanted if other["kind"] == "release"):
            releases.forget(one["id"])
        return ""

    def _packages(self, one: dict[str, Any], run: Run) -> str:
        """Remove packages, and what came with them; never purge: data and settings of others stay."""
        names = self._removable(one)
        _, output = common.run(["apt-mark", "showauto"])
        spare = set(output.split()) - set(self._before) - self._wanted_packages()
        for more, also in ((("--auto-remove",), spare), ((), set())):
            _, output = common.run(["apt-get", "--simulate", "remove", *more, *names], timeout=300)
            gone = {line.split()[1] for line in output.splitlines() if line.startswith("Remv ")}
            if not gone:
                return ""
            if gone <= {*names, *also}:
                argv = ["apt-get", "remove", "--yes", "--quiet", "-o", "DPkg::Lock::Timeout=60", *more, *names]
                with packages.without_starts():  # nor stops: a unit of that name may be ours by now
                    common.must(
                        argv, "apt-get cannot remove it", timeout=600, env={"DEBIAN_FRONTEND": "noninteractive"}
                    )
                return ""
        return "others need it, so it stays: " + ", ".join(sorted(gone - set(names)))


def _is_piece(one: dict[str, Any]) -> bool:
    """Whether it is one of the pieces that something reads together, as a drop-in of a unit."""
    return one["kind"] in ("file", "symlink") and os.path.dirname(one["path"]).endswith(".d")


def _things(one: Resource) -> dict[str, dict[str, Any]]:
    """What is kept of a resource, by what it is: an id may change and mean the same."""
    keys = _KEYS.get(one["kind"])
    if keys is None:
        return {}
    if one["kind"] == "packages":
        # each by itself: roles come and go, and their packages are installed together
        return {
            f"packages {_bare(name)}": {"kind": "packages", "id": f"package:{_bare(name)}", "names": [name]}
            for name in one["names"]
        }
    return {f"{one['kind']} {one[keys[0]]}": {"kind": one["kind"], "id": one["id"], **{key: one[key] for key in keys}}}


def _bare(name: str) -> str:
    return name.partition("=")[0].partition(":")[0]


def _leads(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else ""


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _unlink(one: dict[str, Any], run: Run) -> str:
    path = one["path"]
    with contextlib.suppress(FileNotFoundError), paths.parent(path) as (folder, name):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return "it is a directory now, and stays"
        os.unlink(name, dir_fd=folder)
        if path.startswith(DROP_INS):
            run.unit_files_changed = True
            if path.endswith(".conf") and os.path.dirname(path).endswith(".d"):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(path))
    return ""


def _rmdir(one: dict[str, Any], run: Run) -> str:
    try:
        with paths.parent(one["path"]) as (folder, name):
            os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"it stays: {error.strerror}"
    return ""


def _userdel(one: dict[str, Any], run: Run) -> str:
    code, output = common.run(["userdel", one["name"]])
    return f"it stays: {output.strip()}" if code else ""

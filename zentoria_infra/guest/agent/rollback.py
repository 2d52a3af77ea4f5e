"""The way back to a release that was there before: switch, restart, health gate; and back again if that fails."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from . import releases
from .common import Failed, Outcome, Resource

if TYPE_CHECKING:
    from .run import Run


def rollback(resource: Resource, run: Run) -> Outcome:
    """List the releases that are kept (``back`` is 0), or go back by so many of those that passed their gate."""
    release = resource["release"]
    found = _kept(release)
    if not resource["back"]:
        return Outcome(False, json.dumps(found))
    target, before = _chosen(found, resource["back"])
    outcome = Outcome(True, f"{before} -> {target}", "", before, target)
    if not run.apply:
        run.restarted += release["units"]
        return outcome
    releases.switch({**release, "version": target}, run, before)
    at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
    releases.keep(
        release, {"version": target, "nonce": "", "back": f"rolled back from {before} by {resource['by']}, {at}"}
    )
    return outcome


def target(release: Resource, back: int) -> str:
    """The release that so many steps lead back to. Raises Failed: there are not so many."""
    return _chosen(_kept(release), back)[0]


def _chosen(found: list[dict[str, Any]], back: int) -> tuple[str, str]:
    """The release to go back to, and the one that runs."""
    current = next((number for number, one in enumerate(found) if one["current"]), None)
    if current is None:
        raise Failed("no release runs here, so there is none before it")
    older = [one for one in found[current + 1 :] if one["passed"]]
    if len(older) < back:
        known = ", ".join(one["version"] for one in older) or "none"
        raise Failed(f"there are not so many releases before {found[current]['version']}: {known}")
    return older[back - 1]["version"], found[current]["version"]


def _kept(release: Resource) -> list[dict[str, Any]]:
    """The releases that are built, newest first; ``passed`` says whether their health gate was ever passed."""
    folder = os.path.join(release["root"], "releases")
    linked = releases.linked(release)
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        try:
            built = os.stat(os.path.join(folder, name, releases.COMPLETE)).st_mtime
        except OSError:
            continue  # it was never finished
        passed = os.path.isfile(os.path.join(folder, name, releases.PASSED))
        found.append({"version": name, "built": int(built), "passed": passed, "current": name == linked})
    return sorted(found, key=lambda one: (-one["built"], one["version"]))

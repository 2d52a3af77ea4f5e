"""Releases of a service: an environment or unpacked files each, an atomic switch, a health gate, a way back."""

from __future__ import annotations

import glob
import os
import time
from typing import TYPE_CHECKING

from . import archives, common, files, units
from .common import SAME, Failed, Outcome, Resource

if TYPE_CHECKING:
    from .run import Run

COMPLETE = ".complete"
PASSED = ".passed"
"""Beside it, once the release has passed its health gate."""
KEPT = "releases.json"
WHEELS = os.path.join(common.STATE, "wheels")


def complete(resource: Resource) -> bool:
    """Whether the release is built."""
    return os.path.isfile(os.path.join(_folder(resource), COMPLETE))


def needed(resource: Resource) -> list[str]:
    """Blobs that building the release needs and that are not here yet."""
    if complete(resource):
        return []
    content = resource["content"]
    if content["kind"] == "archive":
        return [content["blob"]]
    return [w["blob"] for w in content["wheels"] if common.sha256_of(os.path.join(WHEELS, w["blob"])) != w["blob"]]


def _folder(resource: Resource) -> str:
    return os.path.join(resource["root"], "releases", resource["version"])


def release(resource: Resource, run: Run) -> Outcome:
    """The release that runs, behind its gate."""
    version = resource["version"]
    there = linked(resource)
    passed = _passed(resource)
    asked = resource["nonce"] and passed.get("nonce") != resource["nonce"]
    if there == version == passed.get("version") and complete(resource) and not asked:
        return SAME
    before = passed.get("version") or there
    detail = f"deploy {version} again" if before == version else "{} -> {}".format(before or "nothing", version)
    if passed.get("back"):
        detail += f" ({passed['back']})"
    outcome = Outcome(True, detail, "", before, version)
    if not run.apply:
        run.restarted += resource["units"]
        return outcome
    run.will_change(resource)
    if not complete(resource):
        what = "unpack" if resource["content"]["kind"] == "archive" else "build the environment of"
        run.progress(f"{what} {version}")
        _build(resource, run)
    if resource["preflight"]:
        run.progress(f"preflight of {version}")
        _preflight(resource)
    switch(resource, run, before)
    keep(resource, {"version": version, "nonce": resource["nonce"]})
    _prune(resource, run, before)
    return outcome


def linked(resource: Resource) -> str:
    """The version that ``current`` leads to; empty when there is none."""
    current = os.path.join(resource["root"], "current")
    return os.path.basename(os.readlink(current)) if os.path.islink(current) else ""


def keep(resource: Resource, kept: dict[str, str]) -> None:
    """Remember which release passed its gate, how it was asked for, and whether it was gone back to."""
    common.save_json(KEPT, {**common.load_json(KEPT), resource["id"]: kept})


def forget(resource_id: str) -> None:
    """A release that is gone."""
    kept = common.load_json(KEPT)
    if kept.pop(resource_id, None) is not None:
        common.save_json(KEPT, kept)


def _passed(resource: Resource) -> dict[str, str]:
    """The release that last passed its gate. The link alone does not say so: a run may have been killed before it."""
    kept = common.load_json(KEPT).get(resource["id"])
    return kept if isinstance(kept, dict) else {}


def _build(resource: Resource, run: Run) -> None:
    import shutil  # only where something is built: a look starts sooner

    folder = _folder(resource)
    if os.path.lexists(folder):
        shutil.rmtree(folder)  # of a run that was killed: it never got its marker
    os.makedirs(os.path.dirname(folder), mode=0o755, exist_ok=True)
    content = resource["content"]
    if content["kind"] == "archive":
        archives.unpack(run.blob_path(content["blob"]), folder, content, (COMPLETE, PASSED))
        # the mark must not outlive a loss of power that what it stands for does not
        common.must(["sync", "-f", folder], f"release {resource['version']} cannot be written to the disk")
    else:
        _install(content, folder, run)
    common.write_atomically(os.path.join(folder, COMPLETE), b"", 0o644)


def _install(content: Resource, folder: str, run: Run) -> None:
    """Make a virtual environment from wheels."""
    import shutil  # as above

    wheels = os.path.join(common.STATE, "build")
    shutil.rmtree(wheels, ignore_errors=True)
    os.makedirs(wheels)
    try:
        os.makedirs(WHEELS, mode=0o700, exist_ok=True)
        for wheel in content["wheels"]:
            sent, kept = run.blob_path(wheel["blob"], WHEELS), os.path.join(WHEELS, wheel["blob"])
            if sent != kept:
                shutil.copyfile(sent, kept)  # the next release sends only what is new in it
            os.symlink(kept, os.path.join(wheels, wheel["name"]))
        requirements = os.path.join(wheels, "requirements.txt")
        with open(requirements, "w", encoding="utf-8") as stream:
            stream.write(content["requirements"])
        pip = [*_environment_with_pip(folder, run), "install", "--quiet", "--no-index"]
        pip += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--require-hashes"]
        pip += ["--find-links", wheels, "--requirement", requirements]
        common.must(pip, "the wheels cannot be installed", timeout=600, hold=run.hold)
    finally:
        shutil.rmtree(wheels, ignore_errors=True)


def _environment_with_pip(folder: str, run: Run) -> list[str]:
    """Make a virtual environment; the command that is its pip.

    Debian keeps pip as a wheel for ensurepip, and a wheel can be run as it is: that saves installing it.
    """
    python = os.path.join(folder, "bin", "python")
    wheels = sorted(glob.glob("/usr/share/python-wheels/pip-*.whl"))
    without = ["--without-pip"] if wheels else []
    detail = "the virtual environment cannot be made"
    # A killed agent leaves these commands at work: they keep the lock, so that no other builds in the same folder.
    common.must(["python3", "-m", "venv", *without, folder], detail, timeout=300, hold=run.hold)
    return [python, "-I", os.path.join(wheels[-1], "pip")] if wheels else [python, "-I", "-m", "pip"]


def _preflight(resource: Resource) -> None:
    argv = list(resource["preflight"])
    argv[0] = os.path.join(_folder(resource), "" if resource["content"]["kind"] == "archive" else "bin", argv[0])
    env = _environment(resource["environment_file"])
    code, output = common.run(argv, user=resource["user"], timeout=resource["health_timeout"] + 60, env=env)
    if code:
        detail = "release {} does not pass its preflight; the one before still runs".format(resource["version"])
        raise Failed(detail, " ".join(argv), output)


def _environment(path: str | None) -> dict[str, str]:
    """The variables of an environment file (systemd.exec, EnvironmentFile=)."""
    found = {}
    if path:
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                name, equals, value = line.strip().partition("=")
                if equals and not name.startswith(("#", ";")):
                    found[name] = value.strip("\"'")
    return found


def switch(resource: Resource, run: Run, before: str) -> None:
    """Make a release the one that runs, and see that it is healthy; else back to the one before. Raises Failed."""
    current = os.path.join(resource["root"], "current")
    kept = run.starts_before
    files.link(current, os.path.join("releases", resource["version"]))
    try:
        _restart(resource, run)
        _gate(resource)
    except Failed as error:
        last = os.path.join(resource["root"], "releases", before, COMPLETE)
        if before and before != resource["version"] and os.path.isfile(last):
            files.link(current, os.path.join("releases", before))
            for name in resource["units"]:
                common.run(["systemctl", "restart", name], timeout=180)
            run.starts.restore(kept)
            error.detail += f"; returned to release {before}"
        raise
    common.write_atomically(os.path.join(_folder(resource), PASSED), b"", 0o644)
    for name in resource["units"]:
        run.starts.started(name)


def _restart(resource: Resource, run: Run) -> None:
    units.reload_files(run)
    for name in resource["units"]:
        run.progress(f"restart {name}")
        units.command("restart", name)
        run.restarted.append(name)
        run.units[name] = {**run.units.get(name, {}), "ActiveState": "active", "LoadState": "loaded"}


def _gate(resource: Resource) -> None:
    asked = {"url": resource["health_url"], "tcp": resource["health_tcp"]}
    if not any(asked.values()):
        return
    until = time.monotonic() + resource["health_timeout"]
    while True:
        problem = units.ask(asked)
        if not problem:
            return
        if time.monotonic() >= until:
            said = "".join(units.journal(name) for name in resource["units"])
            seconds = resource["health_timeout"]
            detail = f"release {resource['version']} is not healthy after {seconds} s: {problem}"
            url = asked["url"]
            raise Failed(detail, f"GET {url}" if url else "connect to {}:{}".format(*asked["tcp"]), said)
        time.sleep(0.1)


def _prune(resource: Resource, run: Run, before: str) -> None:
    """Keep the newest releases and the one before; wheels that no release to come needs go."""
    folder = os.path.join(resource["root"], "releases")
    import shutil  # as above

    stay = {resource["version"], before}
    others = [name for name in os.listdir(folder) if name not in stay]
    others.sort(key=lambda name: os.stat(os.path.join(folder, name)).st_mtime, reverse=True)
    for name in others[max(resource["keep"] - len(stay - {""}), 0) :]:
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    contents = [one["content"] for one in run.resources if one["kind"] == "release"]
    wanted = {wheel["blob"] for content in contents for wheel in content.get("wheels", ())}
    if os.path.isdir(WHEELS):
        for name in os.listdir(WHEELS):
            if name not in wanted:
                os.unlink(os.path.join(WHEELS, name))

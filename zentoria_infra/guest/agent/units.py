"""systemd units, and checks that a service answers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import common, network
from .common import SAME, Failed, Outcome, Resource

if TYPE_CHECKING:
    from .run import Run

PATIENCE = 5
"""Seconds that a look waits for a service to be healthy."""
PROPERTIES = "Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Triggers,Type"


def show(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Properties by unit name, in one call; {} where systemd does not answer."""
    if not names:
        return {}
    code, output = common.run(["systemctl", "show", "--property=" + PROPERTIES, "--", *names])
    if code:
        return {}
    found: dict[str, dict[str, str]] = {}
    blocks = [block for block in output.split("\n\n") if block.strip()]
    for name, block in zip(names, blocks):  # noqa: B905 -- Python 3.9 has no strict=
        found[name] = dict(line.partition("=")[::2] for line in block.splitlines())
    return found


def wait_for_systemd(seconds: float = 60) -> None:
    """Wait until systemd answers and has started what it starts: a new container takes a moment."""
    until = time.monotonic() + seconds
    while not os.path.exists("/run/dbus/system_bus_socket") and not os.environ.get("ZENTORIA_AGENT_PATH"):
        if time.monotonic() > until:
            raise Failed(f"systemd does not answer after {seconds:.0f} seconds")
        time.sleep(0.1)
    while network.waits_in_vain():
        network.let_go()
        _, state = common.run(["systemctl", "is-system-running"])
        if state.strip() not in ("initializing", "starting") or time.monotonic() > until:
            return
        time.sleep(0.3)
    common.run(["systemctl", "is-system-running", "--wait"], timeout=seconds)


def unit(resource: Resource, run: Run) -> Outcome:
    """A unit that is enabled, masked, running as it shall be."""
    name = resource["name"]
    seen = run.units.get(name) or {}
    loaded = seen.get("LoadState", "not-found")
    active = seen.get("ActiveState", "inactive")
    file_state = seen.get("UnitFileState", "")
    todo = []
    if resource["masked"]:
        if loaded != "masked":
            todo.append("mask")
    else:
        if loaded == "masked":
            todo.append("unmask")
        if resource["enabled"] is not None and loaded == "loaded":
            enabled = file_state in ("enabled", "enabled-runtime", "alias", "linked")
            fixed = file_state in ("static", "generated", "transient", "indirect")
            if enabled != resource["enabled"] and not fixed:
                todo.append("enable" if resource["enabled"] else "disable")
        elif resource["enabled"] and loaded != "loaded":
            todo.append("enable")
    running = resource["running"] and not resource["masked"]
    if running and active not in ("active", "reloading"):
        todo.append("start")
    elif not running and active in ("active", "activating", "reloading"):
        todo.append("stop")
    elif running and resource["on_change"] != "none":
        wanted = {run.starts.stale(name), _touched(resource, run)}
        todo += [verb for verb in ("restart", "reload") if verb in wanted][:1]
    if not todo:
        if running and run.apply:
            run.starts.started(name)
        return SAME
    for verb in ("restart", "reload"):
        if verb in todo:
            run.verbs[name] = verb
    if run.apply:
        _do(resource, name, todo, run)
    else:
        run.restarted += [name] if "restart" in todo or "start" in todo else []
        run.reloaded += [name] if "reload" in todo else []
    return Outcome(True, " and ".join(todo), "", *_in_words(resource, todo, loaded, active, file_state))


def _in_words(resource: Resource, todo: Sequence[str], loaded: str, active: str, file_state: str) -> tuple[str, str]:
    """What is there and what shall be, of that which differs."""
    before, after = [], []
    if "start" in todo or "stop" in todo:
        before.append(active)
        after.append("active" if "start" in todo else "inactive")
    if "enable" in todo or "disable" in todo:
        before.append(file_state or loaded)
        after.append("enabled" if "enable" in todo else "disabled")
    if "mask" in todo or "unmask" in todo:
        before.append(loaded)
        after.append("masked" if "mask" in todo else "not masked")
    return ", ".join(before), ", ".join(after)


def _touched(resource: Resource, run: Run) -> str:
    """Looking only: what it would need for something that it reads and that would change."""
    changed = set() if run.apply else run.changed.intersection(resource["reads"])
    return "restart" if changed.difference(resource["reloads"]) else "reload" if changed else ""


def _do(resource: Resource, name: str, todo: list[str], run: Run) -> None:
    reload_files(run)
    if "mask" in todo and name not in run.masked:
        # All of them with the first: for each call, systemd reads all unit files again.
        names = [name, *(one for one in _to_mask(run) if one != name)]
        common.must(["systemctl", "mask", *names], f"{', '.join(names)} cannot be masked")
        run.masked.update(names)
    if "unmask" in todo:
        common.must(["systemctl", "unmask", name], f"{name} cannot be unmasked")
    for verb in ("disable", "enable"):
        if verb in todo:
            # Else systemd would read all unit files after each; of these links it need not know before the end.
            common.must(["systemctl", verb, "--no-reload", name], f"{name} cannot be {verb}d")
            run.unit_links_changed = True
    for verb in ("stop", "start", "restart", "reload"):
        if verb not in todo:
            continue
        run.progress(f"{verb} {name}")
        if verb == "restart" and name.endswith(".socket"):
            _stop_triggered(name, run)
        command(verb, name)
        if verb != "stop":
            (run.reloaded if verb == "reload" else run.restarted).append(name)
        run.units[name] = {**run.units.get(name, {}), "ActiveState": "inactive" if verb == "stop" else "active"}
    if resource["running"] and not resource["masked"]:
        run.starts.started(name)


def _to_mask(run: Run) -> list[str]:
    names = [one["name"] for one in run.resources if one["kind"] == "unit" and one["masked"]]
    return [name for name in names if run.units.get(name, {}).get("LoadState") != "masked"]


def _stop_triggered(name: str, run: Run) -> None:
    """Systemd refuses to restart a socket while its service runs."""
    for service in run.units.get(name, {}).get("Triggers", "").split():
        common.run(["systemctl", "stop", service])
        if service in run.units:
            run.units[service] = {**run.units[service], "ActiveState": "inactive"}


def reload_files(run: Run) -> None:
    """Let systemd read unit files again when one has changed."""
    if run.unit_files_changed:
        common.must(["systemctl", "daemon-reload"], "systemd cannot read its unit files")
        run.unit_files_changed = run.unit_links_changed = False


def settle(run: Run) -> None:
    """At the end of a run: let systemd know what was enabled and disabled since it read unit files."""
    if run.unit_links_changed:
        common.run(["systemctl", "daemon-reload"])


def command(verb: str, name: str) -> None:
    """Start, stop, restart or reload a unit and see that it stays up."""
    common.run(["systemctl", "reset-failed", name])
    code, output = common.run(["systemctl", verb, name], timeout=180)
    if code == 0 and verb in ("start", "restart"):
        code, output = common.run(["systemctl", "is-failed", name])
        code = 1 if code == 0 else 0
    if code:
        raise Failed(f"{name} did not {verb}", f"systemctl {verb} {name}", output + journal(name))


def journal(name: str) -> str:
    """The end of a unit's journal."""
    _, output = common.run(["journalctl", "--no-pager", "--output=cat", "--lines=25", "--unit=" + name])
    return "\n" + output


def health(resource: Resource, run: Run) -> Outcome:
    """A port that accepts, or a URL that answers 200.

    A look waits a little too: what a service depends on may just have restarted. Where something before it would
    change, it does not wait: the service is not made yet.
    """
    patience = resource["timeout"] if run.apply else 0 if run.pending else min(resource["timeout"], PATIENCE)
    until = time.monotonic() + patience
    while True:
        problem = ask(resource)
        if not problem:
            return SAME
        if time.monotonic() >= until:
            break
        time.sleep(0.2)
    if not run.apply:
        return Outcome(True, f"not healthy: {problem}")
    raise Failed(f"not healthy after {resource['timeout']} seconds: {problem}")


def ask(resource: Resource) -> str:
    """One try; what is wrong, or an empty text."""
    if resource.get("tcp"):
        host, port = resource["tcp"]
        try:
            socket.create_connection((host, port), 3).close()
        except OSError as error:
            return f"{host}:{port}: {error}"
        return ""
    return ask_url(resource["url"])


def ask_url(url: str) -> str:
    """One GET; what is wrong, or an empty text."""
    import http.client
    import urllib.parse

    parts = urllib.parse.urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        import ssl

        # Whether it answers, not who it is: it is asked by its address, within its own guest.
        context = ssl._create_unverified_context()  # noqa: S323 -- see above
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{url} answered {answer.status}: {body.strip()[:500]}"

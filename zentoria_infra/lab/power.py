"""Starting and halting all of a lab's containers, in the order that their configuration asks for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from zentoria_infra.lab.api import guestconf
from zentoria_infra.lab.layout import NODE, LabLayout
from zentoria_infra.lab.runtime import GuestRuntime, RuntimeFailure
from zentoria_infra.lab.shell.control_socket import ApiFailure, call

_LAST = 1 << 30
_AT_ONCE = 17
_TASK_SECONDS = 180.0
_HALT_SECONDS = 30
_POLL = 0.05


def start_order(options: Mapping[str, str]) -> int:
    """The number in ``startup: order=N`` (or ``startup: N``); without one a container is the last (PVE)."""
    found = re.search(r"(?:^|,)(?:order=)?(\d+)(?:,|$)", options.get("startup", ""))
    return int(found[1]) if found else _LAST


def in_order(guests: Iterable[tuple[int, int]], *, backwards: bool = False) -> list[list[int]]:
    """VMIDs by their order (pairs of VMID and order), those of one order together."""
    known = sorted(guests, key=lambda guest: (guest[1], guest[0]))
    groups = [[vmid for vmid, _ in group] for _, group in groupby(known, key=lambda guest: guest[1])]
    return groups[::-1] if backwards else groups


def configurations(layout: LabLayout) -> dict[int, dict[str, str]]:
    """Options of all containers, from their files."""
    found = {}
    for file in (layout.pve / "lxc").glob("*.conf"):
        if file.stem.isdigit():
            found[int(file.stem)] = guestconf.parse(file.read_text()).options
    return found


def start_all(layout: LabLayout) -> list[str]:
    """Start the containers with ``onboot=1``, as a node does when it boots, through the API.

    Those of one order start at once; the next wait for them. Delays (``up=``) are not kept. Gives back what went
    wrong, one line a container.
    """
    wanted = [
        (vmid, start_order(options))
        for vmid, options in configurations(layout).items()
        if options.get("onboot") == "1" and options.get("template") != "1"
    ]
    problems: list[str] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for group in in_order(wanted):
            problems += [said for said in pool.map(lambda vmid: _start(layout, vmid), group) if said]
    return problems


def _start(layout: LabLayout, vmid: int) -> str:
    socket = str(layout.control_socket)
    base = f"/nodes/{NODE}"
    try:
        upid = call(socket, "POST", f"{base}/lxc/{vmid}/status/start")
        deadline = time.monotonic() + _TASK_SECONDS
        while time.monotonic() < deadline:
            status = call(socket, "GET", f"{base}/tasks/{upid}/status")
            if isinstance(status, dict) and status.get("status") == "stopped":
                ended = str(status.get("exitstatus"))
                return (
                    "" if ended == "OK" or ended.startswith("WARNINGS") else f"container {vmid} does not start: {ended}"
                )
            time.sleep(_POLL)
    except ApiFailure as failure:
        return "" if "already running" in failure.message else f"container {vmid} does not start: {failure.message}"
    return f"container {vmid} does not start: no end after {_TASK_SECONDS:.0f} s"


def halt_all(layout: LabLayout, runtime: GuestRuntime, say: Callable[[str], None]) -> list[str]:
    """Shut all running containers down, those that started last first; stop what does not halt in time.

    Works on the runtime, so no daemon may be at work. Gives back what went wrong, one line a container.
    """
    running = [
        (vmid, start_order(options)) for vmid, options in configurations(layout).items() if runtime.status(vmid).running
    ]
    problems: list[str] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for group in in_order(running, backwards=True):
            problems += [said for said in pool.map(lambda vmid: _halt(runtime, vmid, say), group) if said]
    return problems


def _halt(runtime: GuestRuntime, vmid: int, say: Callable[[str], None]) -> str:
    try:
        if not runtime.shutdown(vmid, _HALT_SECONDS, say):
            say(f"container {vmid} did not halt in {_HALT_SECONDS} s: it is stopped")
            runtime.stop(vmid, say)
    except RuntimeFailure as failure:
        return f"container {vmid} does not stop: {failure}"
    return ""

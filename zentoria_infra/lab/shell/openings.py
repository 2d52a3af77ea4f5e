"""``zentoria-firewall`` on the lab's node: the program that real nodes have, before Proxmox as the lab has it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zentoria_infra.lab import marks
from zentoria_infra.lab.firewall.facts import lab_facts
from zentoria_infra.lab.firewall.reading import Reader
from zentoria_infra.lab.firewall.shown import compiled
from zentoria_infra.lab.layout import NODE
from zentoria_infra.lab.registry import Lab
from zentoria_infra.lab.shell.control_socket import ApiFailure, call
from zentoria_infra.node import firewall, state

OPENING = "zt/opening/"
"""How comments of openings begin; ``zentoria bootstrap`` tells a real node."""
CYCLES = 6
"""Cycles of the firewall between two looks: a minute with one of 10 s, as the timer on a real node has it."""
_LOG = logging.getLogger(__name__)


class LabNode(firewall.Node):
    """The lab's node, asked over its control socket as root@pam.

    Args:
        pve: what is ``/etc/pve`` on a real node.
        node: its name.
        socket: the lab's control socket.
        state_folder: what sites remember.
        applied: what the lab's firewall has in force; None without guests.
        strict: whether the node is closed to guests as Proxmox closes it.
    """

    def __init__(
        self, pve: Path, node: str, socket: str, state_folder: str, applied: Path | None, *, strict: bool = False
    ) -> None:
        self._pve = pve
        self._node = node
        self._socket = socket
        self._state = state_folder
        self._applied = applied
        self._strict = strict

    def compiled(self) -> str:
        """What ``pve-firewall compile`` prints."""
        return compiled(Reader(self._pve, self._node), lab_facts(strict=self._strict), self._applied)

    def rules(self, node: str, vmid: int) -> list[dict[str, Any]]:
        """The rules of a container's firewall."""
        found = self._ask("GET", f"/nodes/{node}/lxc/{vmid}/firewall/rules")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def drop(self, node: str, vmid: int, rule: Mapping[str, Any]) -> None:
        """Remove a rule, unless the list has changed since it was read."""
        path = f"/nodes/{node}/lxc/{vmid}/firewall/rules/{int(rule['pos'])}"
        self._ask("DELETE", path, {"digest": str(rule["digest"])})

    def is_at_work(self, site: str) -> bool:
        """Whether a run of a site holds its lock."""
        code, answer = state.answer(["--site", site, "show"], lambda _: b"", self._state)
        if code:
            raise firewall.Failure(str(answer.get("error")))
        held = answer["held"]
        return held is not None and float(held["left"]) > 0

    def _ask(self, method: str, path: str, values: Mapping[str, str] | None = None) -> object:
        try:
            return call(self._socket, method, path, values)
        except ApiFailure as failure:
            raise firewall.Failure(failure.message) from None

    def close(self) -> tuple[list[str], list[str]]:
        """Close what is open of sites that nobody is at work on."""
        folder = Path(self._state)
        sites = {one.name: OPENING for one in folder.iterdir() if one.is_dir()} if folder.is_dir() else {}
        return firewall.close(self, sites, self._state, str(self._pve))


def lab_node(lab: Lab) -> LabNode:
    """The node of a lab."""
    layout = lab.layout
    applied = marks.in_force(layout) if lab.guests == "lxc" else None
    return LabNode(layout.pve, NODE, str(layout.control_socket), str(layout.state), applied, strict=lab.strict)


class Timer:
    """Has what is left open closed again and again.

    Args:
        node: of the lab.
        every: seconds between two looks.
    """

    def __init__(self, node: LabNode, every: float) -> None:
        self._node = node
        self._every = every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="openings", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._every):
            try:
                closed, wrong = self._node.close()
            except Exception:  # the lab goes on, whatever a file has in store
                _LOG.exception("openings")
                continue
            for line in closed:
                _LOG.warning("closed, nobody is at work on its site: %s", line)
            for line in wrong:
                _LOG.warning("not closed: %s", line)

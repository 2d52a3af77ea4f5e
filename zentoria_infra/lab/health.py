"""How a lab is: what answers, what runs, what it uses."""

from __future__ import annotations

import dataclasses
import ssl
import urllib.error
import urllib.request
from typing import Any

import psutil

from zentoria_infra.lab import marks, registry
from zentoria_infra.lab.firewall.enforcer import read_state
from zentoria_infra.lab.layout import NODE
from zentoria_infra.lab.network import ports
from zentoria_infra.lab.registry import Lab
from zentoria_infra.lab.shell.control_socket import ApiFailure, call


@dataclasses.dataclass(frozen=True)
class Health:
    """One lab at this moment. ``memory`` in bytes: daemon, sshd and guests together."""

    lab: Lab
    daemon: int
    ready: bool
    api: str
    ssh: str
    containers: int
    running: int
    memory: int
    firewall: str = ""
    """How the filtering of packets is, in words; empty where there is none."""

    @property
    def up(self) -> bool:
        """Whether everything answers."""
        return bool(self.daemon) and self.ready and self.api == "ok" and self.ssh == "ok"

    def as_data(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "name": self.lab.name,
            "up": self.up,
            "guests": self.lab.guests,
            "pve": self.lab.pve,
            "daemon": self.daemon,
            "api": self.api,
            "ssh": self.ssh,
            "containers": self.containers,
            "running": self.running,
            "memory": self.memory,
            "firewall": self.firewall,
            "ports": self.lab.ports.named(),
            "folder": str(self.lab.layout.root),
        }


def look(name: str) -> Health | None:
    """Look at a lab; None when there is none of that name.

    Raises:
        LabError: its file cannot be read.
    """
    lab = registry.find(name)
    if lab is None:
        return None
    layout = lab.layout
    pid = marks.daemon_pid(layout).alive()
    rows: list[dict[str, Any]] = []
    try:
        found = call(str(layout.control_socket), "GET", f"/nodes/{NODE}/lxc", timeout=10)
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        containers = len(rows)
    except ApiFailure:
        containers = len(list((layout.pve / "lxc").glob("*.conf")))
    memory = sum(int(row.get("mem") or 0) for row in rows) + _resident(pid) + _resident(marks.sshd_pid(layout).alive())
    return Health(
        lab=lab,
        daemon=pid,
        ready=marks.ready(layout).exists(),
        api=_api(lab) if pid else "down",
        ssh="ok" if ports.answers(lab.ports.ssh) and marks.sshd_pid(layout).alive() else "down",
        containers=containers,
        running=sum(row.get("status") == "running" for row in rows),
        memory=memory,
        firewall=state.sentence() if pid and (state := read_state(marks.firewall(layout))) else "",
    )


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:
        return 0


def _api(lab: Lab) -> str:
    """Ask the HTTPS API for its version with the lab's token, as a client does: ``ok``, or what is wrong."""
    secrets = lab.layout.secrets
    try:
        context = ssl.create_default_context(cafile=secrets / "ca.pem")
        token = (secrets / "token").read_text().strip()
        request = urllib.request.Request(
            f"https://127.0.0.1:{lab.ports.api}/api2/json/version",
            headers={"Authorization": f"PVEAPIToken=zentoria@pve!up={token}"},
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=10) as answer:
            return "ok" if answer.status == 200 else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return f"does not answer: {error}"

"""Files in a lab's ``run`` folder by which one process knows of another."""

from __future__ import annotations

from pathlib import Path

from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.pidfile import PidFile


def daemon_pid(layout: LabLayout) -> PidFile:
    """The pid file of a lab's daemon."""
    return PidFile(layout.run / "daemon.pid")


def sshd_pid(layout: LabLayout) -> PidFile:
    """The pid file of a lab's sshd."""
    return PidFile(layout.run / "sshd.pid")


def ready(layout: LabLayout) -> Path:
    """The file that is there while a daemon is ready; it holds its pid."""
    return layout.run / "ready"


def firewall(layout: LabLayout) -> Path:
    """The file that says how the filtering of packets is, while a daemon does it."""
    return layout.run / "firewall.json"


def in_force(layout: LabLayout) -> Path:
    """The file that says which firewall rules are in force."""
    return layout.run / "firewall-in-force.json"


def booted(layout: LabLayout) -> Path:
    """The file that is there while the node is "booted"; it holds the kernel's boot id."""
    return layout.run / "booted"


def boot_id() -> str:
    """The kernel's id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

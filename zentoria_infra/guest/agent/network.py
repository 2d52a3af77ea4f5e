"""A start that waits in vain for a network that nobody configures that way."""

from __future__ import annotations

import glob
import os

from . import common

WAITS = "systemd-networkd-wait-online.service"
_SETTINGS = ("etc", "run")


def waits_in_vain(root: str = "/") -> bool:
    """Whether a start would wait for systemd-networkd though it has nothing to configure.

    Proxmox writes settings for it, or ``/etc/network/interfaces`` for ifupdown, as the template has it. In the second
    case it turns systemd-networkd off, but not what waits for it: that is turned on by Debian's presets at the first
    start of a container (pve-container, ``Setup/Debian.pm``), starts the other, and gives up after two minutes.
    """
    wanted = os.path.join(root, "etc/systemd/system/network-online.target.wants", WAITS)
    masked = os.path.join(root, "etc/systemd/system", WAITS)
    if not os.path.lexists(wanted) or os.path.islink(masked):
        return False
    patterns = (os.path.join(root, folder, "systemd/network/*.network") for folder in _SETTINGS)
    return not any(glob.glob(pattern) for pattern in patterns)


def let_go() -> bool:
    """End the wait where it is under way, or has failed; whether it was."""
    _, output = common.run(["systemctl", "show", "--property=ActiveState", "--value", WAITS])
    if output.strip() not in ("activating", "failed"):
        return False
    for verb in ("stop", "reset-failed"):  # stopped in the middle, it counts as failed
        common.run(["systemctl", verb, WAITS])
    return True

"""What a lab's files do not say about its node."""

from __future__ import annotations

import ipaddress

from zentoria_infra.lab.firewall.host import Facts
from zentoria_infra.lab.lxc import network

PROXY = (network.BRIDGES["vmbr40"].partition("/")[0], 3128)
"""Where guests find the proxy behind which the internet is."""


def lab_facts(*, strict: bool) -> Facts:
    """The facts of a lab; one that is ``strict`` lets guests to its proxy by rules alone, as Proxmox does."""
    local = str(ipaddress.ip_interface(network.BRIDGES["vmbr0"]).network)
    return Facts(local, network.OUTSIDE, None if strict else PROXY)

"""What a start puts right after a crash."""

from __future__ import annotations

from zentoria_infra.lab.api import guestops
from zentoria_infra.lab.api.node import Node

_HALF = frozenset({"create", "destroyed"})


def recover(node: Node) -> None:
    """Remove containers whose creation or destruction was cut off, with all that is theirs.

    No task survives the server, so nobody else will ever take these two locks away.
    """
    for vmid in node.guests.ids():
        if node.guests.get(vmid).options.get("lock") in _HALF:
            guestops.discard(node, vmid, lambda _line: None)
            guestops.forget(node, vmid)

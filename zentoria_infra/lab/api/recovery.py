"""What a start puts right after a crash."""

from __future__ import annotations

import contextlib

from zentoria_infra.lab.api.lxc import ops
from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.runtime import RuntimeFailure

_HALF = frozenset({"create", "destroyed"})


def recover(node: Node) -> None:
    """Remove containers whose creation or destruction was cut off, with all that is theirs; thaw frozen ones.

    No task survives the server, so nobody else will ever take these two locks away. Other locks stay, as on Proxmox:
    an admin looks, and then says ``pct unlock``.
    """
    for vmid in node.guests.ids():
        lock = node.guests.get(vmid).options.get("lock")
        if lock == "snapshot":
            with contextlib.suppress(RuntimeFailure):  # it was not frozen yet, or no longer
                node.runtime.thaw(vmid)
        if lock in _HALF:
            ops.discard(node, vmid, lambda _line: None)
            ops.forget(node, vmid)

"""What a start puts right after a crash."""

from __future__ import annotations

import contextlib

from zentoria_infra.lab.api.node import Node
from zentoria_infra.lab.runtime import RuntimeFailure


def recover(node: Node) -> None:
    """Remove containers whose creation was cut off: configuration, volumes, whatever the runtime has of them."""
    for vmid in node.guests.ids():
        if node.guests.get(vmid).options.get("lock") != "create":
            continue
        with contextlib.suppress(RuntimeFailure):
            node.runtime.destroy(vmid, lambda _line: None)
        for volume in [name for name in node.runtime.volumes() if name.startswith(f"{vmid}/")]:
            with contextlib.suppress(RuntimeFailure):
                node.runtime.free(volume)
        node.guests.remove(vmid)

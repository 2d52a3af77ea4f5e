"""The lab's second storage: one that can snapshot containers, beside ``local``, which cannot."""

from __future__ import annotations

from zentoria_infra.errors import LabError
from zentoria_infra.lab.layout import BTRFS, LabLayout
from zentoria_infra.lab.shell.control_socket import ApiFailure, call


def ensure(layout: LabLayout) -> None:
    """Have the storage ``local-btrfs``; it is made over the control socket, and what is there already stays.

    Raises:
        LabError: the API refused.
    """
    socket = str(layout.control_socket)
    try:
        rows = call(socket, "GET", "/storage")
        names = {row.get("storage") for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
        if BTRFS not in names:
            values = {"storage": BTRFS, "type": "btrfs", "path": f"/var/lib/pve/{BTRFS}", "content": "images,rootdir"}
            call(socket, "POST", "/storage", values)
    except ApiFailure as failure:
        raise LabError(
            "make the lab's storage for snapshots",
            on=BTRFS,
            got=failure.message,
            todo="see the lab's log; `zentoria lab reset` makes a new one",
        ) from failure

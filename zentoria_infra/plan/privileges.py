"""Which rights a change needs: a privilege of Proxmox on a path of its tree of permissions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Need:
    """A right.

    Args:
        path: of the tree of permissions, as ``/pool/zentoria``; in tables with ``{names}``, as ``/vms/{vmid}``.
        privilege: as Proxmox names it: ``VM.Config.Memory``.
    """

    path: str
    privilege: str

    def __str__(self) -> str:
        return f"{self.privilege} on {self.path}"

"""What is there: plain values read from a node, before anything is decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from zentoria_infra.firewall.config import Configuration, Guest
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.model.snapshots import Snapshot


@dataclasses.dataclass(frozen=True)
class ObservedContainer:
    """One guest as Proxmox shows it. ``config`` holds unparsed values; sizes and flags are still text."""

    vmid: int
    node: str
    kind: str
    """``lxc`` or ``qemu``."""
    status: str
    """``running``, ``stopped`` or ``unknown``."""
    config: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    """Keys whose value waits for a restart; ``config`` has the value that waits."""
    digest: str = ""
    in_force: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What holds of ``pending`` until then; a key that is not there has no value now."""

    @property
    def lock(self) -> str:
        """The lock that the container's configuration carries, as ``create`` or ``backup``; empty for none."""
        return self.config.get("lock", "")

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.status == "running"


@dataclasses.dataclass(frozen=True)
class GuestCheck:
    """What a look inside a guest told: a report, or why there is none."""

    report: GuestReport | None = None
    unknown: str = ""


@dataclasses.dataclass(frozen=True)
class World:
    """All that was observed.

    Args:
        containers: guests on the node's cluster by VMID, those of the inventory with their configuration.
        taken: VMIDs of the inventory that exist but that our token may not see.
        guests: what the agents inside running containers answered in check mode.
        parked: parking containers that a replacement has left, by the VMID of the container that they are for.
        spare: free VMIDs for parking containers, by the VMID of the container that must be replaced.
        problems: what is missing on the node for a create (template, storage, bridge, pool), in words.
    """

    containers: Mapping[int, ObservedContainer]
    taken: frozenset[int] = frozenset()
    guests: Mapping[int, GuestCheck] = dataclasses.field(default_factory=dict)
    problems: tuple[str, ...] = ()
    no_inside: str = ""
    """Why nothing can be done inside guests at all (no SSH to the node); empty where it can."""
    firewall: Configuration | None = None
    """The datacenter's firewall and that of our containers; None where it was not, or could not be, read."""
    firewall_unknown: str = "it was not looked at"
    """Why it is None."""
    node_lacks: tuple[str, ...] = ()
    """What guests need of their node and its own firewall does not let in, where that is not ours to mend; in words."""
    firewall_digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Proxmox's digests of the firewall's lists that were read, as ``404/rules`` or ``datacenter/ipset/management``."""
    parked: Mapping[int, ObservedContainer] = dataclasses.field(default_factory=dict)
    spare: Mapping[int, int] = dataclasses.field(default_factory=dict)
    snapshots: Mapping[int, tuple[Snapshot, ...]] = dataclasses.field(default_factory=dict)
    """Snapshots of the containers whose volumes must be moved or destroyed; of the others nobody asked."""
    others: Mapping[int, ObservedContainer] = dataclasses.field(default_factory=dict)
    """Containers of our pool, or with our tag, besides those of the run: whose they are, their notes tell."""
    templates: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    """Templates by node and volume id, and their sizes in bytes; only where something must be made."""
    parked_firewall: Mapping[int, Guest] = dataclasses.field(default_factory=dict)
    """The firewalls of the parking containers, by the VMID of the container that they are for."""

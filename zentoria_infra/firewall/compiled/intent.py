"""What shall be allowed, exactly: the flows of zones.yaml with addresses, and where each is said."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Literal

from zentoria_infra.firewall.compiled.parties import INTERNET, OUTSIDE
from zentoria_infra.firewall.config import Configuration, Rule
from zentoria_infra.inventory.problems import Position


class Kind(enum.StrEnum):
    """Why something is allowed."""

    FLOW = "flow"
    """A flow of zones.yaml."""
    EGRESS = "egress"
    """An ``egress`` entry of a container's file."""
    DNS = "dns"
    """Name resolution for a container with egress to names."""
    LEASE = "lease"
    """DHCP on a public NIC that has its address from there."""
    OPENING = "opening"
    """Package sources, for the time of a deploy only."""
    GUARD = "guard"
    """Not allowed but denied: what the rules after it must not let through."""


@dataclasses.dataclass(frozen=True, slots=True)
class Intent:
    """One thing that is allowed, at one guest's NIC or at two: a flow is a pair of rules, one at each end.

    Args:
        key: identity, the first word of the comment of every rule made for it, as ``zt/row-7/backend/db/tcp``.
        source: name of a container, or ``internet``.
        destination: name of a container; ``internet``, or for egress, dns and openings an address, or networks with
            ``,`` between them.
        protocol: ``tcp`` or ``udp``.
        ports: destination ports as closed intervals, sorted, not touching.
        source_nic: NIC of the source container; empty when the source is no container.
        destination_nic: NIC of the destination container; empty when it is none.
        position: file:line:column that says so.
        origin: ``row 7``, ``derived: ...``, or what else.
    """

    key: str
    kind: Kind
    source: str
    destination: str
    protocol: str
    ports: tuple[tuple[int, int], ...]
    source_nic: str
    destination_nic: str
    position: Position
    origin: str
    purpose: str

    def far(self, direction: Literal["in", "out"]) -> str:
        """The other end as a rule must name it: what comes from the internet may come from a private network too.

        What leaves for the internet does not lead there; but a DHCP server may be anywhere.
        """
        name = self.destination if direction == "out" else self.source
        return OUTSIDE if name == INTERNET and (direction == "in" or self.kind is Kind.LEASE) else name


@dataclasses.dataclass(frozen=True, slots=True)
class Compiled:
    """A configuration and the intents it was made from.

    Args:
        configuration: what goes to Proxmox.
        intents: what it shall allow, and nothing else, in the order of zones.yaml.
        positions: file:line:column of what is no intent: by identity of a guard rule, and ``"<vmid>"`` for a
            guest's options (the container's file).
        by_hand: rules of the node, each with the place that asks for it, which guests need and somebody else must make:
            with its objects in guests alone a site may not.
        node_addresses: that the inventory says are the node's.
    """

    configuration: Configuration
    intents: tuple[Intent, ...]
    positions: Mapping[str, Position]
    by_hand: tuple[tuple[Rule, Position], ...] = ()
    node_addresses: tuple[str, ...] = ()

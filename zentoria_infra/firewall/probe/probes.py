"""Attempts that are made from inside the guests, and what shall come of each."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator

from zentoria_infra.firewall.compiled.intent import Intent


class ProbeKind(enum.StrEnum):
    """What a probe is to show."""

    DECLARED = "declared"
    UNDECLARED = "undeclared"
    FORGED = "forged"
    """With the source address of somebody who may do what is tried."""
    NODE = "node"
    """Towards the node or the gateway, where no listener of ours stands."""
    INTERNET = "internet"
    CONTROL = "control"
    """Like a forged one, and with its own address: shows that forged ones would be seen."""


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """One attempt.

    Args:
        number: its own in the plan.
        source: the guest that tries.
        target: name of a container, ``node``, ``gateway`` or ``internet``; an address that is none of theirs.
        address: where to.
        allowed: what shall come of it.
        key: of the intent that allows it; for a forged one, of what it tries to make use of.
        claimed: whose address a forged one has as its source.
        source_address: that address.
        controls: of a forged one: numbers of those that must be seen, else it shows nothing.
        heard: whether a listener of ours stands at the far end.
        hops: how many hosts may pass it on (time to live); 0: as many as there are. With 1 the first router answers
            that it does not go on, and nothing reaches the internet.
        router: which router is the first one, as far as it is known: its address, or the bridge that it is behind.
            Only of those that have hops.
    """

    number: int
    kind: ProbeKind
    source: str
    target: str
    address: str
    protocol: str
    port: int
    allowed: bool
    key: str = ""
    claimed: str = ""
    source_address: str = ""
    controls: tuple[int, ...] = ()
    heard: bool = True
    hops: int = 0
    router: str = ""

    @property
    def is_raw(self) -> bool:
        """Whether it is one packet, that is looked for at the far end."""
        return self.kind in (ProbeKind.FORGED, ProbeKind.CONTROL)


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Place:
    """Where a guest listens."""

    protocol: str
    address: str
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class GuestPlan:
    """What one guest does."""

    name: str
    vmid: int
    listen: tuple[Place, ...]
    probes: tuple[Probe, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ProbePlan:
    """What all guests do. ``untried`` are intents that cannot be tried from inside a guest, and why."""

    guests: tuple[GuestPlan, ...]
    untried: tuple[tuple[Intent, str], ...]

    @property
    def probes(self) -> Iterator[Probe]:
        """All probes, by guest."""
        return (probe for guest in self.guests for probe in guest.probes)

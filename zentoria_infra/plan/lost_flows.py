"""What is allowed now and will not be: whose open connections must be cut, since rules do not touch those."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from zentoria_infra.firewall.compiled.parties import Parties
from zentoria_infra.firewall.config import Configuration
from zentoria_infra.firewall.proof.network import Filters, Network
from zentoria_infra.firewall.sets.services import SIZE, text
from zentoria_infra.inventory.spans import NOTHING, Spans, difference
from zentoria_infra.plan.model.change import LostFlow

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}
_ANY = (0, 65535)
_MANY = 16
"""A pair that loses more intervals than this loses all of its connections; those still allowed go on as new ones."""


def lost_flows(
    before: Configuration,
    after: Configuration,
    parties: Parties,
    allowed: Mapping[tuple[str, str], Spans] | None = None,
) -> tuple[LostFlow, ...]:
    """The flows that end, by pair of parties; pure.

    A container that was not filtered at all loses too much to name: all of its connections are cut, once each way.

    Args:
        before: as it is; containers that do not exist yet are not in it.
        after: as it shall be.
        parties: who there is.
        allowed: what ``after`` allows by pair of parties, where it is known already.
    """
    filters = Filters()
    was = Network(before, parties, filters).matrix()
    will = allowed if allowed is not None else Network(after, parties, filters).matrix()
    known = {guest.vmid for guest in before.guests}
    there = {name for name, vmid in parties.vmids.items() if vmid in known}
    found: list[LostFlow] = []
    open_before: set[str] = set()
    for (source, destination), services in was.items():
        gone = difference(services, will.get((source, destination), NOTHING))
        if not gone:
            continue
        if _is_open(gone):
            open_before |= {source, destination} & there
        else:
            found += _pair(parties, source, destination, gone)
    found = [one for one in found if not _covered(one, parties, open_before)]
    return (*_whole(parties, sorted(open_before)), *found)


def _is_open(services: Spans) -> bool:
    """Whether more than one whole protocol is lost."""
    return any(last - first >= SIZE for first, last in services)


def _pair(parties: Parties, source: str, destination: str, services: Spans) -> Iterator[LostFlow]:
    ends = _address(parties, source), _address(parties, destination)
    if not any(ends):
        return
    vmid = parties.vmids.get(source, 0)
    title = f"{source} → {destination}"
    if len(services) > _MANY:
        yield LostFlow(*ends, "", _ANY, vmid, f"{title} {text(services)}")
        return
    for first, last in services:
        protocol = _PROTOCOLS.get(first // SIZE, str(first // SIZE))
        ports = (first % SIZE, last % SIZE) if protocol in ("tcp", "udp") else _ANY
        yield LostFlow(*ends, protocol, ports, vmid, f"{title} {text(((first, last),))}")


def _whole(parties: Parties, names: list[str]) -> Iterator[LostFlow]:
    for name in names:
        address = _address(parties, name)
        if address:
            yield LostFlow(address, "", "", _ANY, parties.vmids[name], f"{name} → anybody, what is not allowed")
            yield LostFlow("", address, "", _ANY, 0, f"anybody → {name}, what is not allowed")


def _covered(flow: LostFlow, parties: Parties, names: set[str]) -> bool:
    return bool({flow.source, flow.destination} & {_address(parties, name) for name in names})


def _address(parties: Parties, name: str) -> str:
    """The one address of a party; empty for one that has many."""
    spans = parties.by_name(name).spans
    if len(spans) == 1 and spans[0][0] == spans[0][1]:
        return str(ipaddress.IPv4Address(spans[0][0]))
    return ""

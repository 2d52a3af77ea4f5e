"""Which rules decide about a probe, at each end; pure. Says why reality is as it is, and what it should be."""

from __future__ import annotations

import ipaddress

from zentoria_infra.firewall.compiled.intents import INTERNAL_NIC, PUBLIC_NIC
from zentoria_infra.firewall.compiled.parties import INTERNET
from zentoria_infra.firewall.identity import identity
from zentoria_infra.firewall.probe.probes import Probe
from zentoria_infra.firewall.proof.differences import name_of
from zentoria_infra.firewall.proof.network import End, Network
from zentoria_infra.firewall.proof.semantics import Direction
from zentoria_infra.firewall.sets.protocols import PROTOCOLS
from zentoria_infra.firewall.sets.services import span
from zentoria_infra.inventory.spans import contains


def reasons(network: Network, probe: Probe) -> tuple[bool, tuple[str, ...]]:
    """Whether a configuration lets a probe through, and what decides that.

    Args:
        network: the configuration, as compiled or as it is on a node.
        probe: the attempt.

    Returns:
        The verdict, and one line for each end that has a filter of ours.
    """
    source = _source(network, probe)
    target = _target(network, probe)
    own = source.own[0][0] if source is not None and source.own else 0
    near = int(ipaddress.IPv4Address(probe.source_address)) if probe.source_address else own
    far = int(ipaddress.IPv4Address(probe.address))
    passes, lines = True, []
    for end, name, direction, other in ((source, probe.source, "out", far), (target, probe.target, "in", near)):
        if name not in network.parties.vmids:
            continue
        where = f"{'out of' if direction == 'out' else 'into'} {name}"
        if end is None:
            passes = False
            lines.append(f"{where}: the container has no such NIC there")
            continue
        good, why = _decided(end, direction, other, near, probe)
        passes = passes and good
        lines.append(f"{where}: {'allowed' if good else 'denied'} by {why}")
    return passes, tuple(lines)


def _decided(end: End, direction: str, other: int, near: int, probe: Probe) -> tuple[bool, str]:
    """What decides at one end."""
    side: Direction = "out" if direction == "out" else "in"
    if side == "out" and not contains(end.filter.sources, ((near, near),)):
        return False, f"the IP filter of {end.nic.key}, which does not hold {ipaddress.IPv4Address(near)}"
    service = span(PROTOCOLS[probe.protocol], probe.port, probe.port)[0]
    good, blame = end.filter.side(side).decides(other, service)
    why = name_of(blame, end.guest) if blame is not None else "nothing that is known"
    lost = [
        one.reason for one in end.filter.vanished if one.blame.rule and identity(one.blame.rule.comment) == probe.key
    ]
    return good, f"{why}; the rule for {probe.key} {lost[0]}" if lost and not good and probe.key else why


def _source(network: Network, probe: Probe) -> End | None:
    nic = PUBLIC_NIC if probe.target == INTERNET and (probe.source, PUBLIC_NIC) in network.ends else INTERNAL_NIC
    return network.ends.get((probe.source, nic))


def _target(network: Network, probe: Probe) -> End | None:
    address = int(ipaddress.IPv4Address(probe.address))
    found = [end for (name, _), end in network.ends.items() if name == probe.target]
    return next((end for end in found if contains(end.own, ((address, address),))), None)

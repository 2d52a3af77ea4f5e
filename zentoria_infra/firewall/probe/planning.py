"""What is tried from inside the guests: every declared flow, and a broad sample of what is not declared; pure.

A probe of something undeclared proves nothing when nobody listens at the far end, so each target listens on every
port that is tried at it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from zentoria_infra.firewall.compiled.intent import Compiled, Intent, Kind
from zentoria_infra.firewall.compiled.intents import DHCP, INTERNAL_NIC, PUBLIC_NIC, default_nic
from zentoria_infra.firewall.compiled.parties import GATEWAY, INTERNET, NODE, Parties, Party
from zentoria_infra.firewall.probe.probes import GuestPlan, Place, Probe, ProbeKind, ProbePlan
from zentoria_infra.inventory.flows import ports_of

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Container, Inventory

SAMPLE = 600
"""Undeclared probes that one guest sends to others; on the shipped inventory that is every exposed port of any
container at every other one, and more."""

MANAGEMENT = (22, 3128, 8006)
"""Ports of a Proxmox node that no guest has business with: SSH, SPICE proxy, API."""

WEB = (("tcp", 80), ("tcp", 443), ("udp", 53))
"""What is tried towards the internet."""

DOCUMENTATION = ("203.0.113.77", "198.51.100.77", "192.0.2.77")
"""Addresses that nobody on the internet has (RFC 5737)."""

RANDOM_PORTS = 2
"""Random ports of each protocol that are tried at each guest, besides exposed ones."""

FORGERIES = 2
"""Sources that each guest claims for what it may do itself, and as many for what it may not; and the internet."""

_HIGHEST = 32767
"""Random ports end below those from which connections begin."""

_ENDS = 8
"""Ports of one declared interval that are tried: from both of its ends."""


def probe_plan(
    inventory: Inventory,
    compiled: Compiled,
    parties: Parties,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    only: Collection[str] | None = None,
) -> ProbePlan:
    """What to try; the same for the same arguments.

    Args:
        inventory: says who exposes what.
        compiled: says what is declared.
        parties: says who has which address.
        sample: undeclared probes that one guest sends to others, at most.
        seed: of everything that is drawn at random.
        only: names of containers: what neither begins nor ends at one of them is left out.
    """
    return _Planner(inventory, compiled, parties, sample, seed).plan(only)


class _Declared:
    """Looks up what is declared from a container to an address."""

    def __init__(self, intents: Iterable[Intent], addresses: dict[tuple[str, str], str]) -> None:
        self.pairs: dict[tuple[str, str], list[Intent]] = defaultdict(list)
        """By source and address."""
        self.internet: dict[str, list[Intent]] = defaultdict(list)
        """By source."""
        for intent in intents:
            if intent.destination == INTERNET:
                self.internet[intent.source].append(intent)
            else:
                nic = intent.destination_nic or INTERNAL_NIC
                address = addresses.get((intent.destination, nic), intent.destination)
                self.pairs[intent.source, address].append(intent)

    def key(self, source: str, address: str, protocol: str, port: int) -> str:
        return _key(self.pairs.get((source, address), ()), protocol, port)

    def key_out(self, source: str, protocol: str, port: int) -> str:
        return _key(self.internet.get(source, ()), protocol, port)


@dataclasses.dataclass(frozen=True, slots=True)
class _Flow:
    """One port of something declared that ends at a guest."""

    source: str
    target: str
    address: str
    port: int
    key: str


def _key(intents: Iterable[Intent], protocol: str, port: int) -> str:
    for intent in intents:
        if intent.protocol == protocol and any(first <= port <= last for first, last in intent.ports):
            return intent.key
    return ""


class _Planner:
    def __init__(self, inventory: Inventory, compiled: Compiled, parties: Parties, sample: int, seed: int) -> None:
        self._containers = inventory.containers
        self._vmids = parties.vmids
        self._others = {party.name: party for party in parties.others}
        self._sample = sample
        self._seed = seed
        self._addresses = {
            (container.name, nic): address
            for container in inventory.containers
            for nic, address in _addresses_of(container)
        }
        self._intents = tuple(intent for intent in compiled.intents if intent.kind not in (Kind.GUARD, Kind.LEASE))
        self._leases = tuple(intent for intent in compiled.intents if intent.kind is Kind.LEASE)
        self._wide = tuple(intent for intent in self._intents if set("/,") & set(intent.destination))
        self._intents = tuple(intent for intent in self._intents if intent not in self._wide)
        self._declared = _Declared(self._intents, self._addresses)
        self._exposed = {
            container.name: _sorted(
                (port.protocol, n) for _, port in ports_of(container) for n in _ends(port.port.first, port.port.last)
            )
            for container in inventory.containers
        }
        self._everywhere = _sorted(itertools.chain.from_iterable(self._exposed.values()))
        self._random = {container.name: self._random_ports(container.name) for container in inventory.containers}
        self._routers = {container.name: _first_router(inventory, container) for container in inventory.containers}
        self._numbers = itertools.count(1)
        self._controls: dict[tuple[str, str, int], Probe] = {}
        self._flows = self._tcp_flows()
        self._entrances = self._tcp_flows(entering=True)

    def plan(self, only: Collection[str] | None) -> ProbePlan:
        probes: list[Probe] = []
        for container in self._containers:
            probes += self._to_guests(container.name)
            probes += self._to_others(container.name)
            probes += self._forged(container.name)
        if only is not None:
            # One that must leave stays by each router: it shows that this one answers, else silence says nothing.
            leaving = {probe.router: probe for probe in probes if probe.hops and probe.allowed}.values()
            kept = [probe for probe in probes if probe.source in only or probe.target in only]
            probes = list(dict.fromkeys([*kept, *leaving]))
        needed = {number for probe in probes for number in probe.controls}
        probes += [control for control in self._controls.values() if control.number in needed]
        listen: dict[str, set[Place]] = defaultdict(set)
        sends: dict[str, list[Probe]] = defaultdict(list)
        for probe in probes:
            sends[probe.source].append(probe)
            if probe.heard:
                listen[probe.target].add(Place(probe.protocol, probe.address, probe.port))
        names = [name for name in self._vmids if listen[name] or sends[name]]
        guests = tuple(GuestPlan(n, self._vmids[n], tuple(sorted(listen[n])), tuple(sends[n])) for n in names)
        return ProbePlan(guests, tuple(self._untried(only)))

    def _to_guests(self, source: str) -> Iterator[Probe]:
        """Every declared port of every other guest first, then a sample of the others: what it exposes goes first."""
        likely: list[tuple[str, str, str, int]] = []
        others: list[tuple[str, str, str, int]] = []
        for (target, _), address in self._addresses.items():
            if target == source:
                continue
            declared = {
                (intent.protocol, port)
                for intent in self._declared.pairs.get((source, address), ())
                for first, last in intent.ports
                for port in _ends(first, last)
            }
            for protocol, port in sorted(declared):
                yield self._probe(source, target, address, protocol, port)
            exposed = [one for one in self._exposed[target] if one not in declared]
            likely += [(target, address, *one) for one in exposed]
            rest = _sorted([*self._everywhere, *self._random[target]])
            others += [(target, address, *one) for one in rest if one not in declared and one not in exposed]
        draw = random.Random(f"{self._seed}/{source}")  # noqa: S311 - a sample that can be drawn again, no secret
        drawn = draw.sample(likely, min(self._sample, len(likely)))
        drawn += draw.sample(others, min(self._sample - len(drawn), len(others)))
        for one in sorted(drawn):
            yield self._probe(source, *one)

    def _probe(self, source: str, target: str, address: str, protocol: str, port: int) -> Probe:
        key = self._declared.key(source, address, protocol, port)
        kind = ProbeKind.DECLARED if key else ProbeKind.UNDECLARED
        return Probe(next(self._numbers), kind, source, target, address, protocol, port, bool(key), key)

    def _to_others(self, source: str) -> Iterator[Probe]:
        """The node, the gateway, the internet, and declared addresses of nobody: no listener of ours is there."""
        wanted: list[tuple[ProbeKind, str, str, str, int]] = []
        near = {address: name for name in (NODE, GATEWAY) for address in _few(self._others.get(name))}
        ours = set(self._addresses.values())
        for (who, address), intents in self._declared.pairs.items():
            if who == source and address not in ours:
                for intent in intents:
                    for port in (port for first, last in intent.ports for port in _ends(first, last)):
                        where = near.get(address, address)
                        wanted.append((ProbeKind.DECLARED, where, address, intent.protocol, port))
        for address, name in near.items():
            wanted += [(ProbeKind.NODE, name, address, "tcp", port) for port in MANAGEMENT]
        for kind, target, address, protocol, port in dict.fromkeys(wanted):
            key = self._declared.key(source, address, protocol, port)
            if kind is ProbeKind.NODE and key:
                continue  # it is among the declared ones
            probe = Probe(next(self._numbers), kind, source, target, address, protocol, port, bool(key), key)
            yield dataclasses.replace(probe, heard=False)
        if (out := self._documentation()) is None:
            return
        declared = {
            (intent.protocol, port)
            for intent in self._declared.internet.get(source, ())
            for first, last in intent.ports
            for port in _ends(first, last)
        }
        # They end at the first router, which says so: thus it is known that they left the guest.
        for protocol, port in sorted({*declared, *WEB}):
            key = self._declared.key_out(source, protocol, port)
            kind = ProbeKind.DECLARED if key else ProbeKind.INTERNET
            probe = Probe(next(self._numbers), kind, source, INTERNET, out, protocol, port, bool(key), key)
            yield dataclasses.replace(probe, heard=False, hops=1, router=self._routers[source])

    def _forged(self, source: str) -> Iterator[Probe]:
        """Packets with the address of somebody who may send them, so that only a check of sources stops them."""
        own = next((flow for flow in self._flows if flow.source == source), None)
        if own is None:
            return  # without a packet that may arrive there is no telling whether any was sent
        sent = self._control(own).number
        draw = random.Random(f"{self._seed}/{source}/forged")  # noqa: S311 - as above
        flows = [flow for flow in self._flows if source not in (flow.source, flow.target)]
        draw.shuffle(flows)
        # What the guest may do under its own address too passes its rules: nothing but the check of sources stops it.
        # Of the others, the rules let nothing out; they are tried for a guest whose rules are not in force.
        own_too = [flow for flow in flows if self._declared.key(source, flow.address, "tcp", flow.port)]
        others = [flow for flow in flows if flow not in own_too]
        for flow in (*own_too[:FORGERIES], *others[:FORGERIES]):
            claims = self._addresses[flow.source, INTERNAL_NIC]
            yield self._raw(source, flow, claims, False, (sent, self._control(flow).number))
        entrances = [flow for flow in self._entrances if flow.target != source]
        for flow in draw.sample(entrances, min(1, len(entrances))):
            # That the far end sees what comes in is shown by any other flow to it.
            seen = [self._control(one).number for one in self._flows if one.target == flow.target][:1]
            yield self._raw(source, flow, self._documentation() or DOCUMENTATION[0], False, (sent, *seen))

    def _control(self, flow: _Flow) -> Probe:
        where = (flow.source, flow.address, flow.port)
        if where not in self._controls:
            self._controls[where] = self._raw(flow.source, flow, self._addresses[flow.source, INTERNAL_NIC], True, ())
        return self._controls[where]

    def _raw(self, source: str, flow: _Flow, claims: str, allowed: bool, controls: tuple[int, ...]) -> Probe:
        return Probe(
            next(self._numbers),
            ProbeKind.CONTROL if allowed else ProbeKind.FORGED,
            source,
            flow.target,
            flow.address,
            "tcp",
            flow.port,
            allowed,
            flow.key,
            flow.source,
            claims,
            controls,
        )

    def _tcp_flows(self, *, entering: bool = False) -> list[_Flow]:
        """Declared flows between guests' internal NICs; or those from the internet to an address that is known."""
        found = []
        for intent in self._intents:
            address = self._addresses.get((intent.destination, intent.destination_nic))
            fits = intent.source == INTERNET if entering else intent.source_nic == INTERNAL_NIC
            if fits and intent.protocol == "tcp" and address is not None:
                found.append(_Flow(intent.source, intent.destination, address, intent.ports[0][0], intent.key))
        return found

    def _untried(self, only: Collection[str] | None) -> Iterator[tuple[Intent, str]]:
        for intent in (*self._intents, *self._leases, *self._wide):
            if only is not None and intent.source not in only and intent.destination not in only:
                continue
            if intent.kind is Kind.LEASE:
                yield intent, "a second lease would be asked for"
            elif intent in self._wide:
                yield intent, "it leads to a whole network, in which nobody listens for us"
            elif intent.source == INTERNET:
                yield intent, "it begins on the internet, where no guest of ours is"

    def _random_ports(self, name: str) -> list[tuple[str, int]]:
        draw = random.Random(f"{self._seed}/{name}/ports")  # noqa: S311 - as above
        return [
            (protocol, port) for protocol in ("tcp", "udp") for port in draw.sample(range(1, _HIGHEST), RANDOM_PORTS)
        ]

    def _documentation(self) -> str | None:
        """An address that is nobody's on the internet, and none of ours."""
        spans = self._others[INTERNET].spans
        for text in DOCUMENTATION:
            number = int(ipaddress.IPv4Address(text))
            if any(first <= number <= last for first, last in spans):
                return text
        return None


def _first_router(inventory: Inventory, container: Container) -> str:
    """The router that what a container sends to the internet comes to first."""
    public = container.public
    if public is None or default_nic(container) != PUBLIC_NIC:
        return str(inventory.gateway(container))
    return f"{inventory.site.bridges.public} by DHCP" if public.gateway is None else str(public.gateway)


def _addresses_of(container: Container) -> Iterator[tuple[str, str]]:
    yield INTERNAL_NIC, str(container.address)
    if container.public is not None and container.public.address != DHCP:
        yield PUBLIC_NIC, str(ipaddress.IPv4Interface(container.public.address).ip)


def _ends(first: int, last: int) -> Iterable[int]:
    """All ports of an interval; of a long one those at both ends."""
    if last - first < 2 * _ENDS:
        return range(first, last + 1)
    return (*range(first, first + _ENDS), *range(last - _ENDS + 1, last + 1))


def _few(party: Party | None) -> list[str]:
    """Addresses of the node or of gateways: there are few of them."""
    spans = party.spans if party is not None else ()
    return [str(ipaddress.IPv4Address(number)) for first, last in spans for number in _ends(first, last)]


def _sorted(ports: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(set(ports))

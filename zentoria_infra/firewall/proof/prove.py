"""The proof: a configuration allows exactly what is intended, for all addresses, protocols and ports.

Every container's accepted sets are compared with what the intents say of that NIC and direction, address range by
address range; only what is left over is followed to the other end. So the work grows with rules and flows, not with
pairs. Between two containers a packet needs leave at both ends; node, gateway, internet and strangers have no filter
of ours, so that one end decides. Over IPv6 (link-local, on any bridge) nothing is intended at all.
What guests need of their node must pass its own chain too.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Mapping

from zentoria_infra.firewall.compiled.intent import Compiled, Intent
from zentoria_infra.firewall.compiled.parties import INTERNET, OUTSIDE, PRIVATE, STRANGER, Parties
from zentoria_infra.firewall.config import Configuration
from zentoria_infra.firewall.proof.differences import Difference, Kind, Positions, name_of
from zentoria_infra.firewall.proof.explain import Explainer
from zentoria_infra.firewall.proof.host import node_differences
from zentoria_infra.firewall.proof.hygiene import forged, unfiltered, vanished, weakened_options
from zentoria_infra.firewall.proof.network import End, Filters, Network, assumed
from zentoria_infra.firewall.proof.semantics import DIRECTIONS, Blame, Direction
from zentoria_infra.firewall.sets import services as words
from zentoria_infra.firewall.sets.addresses import EVERYWHERE
from zentoria_infra.firewall.sets.services import port_services
from zentoria_infra.firewall.sets.table import Cell, Line, Table, sweep
from zentoria_infra.inventory.spans import NOTHING, Spans, contains, difference, intersection, union

__all__ = ["Difference", "Kind", "Proof", "prove"]

_ORDER = {kind: number for number, kind in enumerate(
    (Kind.UNFILTERED, Kind.FORGED, Kind.VANISHED, Kind.MISSING, Kind.EXTRA, Kind.WEAKENED)
)}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Proof:
    """What came out.

    Args:
        pairs: ordered pairs of parties that were judged.
        intervals: intervals of services that are allowed, over all pairs.
        differences: from the gravest kind to the least, then by VMID.
        not_judged: ordered pairs of parties that are both none of our guests.
    """

    pairs: int
    intervals: int
    differences: tuple[Difference, ...]
    not_judged: int = 0
    allowed: Mapping[tuple[str, str], Spans] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """What each party may send to each other one, as :meth:`~zentoria_infra.firewall.network.Network.matrix` has it."""

    @property
    def holds(self) -> bool:
        """Whether there is no difference."""
        return not self.differences


def prove(
    compiled: Compiled,
    parties: Parties,
    configuration: Configuration | None = None,
    addresses: Mapping[str, Collection[str]] | None = None,
) -> Proof:
    """Compare what a configuration allows with what is intended; pure.

    Args:
        compiled: the intents, and where they are said.
        parties: who there is.
        configuration: what to judge; None: what is compiled.
        addresses: of each node, as far as they are known: for rules of it that are not ours to make.
    """
    network = Network(configuration or assumed(compiled), parties, Filters())
    containers, others = len(parties.containers), len(parties.others)
    allowed = network.matrix()
    return Proof(
        pairs=containers * (containers - 1) + 2 * containers * others,
        intervals=sum(len(one) for one in allowed.values()),
        differences=_Prover(compiled, network, addresses or {}).run(),
        not_judged=others * (others - 1),
        allowed=allowed,
    )


_NAMED = 8
"""Containers to or from which one rule or option lets too much through, that are told one by one."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Surplus:
    """What one rule or option lets through at one end, and nobody intends there: by stretches of addresses."""

    end: End
    direction: Direction
    blame: Blame
    stretches: tuple[tuple[int, int, Spans], ...]

    def pair(self, party: str) -> tuple[str, str]:
        """Source and destination."""
        return (self.end.name, party) if self.direction == "out" else (party, self.end.name)


class _Prover:
    def __init__(self, compiled: Compiled, network: Network, addresses: Mapping[str, Collection[str]]) -> None:
        self._addresses = addresses
        self._compiled = compiled
        self._network = network
        self._positions = Positions(compiled)
        self._explainer = Explainer(network, self._positions)

    def run(self) -> tuple[Difference, ...]:
        surplus = list(self._surplus())
        found = [
            *unfiltered(self._network, self._positions),
            *forged(self._network, self._positions),
            *vanished(self._network, self._positions),
            *self._missing(),
            *self._extra(surplus),
            *self._extra6(),
            *node_differences(self._compiled, self._network.configuration, self._positions, self._addresses),
        ]
        found += weakened_options(self._network, self._positions, self._blamed(surplus))
        return tuple(sorted(dict.fromkeys(found), key=lambda one: (_ORDER[one.kind], one.vmid)))

    def _blamed(self, surplus: Iterable[_Surplus]) -> set[tuple[int, str]]:
        """Guests and options that a difference is put down to already."""
        found = {(one.end.vmid, one.blame.option) for one in surplus}
        for end in self._network.ends.values():
            blames = [blame for direction in DIRECTIONS for _, blame in end.filter.side(direction).six]
            found |= {(end.vmid, blame.option) for blame in (*blames, end.filter.source_blame) if blame is not None}
            if end.filter.any_mac:
                found.add((end.vmid, "macfilter"))
        return found

    # What is intended and not allowed.

    def _missing(self) -> Iterable[Difference]:
        for intent in self._compiled.intents:
            wanted = port_services(intent.protocol, intent.ports)
            if intent.source_nic:
                far = self._far(intent.far("out"), intent.destination_nic)
                yield from self._lacking(intent, intent.source, intent.source_nic, "out", far, wanted)
            if intent.destination_nic:
                far = self._far(intent.far("in"), intent.source_nic)
                yield from self._lacking(intent, intent.destination, intent.destination_nic, "in", far, wanted)

    def _lacking(
        self, intent: Intent, name: str, nic: str, direction: Direction, far: Spans, wanted: Spans
    ) -> Iterable[Difference]:
        end = self._network.ends.get((name, nic))
        lacks, sample = wanted, far[0][0] if far else 0
        if end is not None and not end.stray:
            if direction == "out" and not end.filter.off and not contains(end.filter.sources, end.own):
                yield self._explainer.missing_source(intent, end, words.text(wanted))
                return
            lacks = NOTHING
            for first, _, cell in end.filter.side(direction).must.within(far):
                left = difference(wanted, cell.services)
                if left and not lacks:
                    sample = first
                lacks = union(lacks, left)
        if lacks:
            yield self._explainer.missing(intent, name, nic, direction, sample, lacks)

    def _far(self, name: str, nic: str) -> Spans:
        """Addresses of the other end of an intent."""
        attached = self._network.parties.attachments.get(name)
        if attached is not None:
            return next((one.spans for one in attached if one.nic == nic), NOTHING)
        spans = self._network.where.spans
        if name == OUTSIDE:
            return union(spans[INTERNET], spans.get(PRIVATE, NOTHING))
        if name in spans:
            return spans[name]
        return self._network.objects.match(name).upper

    # What is allowed and not intended.

    def _expected(self) -> dict[tuple[str, str, Direction], Table[Intent]]:
        lines: dict[tuple[str, str, Direction], list[Line[Intent]]] = collections.defaultdict(list)
        for intent in self._compiled.intents:
            wanted = port_services(intent.protocol, intent.ports)
            if intent.source_nic:
                far = self._far(intent.far("out"), intent.destination_nic)
                lines[intent.source, intent.source_nic, "out"].append(Line(True, far, wanted, intent))
            if intent.destination_nic:
                far = self._far(intent.far("in"), intent.source_nic)
                lines[intent.destination, intent.destination_nic, "in"].append(Line(True, far, wanted, intent))
        return {key: sweep(some) for key, some in lines.items()}

    def _surplus(self) -> Iterable[_Surplus]:
        expected = self._expected()
        empty: Table[Intent] = sweep([])
        for (name, nic), end in self._network.ends.items():
            if end.filter.off:
                continue  # told once, for the NIC as a whole
            for direction in DIRECTIONS:
                wanted = expected.get((name, nic, direction), empty) if not end.stray else empty
                found: dict[Blame, list[tuple[int, int, Spans]]] = collections.defaultdict(list)
                for first, last, cell, services in _beyond(end.filter.side(direction).may, wanted):
                    for part, blame in cell.parts:
                        if left := difference(part, services):
                            found[blame].append((first, last, left))
                for blame, stretches in found.items():
                    yield _Surplus(end, direction, blame, tuple(stretches))

    def _extra(self, surplus: Iterable[_Surplus]) -> Iterable[Difference]:
        found: dict[tuple[str, str], list[tuple[_Surplus, Spans, bool]]] = collections.defaultdict(list)
        for one in surplus:
            passes, held = self._followed(one)
            several = len(passes.keys() & self._network.parties.vmids.keys()) == _NAMED
            for party, services in passes.items():
                found[one.pair(party)].append((one, services, several))
            if held and not passes:
                yield self._held(one, held)
        for pair, ends in found.items():
            yield from self._extra_of(pair, ends)

    def _followed(self, one: _Surplus) -> tuple[dict[str, Spans], dict[str, Spans]]:
        """What passes the other end too, by party, and what is held there. Of what passes the first containers only."""
        passes: dict[str, Spans] = {}
        held: dict[str, Spans] = {}
        named = 0
        for first, last, services in one.stretches:
            for _, _, party in self._network.where.split(first, last):
                if party == one.end.name:
                    continue
                if party not in self._network.parties.vmids or not self._network.meets(one.end, party):
                    passes[party] = union(passes.get(party, NOTHING), services)
                elif named < _NAMED or party in passes:
                    # What no end at all takes needs no look at every one of them.
                    some = intersection(services, self._network.anybody(one.direction))
                    some = intersection(some, self._network.answers(one.end, party, one.direction)) if some else some
                    if some:
                        named += party not in passes
                        passes[party] = union(passes.get(party, NOTHING), some)
                    else:
                        held[party] = union(held.get(party, NOTHING), services)
        return passes, held

    def _extra_of(self, pair: tuple[str, str], ends: list[tuple[_Surplus, Spans, bool]]) -> Iterable[Difference]:
        """Told once a pair: at the end where a rule is to blame, rather than an option; at the source before that."""
        told = NOTHING
        party = {"out": pair[1], "in": pair[0]}
        ends.sort(key=lambda item: (item[0].blame.rule is None, item[0].direction == "in"))
        for one, services, several in ends:
            if left := difference(services, told):
                told = union(told, left)
                why = self._explainer.unintended(one.end, one.blame, party[one.direction])
                why += f" (no more than {_NAMED} containers are named for it)" if several else ""
                yield self._difference(Kind.EXTRA, one, pair, left, why)

    def _held(self, one: _Surplus, held: dict[str, Spans]) -> Difference:
        names = list(held)
        text = ", ".join(names if len(names) <= _NAMED else [*names[:_NAMED], f"{len(names) - _NAMED} others"])
        services = NOTHING
        for each in held.values():
            services = union(services, each)
        why = (
            f"{name_of(one.blame, one.end.guest)} lets it {one.direction}, and nothing intends it; "
            "only the other end still denies it"
        )
        return self._difference(Kind.WEAKENED, one, one.pair(text), services, why)

    def _difference(
        self, kind: Kind, one: _Surplus, pair: tuple[str, str], services: Spans, explanation: str
    ) -> Difference:
        return Difference(
            kind,
            *pair,
            words.text(services),
            one.end.vmid,
            one.blame.rule,
            one.blame.position,
            self._positions.of(one.blame, one.end.vmid),
            explanation,
        )

    def _extra6(self) -> Iterable[Difference]:
        """Over IPv6 nothing is intended; whoever is on the bridge is at the other end."""
        for end in self._network.ends.values():
            if end.filter.off:
                continue
            for direction in DIRECTIONS:
                pair = (end.name, STRANGER) if direction == "out" else (STRANGER, end.name)
                for services, blame in end.filter.side(direction).six:
                    why = (
                        f"{self._explainer.lets_through(end, blame)} over IPv6, which no flow uses: "
                        f"everything on {end.nic.bridge} has a link-local address"
                    )
                    one = _Surplus(end, direction, blame, ())
                    yield dataclasses.replace(
                        self._difference(Kind.EXTRA, one, pair, services, why),
                        services=f"{words.text(services)} over IPv6",
                    )


def _beyond(has: Table[Blame], wanted: Table[Intent]) -> Iterable[tuple[int, int, Cell[Blame], Spans]]:
    """Stretches where more is accepted than is wanted, with what is accepted and what is wanted there."""
    for begin, end, cell in has.within(EVERYWHERE):
        if not cell.services:
            continue
        for first, last, want in wanted.within(((begin, end),)):
            if cell.services != want.services and not contains(want.services, cell.services):
                yield first, last, cell, want.services

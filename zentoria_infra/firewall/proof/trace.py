"""One question to the firewall: may this one reach that one, who says so at which end, and why the flow exists."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator

from zentoria_infra.errors import ExitCode, ZentoriaError
from zentoria_infra.firewall.compiled.intent import Compiled, Intent
from zentoria_infra.firewall.compiled.parties import INTERNET, OUTSIDE, PRIVATE, Parties
from zentoria_infra.firewall.config import Configuration, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.firewall.proof.differences import Positions, name_of
from zentoria_infra.firewall.proof.explain import Explainer
from zentoria_infra.firewall.proof.network import End, Network, assumed
from zentoria_infra.firewall.proof.semantics import DIRECTIONS, Blame, Direction
from zentoria_infra.firewall.sets.services import point, port_services, text
from zentoria_infra.inventory.problems import Position
from zentoria_infra.inventory.spans import Spans, contains, meets
from zentoria_infra.inventory.wording import nearest


class TraceError(ZentoriaError):
    """The question names something that does not exist."""

    exit_code = ExitCode.USAGE


@dataclasses.dataclass(frozen=True, slots=True)
class TraceEnd:
    """What one end says: a container's NIC.

    Args:
        name: the container.
        vmid: its VMID.
        nic: the NIC; empty when it has none there.
        direction: ``out`` of the container, or ``in``.
        allowed: the verdict.
        decides: rule, option, policy or switch that decides, in words.
        rule: the rule, when it is one.
        rule_position: its position in its list, from 0.
        identity: the rule's; empty for what is not ours.
        position: the place of the inventory that it comes from; None for a rule that is not ours.
        reason: of a denial of what is intended: what is the matter; else empty.
    """

    name: str
    vmid: int
    nic: str
    direction: Direction
    allowed: bool
    decides: str
    rule: Rule | None = None
    rule_position: int | None = None
    identity: str = ""
    position: Position | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """The answer.

    Args:
        source: party that sends.
        destination: party that receives.
        service: as ``tcp/5432``.
        allowed: whether every end allows it.
        partly: it is not so for all addresses of the other end, which is no single one: denied for some at least.
        ends: the source's, then the destination's; only those that have a filter of ours.
        intents: what says that it shall be allowed; none when nothing does.
    """

    source: str
    destination: str
    service: str
    allowed: bool
    partly: bool
    ends: tuple[TraceEnd, ...]
    intents: tuple[Intent, ...]

    @property
    def as_intended(self) -> bool:
        """Whether the verdict is what the intents say."""
        return self.allowed == bool(self.intents)


def trace(
    compiled: Compiled,
    parties: Parties,
    source: str,
    destination: str,
    protocol: str,
    port: int | None,
    configuration: Configuration | None = None,
) -> Trace:
    """Follow the first packet of a connection; pure.

    Args:
        compiled: the intents, and where they are said.
        parties: who there is.
        source: name of a party, or an IPv4 address.
        destination: likewise.
        protocol: name or number.
        port: destination port; of ICMP a type (None: echo request).
        configuration: what decides; None: what is compiled.

    Raises:
        TraceError: there is no such party, protocol or port, or neither end is a guest of ours.
    """
    return _Tracer(compiled, Network(configuration or assumed(compiled), parties)).trace(
        source, destination, protocol, port
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """One end of the question: a party, and which addresses of it; ``literal`` when it was asked for by address."""

    name: str
    spans: Spans
    literal: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Route:
    """A way between the two: one NIC or two, and what each says."""

    ends: tuple[TraceEnd, ...]
    partly: bool
    intended: bool

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """The better, the smaller: what is allowed, then what is intended, then what is allowed for some."""
        return not all(end.allowed for end in self.ends), not self.intended, not self.partly


def _can_meet(sender: End | None, receiver: End | None) -> bool:
    return sender is None or receiver is None or sender.nic.bridge == receiver.nic.bridge


class _Tracer:
    def __init__(self, compiled: Compiled, network: Network) -> None:
        self._compiled = compiled
        self._network = network
        self._positions = Positions(compiled)
        self._explainer = Explainer(network, self._positions)

    def trace(self, source: str, destination: str, protocol: str, port: int | None) -> Trace:
        tried = f"trace {source} to {destination}"
        one, other = self._asked(source, tried), self._asked(destination, tried)
        try:
            service = point(protocol, port)
        except ValueError as error:
            raise TraceError(tried, got=str(error), todo="ask as `tcp 5432`, `udp 53` or `icmp`") from None
        vmids = self._network.parties.vmids
        if one.name == other.name:
            raise TraceError(tried, got="both are the same", todo="a container reaches itself without its firewall")
        if one.name not in vmids and other.name not in vmids:
            raise TraceError(
                tried, got="neither is a container", todo="name one: Zentoria filters nothing between others"
            )
        intents = tuple(self._intents(one, other, service))
        routes = list(self._routes(one, other, service, intents))
        best = min(routes, key=lambda route: route.rank)
        services = text(((service, service),))
        verdict = all(end.allowed for end in best.ends)
        return Trace(one.name, other.name, services, verdict, best.partly, best.ends, intents)

    def _asked(self, word: str, tried: str) -> _Asked:
        where = self._network.where
        if word in where.spans:
            attached = self._network.parties.attachments.get(word, ())
            spans = where.spans[word] or tuple(span for one in attached for span in one.spans)
            return _Asked(word, spans, literal=False)
        try:
            number = int(ipaddress.IPv4Address(word))
        except ValueError:
            known = sorted(where.spans)
            raise TraceError(
                tried,
                got=f"there is no '{word}'{nearest(word, known)}",
                todo=f"name an IPv4 address or one of {', '.join(known)}",
            ) from None
        return _Asked(next(name for _, _, name in where.split(number, number)), ((number, number),), literal=True)

    def _intents(self, one: _Asked, other: _Asked, service: int) -> Iterator[Intent]:
        for intent in self._compiled.intents:
            if (
                meets(port_services(intent.protocol, intent.ports), ((service, service),))
                and self._is(intent, "in", one)
                and self._is(intent, "out", other)
            ):
                yield intent

    def _is(self, intent: Intent, seen: Direction, asked: _Asked) -> bool:
        """Whether an intent's end, the one that a rule in this direction names, is what is asked for, all of it."""
        name = intent.far(seen)
        if name == OUTSIDE:
            return asked.name in (INTERNET, PRIVATE)
        if name in self._network.where.spans:
            return name == asked.name
        return contains(self._network.objects.match(name).upper, asked.spans)

    def _routes(self, one: _Asked, other: _Asked, service: int, intents: tuple[Intent, ...]) -> Iterator[_Route]:
        """Every pair of NICs where the two can meet; where they cannot, the first ones, as if it were routed."""
        nics = {(intent.source_nic, intent.destination_nic) for intent in intents}
        pairs = [(sender, receiver) for sender in self._ends(one, other) for receiver in self._ends(other, one)]
        for sender, receiver in [pair for pair in pairs if _can_meet(*pair)] or pairs[:1]:
            ends: list[TraceEnd] = []
            partly = False
            for direction in DIRECTIONS:
                asked, far = (one, other) if direction == "out" else (other, one)
                end, peer = (sender, receiver) if direction == "out" else (receiver, sender)
                if asked.name in self._network.parties.vmids:
                    spans = peer.own if peer is not None and peer.own else far.spans
                    found, some = self._end(end, asked.name, direction, spans, service, intents)
                    ends.append(found)
                    partly = partly or some
            keys = tuple(end.nic.key if end is not None else "" for end in (sender, receiver))
            yield _Route(tuple(ends), partly, keys in nics)

    def _ends(self, asked: _Asked, other: _Asked) -> list[End | None]:
        """NICs to look at: where an address is asked for, the one that has it. None: no NIC of ours, or none at all."""
        own = [end for (name, _), end in self._network.ends.items() if name == asked.name]
        if other.name in (INTERNET, PRIVATE):
            own.sort(key=lambda end: end.nic.bridge in self._network.ours)
        met = [end for end in own if asked.literal and meets(end.own, asked.spans)]
        return [*(met or own)] or [None]

    def _end(
        self,
        end: End | None,
        name: str,
        direction: Direction,
        far: Spans,
        service: int,
        intents: tuple[Intent, ...],
    ) -> tuple[TraceEnd, bool]:
        vmid = self._network.parties.vmids[name]
        one = ((service, service),)
        if end is None:
            gone = f"there is no container {vmid} ({name})"
            position = self._positions.of_guest(vmid)
            return TraceEnd(name, vmid, "", direction, False, gone, position=position), False
        side = end.filter.side(direction)
        verdicts = [(first, meets(cell.services, one)) for first, _, cell in side.must.within(far)]
        allowed = bool(verdicts) and all(passes for _, passes in verdicts)
        partly = not allowed and any(passes for _, passes in verdicts)
        sample = next((first for first, passes in verdicts if passes == allowed), 0)
        _, blame = side.decides(sample, service)
        if direction == "out" and not contains(end.filter.sources, end.own):
            allowed, partly = False, False
            blame = Blame(option=f"ipfilter-{end.nic.key}")
        reason = ""
        intent = next((each for each in intents if self._nic(each, direction) == end.nic.key), None)
        if not allowed and intent is not None:
            missing = self._explainer.missing(intent, name, end.nic.key, direction, sample, one)
            reason = missing.explanation
        return self._said(end, direction, allowed, blame, reason), partly

    def _nic(self, intent: Intent, direction: Direction) -> str:
        return intent.source_nic if direction == "out" else intent.destination_nic

    def _said(self, end: End, direction: Direction, allowed: bool, blame: Blame | None, reason: str) -> TraceEnd:
        head = (end.name, end.vmid, end.nic.key, direction, allowed)
        if blame is None:
            return TraceEnd(*head, "nothing that is known", reason=reason)
        if blame.option.startswith("ipfilter-"):
            decides = f"IP set {blame.option} of {end.vmid}, which does not hold its own address"
            return TraceEnd(*head, decides, position=self._positions.of_guest(end.vmid), reason=reason)
        word = identity(blame.rule.comment) if blame.rule is not None else ""
        position = self._positions.of(blame, end.vmid) if word or blame.rule is None else None
        return TraceEnd(*head, name_of(blame, end.guest), blame.rule, blame.position, word, position, reason)

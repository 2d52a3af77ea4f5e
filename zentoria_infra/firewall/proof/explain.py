"""Why something is allowed or not, in words: the rule to blame, and what is the matter with it."""

from __future__ import annotations

from collections.abc import Iterator

from zentoria_infra.firewall.compiled.intent import Intent
from zentoria_infra.firewall.config import Guest, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.firewall.proof.differences import Difference, Kind, Positions, name_of
from zentoria_infra.firewall.proof.network import End, Network
from zentoria_infra.firewall.proof.semantics import Blame, Direction, option
from zentoria_infra.firewall.sets import services as words
from zentoria_infra.inventory.spans import Spans, contains, intersection


class Explainer:
    """Finds the words for the differences of one configuration."""

    def __init__(self, network: Network, positions: Positions) -> None:
        self._network = network
        self._positions = positions
        self._groups = {group.name: group for group in network.configuration.datacenter.groups}

    def lets_through(self, end: End, blame: Blame) -> str:
        """What lets something through."""
        name = name_of(blame, end.guest)
        if blame.option.startswith("policy_") and option(end.guest, blame.option) != "ACCEPT":
            return f"{name} lets some ICMP through where no rule denies it"
        return f"{name} lets it through"

    def unintended(self, end: End, blame: Blame, party: str) -> str:
        """Why something passes that nobody intends."""
        why = f"{self.lets_through(end, blame)}, and nothing intends it"
        if end.stray:
            return f"{why} ({end.stray})"
        if party in self._network.parties.vmids and not self._network.meets(end, party):
            return f"{why} at {end.nic.key}: on the bridge {end.nic.bridge} anybody may have the address of {party}"
        return why

    def missing_source(self, intent: Intent, end: End, services: str) -> Difference:
        """A container whose own address does not pass its IP filter."""
        why = f"the IP filter of {end.nic.key} of {end.vmid} does not let its own address out: ipfilter-{end.nic.key}"
        return _missing(intent, services, end.vmid, None, None, f"{why} does not hold it")

    def missing(self, intent: Intent, name: str, nic: str, direction: Direction, far: int, lacks: Spans) -> Difference:
        """Something intended that one end does not let through."""
        services = words.text(lacks)
        vmid = self._network.parties.vmids.get(name, 0)
        guest = self._network.guests.get(name)
        where = f"{'out of' if direction == 'out' else 'into'} {name}"
        if guest is None:
            return _missing(intent, services, vmid, None, None, f"there is no container {vmid} ({name})")
        end = self._network.ends.get((name, nic))
        if end is None or end.stray:
            why = end.stray if end is not None else f"{vmid} ({name}) has no {nic}"
            return _missing(intent, services, vmid, None, None, why)
        found = list(self._rules_for(guest, intent, direction))
        matters = [
            (gone, number, why)
            for number, (blame, taker) in enumerate(found)
            for gone, why in self._matter(end, blame, taker, direction, far, lacks)
        ]
        if matters:
            # A rule that is as good as not there explains more than one that lets other things through.
            _, number, why = min(matters, key=lambda one: (not one[0], one[1]))
            blame = found[number][0]
            return _missing(intent, services, vmid, blame.rule, blame.position, f"{why} ({where})")
        _, denier = end.filter.side(direction).decides(far, lacks[0][0])
        decides = f"; {name_of(denier, guest)} denies it" if denier is not None else ""
        rule, position = (denier.rule, denier.position) if denier is not None else (None, None)
        if not found:
            for one in end.filter.vanished:
                if one.blame.rule is not None and one.blame.rule.type == "group":
                    why = f"{name_of(one.blame, guest)} {one.reason}: Proxmox leaves it out without an error"
                    return _missing(intent, services, vmid, one.blame.rule, one.blame.position, f"{why} ({where})")
            why = f"no rule lets it {where}: {intent.key} is not there{decides}"
            return _missing(intent, services, vmid, rule, position, why)
        why = f"before {name_of(found[0][0], guest)} is reached{decides}"
        return _missing(intent, services, vmid, rule, position, f"{why} ({where})")

    def _rules_for(self, guest: Guest, intent: Intent, direction: Direction) -> Iterator[tuple[Blame, Rule | None]]:
        """Rules made for an intent, whatever state they are in, with the rule that takes their group in."""
        for position, rule in enumerate(guest.rules):
            if rule.type == direction and self._positions.is_of(identity(rule.comment), intent):
                yield Blame(rule, position), None
            group = self._groups.get(rule.action) if rule.type == "group" else None
            for inner, part in enumerate(group.rules if group else ()):
                if part.type == direction and self._positions.is_of(identity(part.comment), intent):
                    yield Blame(part, inner, rule.action, position), rule

    def _matter(
        self, end: End, blame: Blame, taker: Rule | None, direction: Direction, far: int, lacks: Spans
    ) -> Iterator[tuple[bool, str]]:
        """What is the matter with a rule, and whether it has no effect at all; nothing when it is as it should be."""
        rule, name = blame.rule, name_of(blame, end.guest)
        if rule is None:
            return
        for one in (taker, rule):
            if one is not None and not one.enable:
                yield True, f"{name} is disabled" if one is rule else f"the rule that takes in {name} is disabled"
            if one is not None and one.iface not in ("", end.nic.key):
                yield True, f"{name} is for {one.iface}, not for {end.nic.key}"
        for lost in end.filter.vanished:
            if lost.blame == blame or (taker is not None and lost.blame == Blame(taker, blame.taken)):
                yield True, f"{name_of(lost.blame, end.guest)} {lost.reason}: Proxmox leaves it out without an error"
        if rule.action != "ACCEPT":
            yield True, f"{name} says {rule.action}, not ACCEPT"
        clause = next((one for one in end.filter.side(direction).clauses if one.blame == blame), None)
        if clause is None:
            return
        if not contains(clause.far_sure, ((far, far),)):
            whom, text = ("to", rule.dest) if direction == "out" else ("from", rule.source)
            yield False, f"{name} lets nothing {whom} {_address(far)} through: it says {text}"
        elif not intersection(clause.services.lower, lacks):
            yield False, f"{name} lets only {words.text(clause.services.lower)} through"


def _missing(
    intent: Intent, services: str, vmid: int, rule: Rule | None, position: int | None, explanation: str
) -> Difference:
    return Difference(
        Kind.MISSING, intent.source, intent.destination, services, vmid, rule, position, intent.position, explanation
    )


def _address(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))

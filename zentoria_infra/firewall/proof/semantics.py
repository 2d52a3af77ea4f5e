"""What Proxmox's firewall makes of a configuration, NIC by NIC: exact sets, by the documented order of decisions.

For a new connection at a guest's NIC: DHCP that is built in, MAC and IP filter (leaving), neighbour discovery, the
rules in order, the policy. Established traffic is accepted before all that, so only new connections are judged. Each
direction has two tables over the addresses of the far end: ``may`` holds what some packet gets through, ``must`` what
every packet gets through. They are one and the same unless a rule asks for more than this model has (source ports,
addresses of the near end, names that only the node knows); then a leak is looked for in ``may``, a gap in ``must``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from zentoria_infra.firewall.config import Guest, Nic, Rule
from zentoria_infra.firewall.sets.addresses import EVERYWHERE, Objects, network
from zentoria_infra.firewall.sets.protocols import ICMP, ICMPV6, UDP
from zentoria_infra.firewall.sets.services import ANY, EVERY, InvalidRuleError, Services, icmp_span, rule_services, span
from zentoria_infra.firewall.sets.table import Line, Table, constant, sweep
from zentoria_infra.inventory.spans import NOTHING, Spans, contains, difference, intersection, meets, normal

Direction = Literal["in", "out"]
DIRECTIONS: tuple[Direction, Direction] = ("out", "in")
DENY = ("DROP", "REJECT")
POLICIES = ("ACCEPT", *DENY)

Switch = Literal["", "datacenter", "guest", "nic"]
"""Which of the three switches is off; empty when all are on."""

DEFAULTS = {
    "enable": "0",
    "policy_in": "DROP",
    "policy_out": "ACCEPT",
    "dhcp": "1",
    "ipfilter": "0",
    "macfilter": "1",
    "ndp": "1",
    "radv": "0",
}
"""What Proxmox takes where a guest's options say nothing."""

_POLICY_LEAK = Services(
    *[normal((icmp_span(ICMP, (3, 4)), icmp_span(ICMP, (11, None))))] * 2,
    *[normal(icmp_span(ICMPV6, (kind, None)) for kind in (1, 2, 3))] * 2,
)
"""Fragmentation needed and time exceeded (IPv6: unreachable too): a policy that denies lets them through anyway."""


@dataclasses.dataclass(frozen=True, slots=True)
class Blame:
    """What decides: a rule of the guest or of a group, or an option or policy.

    Args:
        rule: the rule; None when it is an option.
        position: of the rule in its list, from 0.
        group: whose list it is in, when it is in a group's.
        taken: position of the guest's rule that takes the group in.
        option: name of the option; for an unfiltered NIC the switch that is off.
    """

    rule: Rule | None = None
    position: int | None = None
    group: str = ""
    taken: int | None = None
    option: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Clause:
    """A rule, or what is built in, with its names resolved: the first clause that matches decides.

    Args:
        far: addresses of the other end that may match.
        far_sure: those that surely match.
        near: addresses of this end, likewise.
        near_sure: likewise.
        services: what it matches.
        six: whether its addresses leave anything of IPv6.
        six_sure: whether they leave all of it.
    """

    accept: bool
    far: Spans
    far_sure: Spans
    near: Spans
    near_sure: Spans
    services: Services
    six: bool
    six_sure: bool
    blame: Blame


@dataclasses.dataclass(frozen=True, slots=True)
class Vanished:
    """A rule that Proxmox leaves out without a word.

    Args:
        blame: the rule and where it is.
        reason: goes after "the rule".
    """

    blame: Blame
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One direction of a NIC.

    Args:
        may: what some packet gets through, by address of the far end.
        must: what every packet gets through.
        six: services that get through over IPv6, whoever the far end is, and why.
        clauses: in order; the last one is the policy. Empty for a NIC without filter.
    """

    may: Table[Blame]
    must: Table[Blame]
    six: tuple[tuple[Spans, Blame], ...]
    clauses: tuple[Clause, ...]

    def decides(self, far: int, service: int) -> tuple[bool, Blame | None]:
        """Whether a packet of IPv4 surely gets through, and what decides that."""
        for services, blame in self.must.at(far).parts:
            if meets(services, ((service, service),)):
                return True, blame
        for clause in self.clauses:
            one, address = ((service, service),), ((far, far),)
            if not clause.accept and meets(clause.services.upper, one) and meets(clause.far, address):
                return False, clause.blame
        return False, None


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """One NIC.

    Args:
        off: the switch that is off; then everything passes.
        sources: what it may use as source addresses.
        source_blame: the option that lets it use more than its own; None when the IP filter is at work.
        any_mac: whether it may use other hardware addresses than its own.
        side: by direction.
        vanished: rules that are left out.
    """

    off: Switch
    sources: Spans
    source_blame: Blame | None
    any_mac: bool
    out: Side
    in_: Side
    vanished: tuple[Vanished, ...] = ()

    def side(self, direction: Direction) -> Side:
        """One direction."""
        return self.out if direction == "out" else self.in_


def nic_filter(objects: Objects, guest: Guest, nic: Nic) -> Filter:
    """What passes at a NIC, with the datacenter's objects; pure."""
    if off := switch_off(objects, guest, nic):
        blame = Blame(option=off)
        table = constant(ANY, blame)
        side = Side(table, table, ((ANY, blame),), ())
        return Filter(off, EVERYWHERE, blame, True, side, side)
    sources, source_blame = _sources(objects, guest, nic)
    own = own_addresses(nic) or sources
    vanished: list[Vanished] = []
    sides = [_side(objects, guest, nic, direction, sources, own, vanished) for direction in DIRECTIONS]
    any_mac = not option_on(guest, "macfilter")
    return Filter("", sources, source_blame, any_mac, sides[0], sides[1], tuple(vanished))


def switch_off(objects: Objects, guest: Guest, nic: Nic) -> Switch:
    """The first of the three switches that is off."""
    enable = objects.datacenter.options.get("enable", "").strip()
    if not (enable.isdecimal() and int(enable)):
        return "datacenter"
    if not option_on(guest, "enable"):
        return "guest"
    return "" if nic.firewall else "nic"


def option(guest: Guest, name: str) -> str:
    """A guest's option as it takes effect: Proxmox passes over a value that it does not know."""
    value = guest.options.get(name, "").strip()
    known = POLICIES if name.startswith("policy_") else ("0", "1")
    return value if value in known else DEFAULTS[name]


def option_on(guest: Guest, name: str) -> bool:
    """Whether a guest's option is on."""
    return option(guest, name) == "1"


def own_addresses(nic: Nic) -> Spans:
    """The address that a NIC has by its configuration; nothing when DHCP gives it."""
    try:
        found = network(nic.ip.split("/")[0]) if nic.ip else None
    except ValueError:
        return NOTHING
    return NOTHING if found is None else ((found[0], found[1]),)


def _sources(objects: Objects, guest: Guest, nic: Nic) -> tuple[Spans, Blame | None]:
    """Source addresses that pass the IP filter, and the option that leaves them open."""
    ipset = next((one for one in guest.ipsets if one.name == f"ipfilter-{nic.key}"), None)
    if ipset is None:
        if not option_on(guest, "ipfilter"):
            return EVERYWHERE, Blame(option="ipfilter")
        return own_addresses(nic), None
    # Proxmox puts a container's own address into the set by itself, so that its "nomatch" of just that has no say.
    return normal((*objects.members(ipset, guest).upper, *own_addresses(nic))), None


def _side(
    objects: Objects,
    guest: Guest,
    nic: Nic,
    direction: Direction,
    sources: Spans,
    own: Spans,
    vanished: list[Vanished],
) -> Side:
    before, after = _built_in(guest, direction)
    if direction == "out" and not sources:
        # Of IPv4 nothing passes the IP filter; IPv6 has its link-local address all the same.
        after.insert(0, _everywhere(False, Services(ANY, ANY, NOTHING, NOTHING), "ipfilter"))
    clauses = [*before, *after, *_rules(objects, guest, nic, direction, vanished), _policy(guest, direction)]
    clauses = [part for clause in clauses for part in _with_policy_leak(clause)]
    may = sweep([_may(clause, sources if direction == "out" else EVERYWHERE) for clause in clauses])
    exact = all(_is_exact(clause) for clause in clauses)
    must = may if exact else sweep([_must(clause, own) for clause in clauses])
    return Side(may, must, _six(clauses), tuple(clauses))


def _is_exact(clause: Clause) -> bool:
    return (
        clause.services.upper == clause.services.lower
        and clause.far == clause.far_sure
        and clause.near == clause.near_sure == EVERYWHERE
    )


def _may(clause: Clause, near: Spans) -> Line[Blame]:
    """For what may get through: accepting rules match all they can, denying ones only what they surely match."""
    if clause.accept:
        far = clause.far if clause.near == EVERYWHERE or meets(clause.near, near) else NOTHING
        return Line(True, far, clause.services.upper, clause.blame)
    far = clause.far_sure if contains(clause.near_sure, near) else NOTHING
    return Line(False, far, clause.services.lower, clause.blame)


def _must(clause: Clause, near: Spans) -> Line[Blame]:
    """For what surely gets through: the other way round."""
    if clause.accept:
        far = clause.far_sure if contains(clause.near_sure, near) else NOTHING
        return Line(True, far, clause.services.lower, clause.blame)
    far = clause.far if meets(clause.near, near) else NOTHING
    return Line(False, far, clause.services.upper, clause.blame)


def _six(clauses: list[Clause]) -> tuple[tuple[Spans, Blame], ...]:
    """What may get through over IPv6."""
    left = ANY
    found: list[tuple[Spans, Blame]] = []
    for clause in clauses:
        if clause.accept:
            hit = intersection(left, clause.services.upper6) if clause.six else NOTHING
            if hit:
                found.append((hit, clause.blame))
        else:
            hit = clause.services.lower6 if clause.six_sure else NOTHING
        left = difference(left, hit)
    return tuple(found)


def _everywhere(accept: bool, services: Services, option_name: str, *, six: bool = True) -> Clause:
    return Clause(accept, EVERYWHERE, EVERYWHERE, EVERYWHERE, EVERYWHERE, services, six, six, Blame(option=option_name))


def _built_in(guest: Guest, direction: Direction) -> tuple[list[Clause], list[Clause]]:
    """What stands before the rules: before the filter of sources, and after it."""
    out = direction == "out"
    before: list[Clause] = []
    if option_on(guest, "dhcp"):
        four = (span(UDP, 67, 67),) if out else (span(UDP, 68, 68),)
        six = (span(UDP, 547, 547),) if out else (span(UDP, 546, 546),)
        before.append(_everywhere(True, Services(four, four, six, six), "dhcp"))
    after: list[Clause] = []
    advertisement = (icmp_span(ICMPV6, (134, None)),)
    if out and not option_on(guest, "radv"):
        after.append(_everywhere(False, Services(NOTHING, NOTHING, advertisement, advertisement), "radv"))
    if option_on(guest, "ndp"):
        discovery = normal(icmp_span(ICMPV6, (kind, None)) for kind in (133, 134, 135, 136))
        if out and not option_on(guest, "radv"):
            discovery = difference(discovery, advertisement)
        after.append(_everywhere(True, Services(NOTHING, NOTHING, discovery, discovery), "ndp"))
    return before, after


def _policy(guest: Guest, direction: Direction) -> Clause:
    name = f"policy_{direction}"
    return _everywhere(option(guest, name) not in DENY, EVERY, name)


def _with_policy_leak(clause: Clause) -> Iterator[Clause]:
    if not clause.accept and clause.blame.option.startswith("policy_"):
        yield dataclasses.replace(clause, accept=True, services=_POLICY_LEAK)
    yield clause


def _rules(
    objects: Objects, guest: Guest, nic: Nic, direction: Direction, vanished: list[Vanished]
) -> Iterator[Clause]:
    for position, rule in enumerate(guest.rules):
        if not rule.enable or (rule.iface and rule.iface != nic.key):
            continue
        if rule.type == "group":
            group = objects.group(rule.action)
            if group is None:
                if direction == "out":
                    vanished.append(Vanished(Blame(rule, position), objects.group_mistake(rule.action)))
                continue
            for inner, part in enumerate(group.rules):
                # What an interface means inside a group is not documented: an accepting rule is taken to hold on
                # every NIC, a denying one on that NIC alone.
                if not part.enable or (part.iface not in ("", nic.key) and part.action != "ACCEPT"):
                    continue
                if part.type == direction:
                    blame = Blame(part, inner, group.name, position)
                    yield from _rule(objects, None, part, direction, blame, vanished)
        elif rule.type == direction:
            yield from _rule(objects, guest, rule, direction, Blame(rule, position), vanished)


def clause_of(objects: Objects, rule: Rule) -> Clause:
    """A rule of a node or of the datacenter, which let in and are about no guest.

    Raises:
        InvalidRuleError: Proxmox leaves it out.
    """
    left_out: list[Vanished] = []
    for clause in _rule(objects, None, rule, "in", Blame(rule), left_out):
        return clause
    raise InvalidRuleError(left_out[0].reason)


def _rule(
    objects: Objects,
    guest: Guest | None,
    rule: Rule,
    direction: Direction,
    blame: Blame,
    vanished: list[Vanished],
) -> Iterator[Clause]:
    try:
        if rule.action not in ("ACCEPT", *DENY):
            raise InvalidRuleError(f"has the action '{rule.action}', which does not exist")
        source = objects.match(rule.source, guest)
        dest = objects.match(rule.dest, guest)
        services = rule_services(rule)
    except InvalidRuleError as error:
        vanished.append(Vanished(blame, str(error)))
        return
    far, near = (dest, source) if direction == "out" else (source, dest)
    yield Clause(
        rule.action == "ACCEPT",
        far.upper,
        far.lower,
        near.upper,
        near.lower,
        services,
        far.six != "none" and near.six != "none",
        far.six == near.six == "all",
        blame,
    )

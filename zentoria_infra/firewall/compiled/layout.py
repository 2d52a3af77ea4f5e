"""Where the objects live: in the datacenter, shared by all guests, or in each guest's own file."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from zentoria_infra.firewall import names
from zentoria_infra.firewall.compiled import objects
from zentoria_infra.firewall.compiled.intents import INTERNAL_NIC, Ports, Wanted
from zentoria_infra.firewall.compiled.node_rules import GUESTS, node_rules
from zentoria_infra.firewall.compiled.parties import INTERNET, OUTSIDE, subtract
from zentoria_infra.firewall.config import Datacenter, Group, IpSet, Rule
from zentoria_infra.firewall.identity import PREFIX, identity, site_identity
from zentoria_infra.firewall.sets.port_lists import port_lists, port_text
from zentoria_infra.inventory.spans import intersection

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory
    from zentoria_infra.inventory.problems import Position

DENY_IN = f"{PREFIX}deny/in"
DENY_OUT = f"{PREFIX}deny/out"
_COMMON = f"{PREFIX}group/common"
_DENY = f"{PREFIX}group/deny"


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """The objects of the datacenter, and those of each guest by the container's name.

    Args:
        datacenter: its options, aliases, IP sets and groups.
        ipsets: of a guest, besides those of its NICs.
        rules: of a guest, position 0 first.
        positions: file:line:column by identity, of what is no intent.
    """

    datacenter: Datacenter
    ipsets: dict[str, tuple[IpSet, ...]]
    rules: dict[str, tuple[Rule, ...]]
    positions: dict[str, Position]


class _Refer(Protocol):
    """Writes the name of a container, ``internet``, ``outside`` or an address as source or destination of a rule."""

    def __call__(self, name: str) -> str: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    """One rule of a pair, before it is written.

    Args:
        want: for which.
        owner: the container that has it.
        direction: as seen from the owner.
        nic: the owner's NIC.
        peer: the other end.
        shared: identity of the rule that all owners can share; empty when they cannot.
    """

    want: Wanted
    owner: str
    direction: Literal["in", "out"]
    nic: str
    peer: str
    shared: str


def datacenter_layout(inventory: Inventory, wants: Sequence[Wanted]) -> Layout:
    """Aliases, sets of addresses and two groups in the datacenter: least to write and to read.

    All of them carry the site's id, in their names and in their comments: other sites may be on the same cluster.
    """
    site = inventory.site.id
    known = {container.name for container in inventory.containers}

    def refer(name: str) -> str:
        if name in (INTERNET, OUTSIDE):
            return f"+dc/{names.set_name(site, name)}"
        return f"dc/{names.alias_name(site, name)}" if name in known else name

    ends = [*_ends(wants)]
    common = _common(ends, len(known))
    positions = _positions(inventory, common)
    common_group, deny_group = (names.group_name(site, what) for what in ("common", "deny"))
    groups = [Group(deny_group, _deny(inventory), f"{site_identity(site, 'group', 'deny')} What no rule allows")]
    if common:
        rules = tuple(
            rule for end, ports in common.values() for rule in _rules(end, end.shared, ports, "", refer, positions)
        )
        word = site_identity(site, "group", "common")
        groups.insert(0, Group(common_group, rules, f"{word} Flows that all guests share"))
    head = Rule("group", common_group, iface=INTERNAL_NIC, comment=f"{_COMMON} Flows that all guests share")
    tail = Rule("group", deny_group, comment=f"{_DENY} What no rule allows")
    by_guest: dict[str, list[Rule]] = {name: [head] if common else [] for name in known}
    for end in ends:
        shared = common.get((end.direction, end.shared))
        ports = subtract(end.want.intent.ports, shared[1]) if shared else end.want.intent.ports
        by_guest[end.owner].extend(_rules(end, end.want.intent.key, ports, end.nic, refer, positions))
    own = node_rules(inventory)
    positions.update((identity(rule.comment), position) for rule, position in own)
    return Layout(
        Datacenter(
            options=MappingProxyType({"enable": "1"}),
            aliases=objects.aliases(inventory),
            ipsets=tuple(_shared_sets(inventory, ends, [rule for rule, _ in own])),
            groups=tuple(groups),
            rules=tuple(rule for rule, _ in own),
            site=site,
        ),
        dict.fromkeys(known, ()),
        {name: (*rules, tail) for name, rules in by_guest.items()},
        positions,
    )


def guest_layout(inventory: Inventory, wants: Sequence[Wanted]) -> Layout:
    """Everything in the guests' own files, addresses in place of aliases: rights on the pool are enough."""
    addresses = {container.name: str(container.address) for container in inventory.containers}
    sets = {
        INTERNET: objects.internet_set(inventory, objects.INTERNET_SET, f"{PREFIX}{INTERNET}"),
        OUTSIDE: objects.outside_set(inventory, objects.OUTSIDE_SET, f"{PREFIX}{OUTSIDE}"),
    }

    def refer(name: str) -> str:
        return f"+guest/{sets[name].name}" if name in sets else addresses.get(name, name)

    positions = _positions(inventory, {})
    by_guest: dict[str, list[Rule]] = {name: [] for name in addresses}
    named: set[tuple[str, str]] = set()
    for end in _ends(wants):
        intent = end.want.intent
        by_guest[end.owner].extend(_rules(end, intent.key, intent.ports, end.nic, refer, positions))
        named.add((end.owner, end.peer))
    return Layout(
        Datacenter(site=inventory.site.id),
        {name: tuple(one for peer, one in sets.items() if (name, peer) in named) for name in addresses},
        {name: (*rules, *_deny(inventory)) for name, rules in by_guest.items()},
        positions,
    )


def _shared_sets(inventory: Inventory, ends: Iterable[_End], own: Iterable[Rule]) -> Iterator[IpSet]:
    """The internet's always: package sources are opened by it."""
    site = inventory.site.id

    def of(what: str) -> tuple[str, str]:
        return names.set_name(site, what), site_identity(site, what)

    yield objects.internet_set(inventory, *of(INTERNET))
    if any(end.peer == OUTSIDE for end in ends):
        yield objects.outside_set(inventory, *of(OUTSIDE))
    if any(rule.source == f"+dc/{names.set_name(site, GUESTS)}" for rule in own):
        yield objects.guests_set(inventory, *of(GUESTS))


def _ends(wants: Iterable[Wanted]) -> Iterator[_End]:
    """The pair of rules of each intent, or the one where the other end is no container."""
    for want in wants:
        one = want.intent
        if one.source_nic:
            yield _End(want, one.source, "out", one.source_nic, one.far("out"), want.shared_out)
        if one.destination_nic:
            yield _End(want, one.destination, "in", one.destination_nic, one.far("in"), want.shared_in)


_Common = dict[tuple[str, str], tuple[_End, Ports]]
"""By direction and identity: the rule of any one guest, and the ports that all have."""


def _common(ends: Iterable[_End], guests: int) -> _Common:
    """Rules that every guest has, but for the one at the other end: to that one they are as good as nothing.

    None when there is only one: it is not worth a group.
    """
    sharing: dict[tuple[str, str], list[_End]] = collections.defaultdict(list)
    for end in ends:
        if end.shared and end.nic == INTERNAL_NIC:
            sharing[end.direction, end.shared].append(end)
    found: _Common = {}
    for key, owners in sharing.items():
        every = guests - (owners[0].peer not in (INTERNET, OUTSIDE))
        if len(owners) < max(2, every):
            continue
        ports = owners[0].want.intent.ports
        for end in owners[1:]:
            ports = intersection(ports, end.want.intent.ports)
        if ports:
            found[key] = (owners[0], ports)
    return found if len(found) > 1 else {}


def _rules(
    end: _End, word: str, ports: Ports, nic: str, refer: _Refer, positions: dict[str, Position]
) -> Iterator[Rule]:
    """The rule of one end; several when its ports are more than a list takes. Notes identities of its own."""
    intent = end.want.intent
    for number, part in enumerate(port_lists(ports)):
        own = word if not number else f"{word}/{number + 1}"
        if own != intent.key:
            positions[own] = intent.position
        yield Rule(
            type=end.direction,
            action="ACCEPT",
            iface=nic,
            source="" if end.direction == "out" else refer(end.peer),
            dest=refer(end.peer) if end.direction == "out" else "",
            proto=intent.protocol,
            dport=port_text(part),
            sport=end.want.source_port,
            comment=f"{own} {intent.purpose}",
        )


def _deny(inventory: Inventory) -> tuple[Rule, Rule]:
    """Explicit, although the policy is DROP: the policy's chain lets some unsolicited ICMP through."""
    level = inventory.site.firewall.log
    log = "" if level == "nolog" else level
    return (
        Rule("in", "DROP", log=log, comment=f"{DENY_IN} What no rule allows"),
        Rule("out", "DROP", log=log, comment=f"{DENY_OUT} What no rule allows"),
    )


def _positions(inventory: Inventory, common: _Common) -> dict[str, Position]:
    flows = inventory.position("zones", "flows")
    site = inventory.site.id
    words = [DENY_IN, DENY_OUT, _DENY, site_identity(site, "group", "deny")]
    if common:
        words += [_COMMON, site_identity(site, "group", "common")]
    found = objects.object_positions(inventory) | dict.fromkeys(words, flows)
    return found

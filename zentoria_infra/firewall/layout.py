"""Where the objects live: in the datacenter, shared by all guests, or in each guest's own file."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from zentoria_infra.firewall import objects
from zentoria_infra.firewall.config import Datacenter, Group, IpSet, Rule
from zentoria_infra.firewall.identity import PREFIX
from zentoria_infra.firewall.intents import INTERNAL_NIC, Ports, Wanted
from zentoria_infra.firewall.parties import subtract
from zentoria_infra.firewall.spans import intersection
from zentoria_infra.inventory.model import INTERNET

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory
    from zentoria_infra.inventory.problems import Position

COMMON_GROUP = "zt-common"
DENY_GROUP = "zt-deny"
DENY_IN = f"{PREFIX}deny/in"
DENY_OUT = f"{PREFIX}deny/out"
_COMMON = f"{PREFIX}group/common"
_DENY = f"{PREFIX}group/deny"

PORTS_MOST = 15
"""Entries of a port list in Proxmox, as in iptables' multiport: a range counts as two."""


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
    """Writes the name of a container, ``internet`` or an address as source or destination of a rule."""

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
    """Aliases, the internet's set and two groups in the datacenter: least to write and to read."""
    known = {container.name for container in inventory.containers}

    def refer(name: str) -> str:
        if name == INTERNET:
            return f"+dc/{objects.INTERNET_SET}"
        return f"dc/{objects.alias_name(name)}" if name in known else name

    ends = [*_ends(wants)]
    common = _common(ends, len(known))
    positions = _positions(inventory, common)
    groups = [Group(DENY_GROUP, _deny(inventory), f"{_DENY} What no rule allows")]
    if common:
        rules = tuple(
            rule for end, ports in common.values() for rule in _rules(end, end.shared, ports, "", refer, positions)
        )
        groups.insert(0, Group(COMMON_GROUP, rules, f"{_COMMON} Flows that all guests share"))
    head = Rule("group", COMMON_GROUP, iface=INTERNAL_NIC, comment=f"{_COMMON} Flows that all guests share")
    tail = Rule("group", DENY_GROUP, comment=f"{_DENY} What no rule allows")
    by_guest: dict[str, list[Rule]] = {name: [head] if common else [] for name in known}
    for end in ends:
        shared = common.get((end.direction, end.shared))
        ports = subtract(end.want.intent.ports, shared[1]) if shared else end.want.intent.ports
        by_guest[end.owner].extend(_rules(end, end.want.intent.key, ports, end.nic, refer, positions))
    return Layout(
        Datacenter(
            options=MappingProxyType({"enable": "1"}),
            aliases=objects.aliases(inventory),
            ipsets=(objects.internet_set(inventory),),
            groups=tuple(groups),
        ),
        dict.fromkeys(known, ()),
        {name: (*rules, tail) for name, rules in by_guest.items()},
        positions,
    )


def guest_layout(inventory: Inventory, wants: Sequence[Wanted]) -> Layout:
    """Everything in the guests' own files, addresses in place of aliases: rights on the pool are enough."""
    addresses = {container.name: str(container.address) for container in inventory.containers}
    internet = objects.internet_set(inventory)

    def refer(name: str) -> str:
        return f"+guest/{objects.INTERNET_SET}" if name == INTERNET else addresses.get(name, name)

    positions = _positions(inventory, {})
    by_guest: dict[str, list[Rule]] = {name: [] for name in addresses}
    outside: set[str] = set()
    for end in _ends(wants):
        intent = end.want.intent
        by_guest[end.owner].extend(_rules(end, intent.key, intent.ports, end.nic, refer, positions))
        if end.peer == INTERNET:
            outside.add(end.owner)
    return Layout(
        Datacenter(),
        {name: (internet,) if name in outside else () for name in addresses},
        {name: (*rules, *_deny(inventory)) for name, rules in by_guest.items()},
        positions,
    )


def _ends(wants: Iterable[Wanted]) -> Iterator[_End]:
    """The pair of rules of each intent, or the one where the other end is no container."""
    for want in wants:
        one = want.intent
        if one.source_nic:
            yield _End(want, one.source, "out", one.source_nic, one.destination, want.shared_out)
        if one.destination_nic:
            yield _End(want, one.destination, "in", one.destination_nic, one.source, want.shared_in)


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
        every = guests - (owners[0].peer != INTERNET)
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
            dport=",".join(str(first) if first == last else f"{first}:{last}" for first, last in part),
            sport=end.want.source_port,
            comment=f"{own} {intent.purpose}",
        )


def port_lists(ports: Ports) -> Iterator[Ports]:
    """Intervals in lists as long as Proxmox takes them."""
    part: list[tuple[int, int]] = []
    weight = 0
    for first, last in ports:
        weighs = 1 if first == last else 2
        if weight + weighs > PORTS_MOST:
            yield tuple(part)
            part, weight = [], 0
        part.append((first, last))
        weight += weighs
    if part:
        yield tuple(part)


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
    found = objects.object_positions(inventory) | dict.fromkeys((DENY_IN, DENY_OUT, _DENY), flows)
    if common:
        found[_COMMON] = flows
    return found

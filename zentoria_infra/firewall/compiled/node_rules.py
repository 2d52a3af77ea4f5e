"""The rules of the nodes themselves: what guests need of the node that they run on.

With the datacenter's firewall on, a node takes nothing but its management (``PVEFW-HOST-IN``: the node's own rules, the
datacenter's, the IP set ``management``, the policy). A name server or a proxy on an address of the node, as that of the
internal bridge, is reached only by a rule there. It names the address, so that it says nothing to a node which does not
have that address: where the gateway is another machine, the rule is idle.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from zentoria_infra.firewall import names
from zentoria_infra.firewall.compiled.intents import DHCP, PUBLIC_NIC, Ports, Wanted, towards_the_node
from zentoria_infra.firewall.config import Rule
from zentoria_infra.firewall.identity import site_identity
from zentoria_infra.firewall.sets.port_lists import port_lists, port_text

if TYPE_CHECKING:
    from zentoria_infra.inventory.model import Inventory
    from zentoria_infra.inventory.problems import Position

GUESTS = "guests"
"""Name of the IP set of all containers, and the word for them in identities."""


def node_rules(inventory: Inventory) -> tuple[tuple[Rule, Position], ...]:
    """The rules, with the place of the inventory that asks for each; pure.

    One rule for all containers where all want the same, else one for each; sources are the datacenter's objects.
    Package sources count as open: they are opened at the guests, and a node's rule is no way in without theirs.
    """
    alike: dict[tuple[str, str, Ports], dict[str, Wanted]] = collections.defaultdict(dict)
    for want in towards_the_node(inventory):
        one = want.intent
        if (source := _source(inventory, want)) is not None:
            alike[one.destination, one.protocol, one.ports].setdefault(source, want)
    everybody = {names.alias_name(inventory.site.id, one.name) for one in inventory.containers}
    found: list[tuple[Rule, Position]] = []
    for (address, protocol, ports), sources in alike.items():
        want = next(iter(sources.values()))
        for source, word in _sources(inventory, [*sources], everybody):
            for part in map(port_text, port_lists(ports)):
                key = site_identity(inventory.site.id, "node", address, protocol, part.replace(":", "-"), word)
                rule = Rule(
                    "in",
                    "ACCEPT",
                    source=source,
                    dest=address,
                    proto=protocol,
                    dport=part,
                    comment=f"{key} {want.intent.purpose}",
                )
                found.append((rule, want.intent.position))
    return tuple(found)


def rules_by_hand(inventory: Inventory) -> tuple[tuple[Rule, Position], ...]:
    """The same rules for a site that may not write them: addresses in place of objects, a list of them in one rule.

    Somebody else makes them, as one rule or several; they carry no identity of ours.
    """
    alike: dict[tuple[str, str, Ports], dict[str, Wanted]] = collections.defaultdict(dict)
    for want in towards_the_node(inventory):
        one = want.intent
        if (source := _address(inventory, want)) is not None:
            alike[one.destination, one.protocol, one.ports].setdefault(source, want)
    return tuple(
        (Rule("in", "ACCEPT", source=",".join(sources), dest=address, proto=protocol, dport=part), want.intent.position)
        for (address, protocol, ports), sources in alike.items()
        for want in [next(iter(sources.values()))]
        for part in map(port_text, port_lists(ports))
    )


def _address(inventory: Inventory, want: Wanted) -> str | None:
    """The address that a container comes from, by the NIC that it uses. None: it is not known."""
    container = inventory.by_name(want.intent.source)
    if want.intent.source_nic != PUBLIC_NIC or container.public is None:
        return str(container.address)
    return None if container.public.address == DHCP else container.public.address.partition("/")[0]


def _source(inventory: Inventory, want: Wanted) -> str | None:
    """How a rule names the container, by the NIC that it uses. None: no rule can, its address is not known."""
    container = inventory.by_name(want.intent.source)
    if want.intent.source_nic != PUBLIC_NIC or container.public is None:
        return names.alias_name(inventory.site.id, container.name)
    return _address(inventory, want)


def _sources(inventory: Inventory, sources: Sequence[str], everybody: set[str]) -> Iterator[tuple[str, str]]:
    """Sources of rules, each with a word for its identity."""
    site = inventory.site.id
    if len(everybody) > 1 and everybody <= set(sources):
        yield f"+dc/{names.set_name(site, GUESTS)}", GUESTS
        sources = [one for one in sources if one not in everybody]
    for source in sources:
        yield (f"dc/{source}", source.rpartition("_")[2]) if source in everybody else (source, source)

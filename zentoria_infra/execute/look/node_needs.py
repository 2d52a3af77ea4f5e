"""What guests need of their node and its own firewall does not let in, where its rules are somebody else's to make."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from zentoria_infra.execute.look.firewall_observe import whole_datacenter
from zentoria_infra.firewall.change.steps import rule_text
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.config import Configuration
from zentoria_infra.firewall.proof.host import unmet
from zentoria_infra.proxmox.firewall.read import FirewallObserver


def unmet_needs(observer: FirewallObserver, compiled: Compiled) -> tuple[str, ...]:
    """What stands in the way, in words, each with the rule to make.

    Calls: none where nothing is needed, or the rules are ours to write. Else five for the datacenter, one an IP set and
    a group of it, and three a node.

    Raises:
        ZentoriaError: it cannot be read; a PermissionDeniedError names the right that is lacking.
    """
    if not compiled.by_hand:
        return ()
    names = [node.name for node in compiled.configuration.nodes]
    addresses = node_addresses(observer, names, compiled.node_addresses)
    needed = {rule.dest for rule, _ in compiled.by_hand}
    nodes = tuple(observer.node(name, rules=True).node for name in names if needed & set(addresses[name]))
    if not nodes:
        return ()
    there = Configuration(whole_datacenter(observer), nodes)
    return tuple(
        f"{place}: guests need {rule.proto}/{rule.dport} at {rule.dest}, and node {node} does not let it in ({why}). "
        f"With `firewall.objects: guest` its rules are yours to make: Datacenter > Firewall > Add, `{rule_text(rule)}`"
        for node, rule, place, why in unmet(compiled, there, addresses)
    )


def node_addresses(
    observer: FirewallObserver, names: Collection[str], known: Collection[str]
) -> Mapping[str, frozenset[str]]:
    """The addresses of nodes, of interfaces that we may see; of a single node also those that the inventory names."""
    said = frozenset(known) if len(names) == 1 else frozenset()
    return {name: observer.addresses(name) | said for name in names}

"""Lists of rules, and security groups, as chains."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from zentoria_infra.lab.api.firewall.conf import FirewallConf, Rule
from zentoria_infra.lab.firewall.addresses import Addresses, Sets, Vanishes
from zentoria_infra.lab.firewall.matching import matches
from zentoria_infra.lab.firewall.table import ACCEPT_MARKED, CLEAR_MARK, MARK, Table

Direction = Literal["IN", "OUT"]
GROUP_NAME = 18
"""Most characters of a group's name: a chain's has 28, as GROUP-...-OUT."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a list of rules goes.

    Args:
        title: of the file, for what is said about a rule.
        chain: that gets the lines.
        direction: whose rules are taken.
        accept: what accepting is there.
        accepted: what happens to a packet that a group has accepted.
        nic: the ``netN`` that the chain is of; empty where rules name the node's devices.
    """

    title: str
    chain: str
    direction: Direction
    accept: str
    accepted: str
    nic: str = ""


class Rules:
    """Writes rules into a table.

    Args:
        table: that gets the chains.
        sets: that get the IP sets.
        cluster: the datacenter's firewall.
        local_network: see :class:`Addresses`.
        skipped: gets a line for each rule that is passed over.
    """

    def __init__(
        self, table: Table, sets: Sets, cluster: FirewallConf, local_network: str, skipped: dict[str, None]
    ) -> None:
        self._table = table
        self._sets = sets
        self._cluster = cluster
        self._local_network = local_network
        self._skipped = skipped

    def addresses(self, local: FirewallConf | None = None, owner: str = "0") -> Addresses:
        """Names as they are known to a container with its own firewall, or to everybody."""
        return Addresses(self._sets, self._cluster, local, owner, self._local_network)

    def add(self, place: Place, rules: Sequence[Rule], addresses: Addresses) -> None:
        """Add the lines of all rules that hold in a place, in their order."""
        for number, rule in enumerate(rules):
            fields = rule.fields
            here = rule.type in ("group", place.direction.lower())
            if not rule.enable or not here or (place.nic and fields.get("iface", place.nic) != place.nic):
                continue
            try:
                device = _device(place, rule)
                if rule.type == "group":
                    chain = self._group(rule.action, place.direction)
                    self._table.add(place.chain, device, f"-j {chain}")
                    self._table.add(place.chain, f"-m mark --mark {MARK}", place.accepted)
                    continue
                verdict = {"ACCEPT": place.accept, "DROP": "-j DROP", "REJECT": "-g PVEFW-reject"}.get(rule.action)
                if verdict is None:
                    raise Vanishes(f"unknown action '{rule.action}'")
                for match in matches(rule, self._table.version, addresses):
                    self._table.add(place.chain, device, match, verdict)
            except Vanishes as why:
                self._skipped[f"{place.title}, rule {number}: {why}"] = None

    def _group(self, name: str, direction: Direction) -> str:
        """The chain of a security group; it is made when the first rule takes it in."""
        if name not in self._cluster.groups or len(name) > GROUP_NAME:
            raise Vanishes(f"no such security group '{name}'")
        chain = f"GROUP-{name}-{direction}"
        if not self._table.has(chain):
            self._table.chain(chain)
            self._table.add(chain, CLEAR_MARK)
            listed = [rule for rule in self._cluster.groups[name].rules if rule.type != "group"]
            place = Place(f"group {name}", chain, direction, ACCEPT_MARKED, "")
            self.add(place, listed, self.addresses())
        return chain


def _device(place: Place, rule: Rule) -> str:
    """The match for the node's device that a rule is bound to."""
    name = "" if place.nic else rule.fields.get("iface", "")
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", name):
        raise Vanishes(f"not a network device: '{name}'")
    return f"-{'i' if place.direction == 'IN' else 'o'} {name}" if name else ""

"""Addresses in rules: literals, aliases and IP sets, as exact sets of IPv4; of IPv6 only whether they may match."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from zentoria_infra.firewall.config import Alias, Datacenter, Entry, Group, Guest, IpSet
from zentoria_infra.firewall.sets.services import InvalidRuleError
from zentoria_infra.inventory.spans import NOTHING, Spans, normal

LAST = 2**32 - 1
EVERYWHERE: Spans = ((0, LAST),)

Version6 = Literal["none", "some", "all"]
"""How much of IPv6 is meant: judged no finer."""

_REFERENCE = re.compile(r"(\+?)(?:(dc|guest|sdn)/)?([A-Za-z][A-Za-z0-9\-_]+)")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9\-_]{1,63}")
"""What Proxmox takes as the name of an alias or an IP set."""
GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9\-_]{1,17}")
"""What Proxmox takes as the name of a security group."""
NAMES = "2 to 64 of A-Z, a-z, 0-9, '-' and '_', a letter first"
GROUP_NAMES = "2 to 18 of A-Z, a-z, 0-9, '-' and '_', a letter first"


@dataclasses.dataclass(frozen=True, slots=True)
class Addresses:
    """What a rule's source or destination matches.

    Args:
        upper: every address of IPv4 that may match.
        lower: those that surely match. Less than ``upper`` only for what the node alone knows.
        six: of IPv6.
    """

    upper: Spans
    lower: Spans
    six: Version6


ANYWHERE = Addresses(EVERYWHERE, EVERYWHERE, "all")
_UNCLEAR = Addresses(EVERYWHERE, NOTHING, "some")
_SIX = Addresses(NOTHING, NOTHING, "some")


@functools.lru_cache(maxsize=65536)
def network(cidr: str) -> tuple[int, int, int] | None:
    """First and last address and prefix of an IPv4 address or network; host bits count for nothing. None for IPv6.

    Raises:
        ValueError: it is neither.
    """
    if ":" in cidr:
        ipaddress.ip_interface(cidr)
        return None
    made = ipaddress.IPv4Interface(cidr).network
    return int(made.network_address), int(made.broadcast_address), made.prefixlen


def reference(text: str) -> str:
    """The alias (in lower case) or ``+set`` that a field names, wherever it is looked for; empty for literals."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        return ""
    return f"+{found[3]}" if found[1] else found[3].lower()


class Objects:
    """The datacenter's named objects. Those whose names Proxmox refuses are not there."""

    def __init__(self, datacenter: Datacenter) -> None:
        self.datacenter = datacenter
        self._aliases = _by_name(datacenter.aliases)
        self._ipsets = {one.name: one for one in datacenter.ipsets if NAME.fullmatch(one.name)}
        self._groups = {one.name: one for one in datacenter.groups if GROUP_NAME.fullmatch(one.name)}
        self._made: dict[str, Addresses] = {}

    def group(self, name: str) -> Group | None:
        """The security group of that name."""
        return self._groups.get(name)

    def group_mistake(self, name: str) -> str:
        """Why there is no security group of that name; the text goes after "the rule"."""
        if not any(one.name == name for one in self.datacenter.groups):
            return f"takes in the security group '{name}', which does not exist"
        return f"takes in the security group '{name}', whose name Proxmox refuses: {GROUP_NAMES}"

    def match(self, text: str, guest: Guest | None = None) -> Addresses:
        """What a rule's source or destination means.

        Args:
            text: the field.
            guest: whose rule it is; None for the rule of a group, which sees the datacenter's objects alone.

        Raises:
            InvalidRuleError: Proxmox leaves the rule out.
        """
        if not text:
            return ANYWHERE
        found = _REFERENCE.fullmatch(text)
        if found is None:
            return _literals(text)
        plus, scope, name = found.groups()
        if scope == "sdn":
            return _UNCLEAR
        own = guest is not None and scope != "dc"
        if guest is not None and own and (local := self._local(guest, plus, name)) is not None:
            return local
        if scope != "guest":
            key = plus + (name if plus else name.lower())
            if key not in self._made and (made := self._shared(plus, name)) is not None:
                self._made[key] = made
            if key in self._made:
                return self._made[key]
        if plus and name == "management" and scope != "guest":
            return _UNCLEAR  # Proxmox makes it of the node's own networks
        where = {"dc": " in the datacenter", "guest": " in the guest's own file"}.get(scope or "", "")
        raise InvalidRuleError(f"names {'IP set' if plus else 'alias'} '{name}', which does not exist{where}")

    def members(self, ipset: IpSet, guest: Guest | None = None) -> Addresses:
        """What is in an IP set: for each address the longest prefix decides."""
        own = _by_name(guest.aliases) if guest is not None else {}
        return _members(ipset.entries, (own, self._aliases))

    def _local(self, guest: Guest, plus: str, name: str) -> Addresses | None:
        if plus:
            ipset = next((one for one in guest.ipsets if one.name == name and NAME.fullmatch(name)), None)
            return None if ipset is None else self.members(ipset, guest)
        alias = _by_name(guest.aliases).get(name.lower()) if guest.aliases else None
        return None if alias is None else _literals(alias.cidr)

    def _shared(self, plus: str, name: str) -> Addresses | None:
        if plus:
            ipset = self._ipsets.get(name)
            return None if ipset is None else self.members(ipset)
        alias = self._aliases.get(name.lower())
        return None if alias is None else _literals(alias.cidr)


def _by_name(aliases: Iterable[Alias]) -> dict[str, Alias]:
    return {one.name.lower(): one for one in aliases if alias_mistake(one) is None}


def alias_mistake(alias: Alias) -> str | None:
    """Why Proxmox does not take an alias; None when it does. The text goes after "the alias"."""
    if not NAME.fullmatch(alias.name):
        return f"has a name that Proxmox refuses: {NAMES}"
    try:
        network(alias.cidr)
    except ValueError:
        return f"stands for '{alias.cidr}', which is neither an address nor a network"
    return None


def _literals(text: str) -> Addresses:
    """A list of addresses, networks and ranges, all of one version."""
    found: list[tuple[int, int]] = []
    versions: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            low = network(first)
            high = network(last) if dash else low
        except ValueError:
            raise InvalidRuleError(f"has the address '{part}', which is none") from None
        versions |= {6 if low is None else 4, 6 if high is None else 4}
        if low is not None and high is not None:
            if low[0] > high[1]:
                raise InvalidRuleError(f"has the address range '{part}', which is backwards")
            found.append((low[0], high[1]))
    if len(versions) > 1:
        raise InvalidRuleError(f"has addresses of both IPv4 and IPv6: '{text}'")
    if 6 in versions:
        return _SIX
    spans = normal(found)
    return Addresses(spans, spans, "none")


def _members(entries: Iterable[Entry], scopes: Iterable[Mapping[str, Alias]]) -> Addresses:
    scopes = tuple(scopes)
    networks: dict[tuple[int, int, int], bool] = {}
    six = False
    for entry in entries:
        try:
            found = network(_meant(entry.cidr, scopes))
        except ValueError:
            continue  # Proxmox leaves out what it cannot resolve
        if found is None:
            six = six or not entry.nomatch
        elif found[2]:  # a zero prefix is refused
            networks[found] = not entry.nomatch
    spans = longest_prefix(networks)
    return Addresses(spans, spans, "some" if six else "none")


def _meant(cidr: str, scopes: tuple[Mapping[str, Alias], ...]) -> str:
    found = _REFERENCE.fullmatch(cidr)
    if found is None:
        return cidr
    own, shared = scopes
    tables = {"dc": (shared,), "guest": (own,)}.get(found[2] or "", (own, shared))
    return next((table[found[3].lower()].cidr for table in tables if found[3].lower() in table), "")


def longest_prefix(networks: Mapping[tuple[int, int, int], bool]) -> Spans:
    """Addresses whose innermost network says yes. Networks nest or are apart, so a stack finds it.

    Args:
        networks: first and last address and prefix, to whether it is a match.
    """
    found: list[tuple[int, int]] = []
    stack: list[tuple[int, bool]] = []
    at = 0

    def up_to(end: int) -> None:
        """Take in what lies before ``end`` for the innermost network that is open."""
        nonlocal at
        if stack and stack[-1][1] and at < end:
            found.append((at, end - 1))
        at = max(at, end)

    for (first, last, _), match in sorted(networks.items(), key=lambda item: (item[0][0], item[0][2])):
        while stack and stack[-1][0] < first:
            up_to(stack[-1][0] + 1)
            stack.pop()
        up_to(first)
        at = first
        stack.append((last, match))
    while stack:
        up_to(stack[-1][0] + 1)
        stack.pop()
    return normal(found)

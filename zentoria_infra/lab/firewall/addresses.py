"""What ``source`` and ``dest`` of a rule mean to the kernel: aliases, IP sets, lists, ranges."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
from collections.abc import Iterable, Mapping

from zentoria_infra.lab.api import formats
from zentoria_infra.lab.api.firewall import rules
from zentoria_infra.lab.api.firewall.conf import Entry, FirewallConf

MANAGEMENT = "management"
LOCAL_NETWORK = "local_network"
_SET_NAME = 31
"""Bytes that the kernel has for the name of an IP set, less the last one."""
_MOST_MEMBERS = 262144

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Vanishes(Exception):
    """A rule that Proxmox passes over; the text says why."""


@dataclasses.dataclass(frozen=True)
class KernelSet:
    """One IP set in the kernel. Its name holds a digest of what is in it: one that is in use never changes.

    So all sets and rules change in one step, together with the rules.
    """

    name: str
    version: int
    members: tuple[str, ...]

    def lines(self) -> list[str]:
        """Lines for ``ipset -exist restore``. It gets its name when it is full: half a set is nobody's."""
        draft = f"new-v{self.version}"
        family = "inet6" if self.version == 6 else "inet"
        return [
            f"create {draft} hash:net family {family} hashsize 64 maxelem {_MOST_MEMBERS}",
            f"flush {draft}",
            *(f"add {draft} {member}" for member in self.members),
            f"rename {draft} {self.name}",
        ]


class Sets:
    """The IP sets that rules use."""

    def __init__(self) -> None:
        self.used: dict[str, KernelSet] = {}

    def use(self, owner: str, name: str, version: int, members: Mapping[Network, bool]) -> str:
        """The kernel's name of a set.

        Args:
            owner: ``0`` for the datacenter's, else the VMID.
            name: the set's.
            version: of IP.
            members: networks, and whether they are in (True) or taken out.
        """
        listed = tuple(
            f"{network}{'' if inside else ' nomatch'}"
            for network, inside in sorted(members.items(), key=lambda item: (item[0].prefixlen, int(item[0][0])))
            if network.version == version and network.prefixlen  # the kernel's hash:net takes no /0
        )
        digest = hashlib.sha256("\n".join([owner, name, str(version), *listed]).encode()).hexdigest()[:8]
        called = f"{owner}-{name}"[: _SET_NAME - 9] + f"-{digest}"
        self.used[called] = KernelSet(called, version, listed)
        return called


class Addresses:
    """Names as they are known in one place: in a container's own firewall, or in the datacenter's.

    Args:
        sets: where IP sets that are used are put.
        cluster: the datacenter's firewall.
        local: the container's own; None in the datacenter, on the node and in groups.
        owner: its VMID; ``0`` for the datacenter.
        local_network: the node's own network, where nobody has defined an alias for it.
    """

    def __init__(
        self, sets: Sets, cluster: FirewallConf, local: FirewallConf | None, owner: str, local_network: str
    ) -> None:
        self._sets = sets
        self._cluster = cluster
        self._local = local
        self._owner = owner
        self._local_network = local_network

    def matches(self, value: str, side: str, version: int) -> list[str]:
        """Alternatives for iptables, one of which must match; none when it is of the other IP version.

        Args:
            value: of ``source`` or ``dest``.
            side: ``src`` or ``dst``.
            version: of IP.

        Raises:
            Vanishes: something in it is not there, or has no sense.
        """
        found = rules.reference(value)
        if found is not None and found[0] == "ipset":
            return [f"-m set --match-set {self._set(found[1], found[2], version)} {side}"]
        if found is not None:
            return _match(str(self._alias(found[1], found[2])), side, version)
        return [match for part in formats.split_list(value) for match in _match(part, side, version)]

    def members(self, entries: Iterable[Entry]) -> dict[Network, bool]:
        """Networks of an IP set; one whose alias is not there is left out. Of two equal ones the last holds."""
        found: dict[Network, bool] = {}
        for entry in entries:
            try:
                reference = rules.reference(entry.cidr)
                network = self._alias(reference[1], reference[2]) if reference else _network(entry.cidr)
            except Vanishes:
                continue
            found[network] = not entry.nomatch
        return found

    def management(self, version: int) -> str:
        """The kernel's name of the set of those who may manage the node: it is there even when nobody made it."""
        return self._set("dc", MANAGEMENT, version)

    def _set(self, scope: str, name: str, version: int) -> str:
        if scope in ("", "guest") and self._local is not None and name in self._local.ipsets:
            return self._sets.use(self._owner, name, version, self.members(self._local.ipsets[name].entries))
        cluster = Addresses(self._sets, self._cluster, None, "0", self._local_network)
        if scope in ("", "dc") and (name in self._cluster.ipsets or name == MANAGEMENT):
            ipset = self._cluster.ipsets.get(name)
            members = cluster.members(ipset.entries if ipset else ())
            if name == MANAGEMENT:
                members = {**cluster.members([Entry(LOCAL_NETWORK)]), **members}
            return self._sets.use("0", name, version, members)
        raise Vanishes(f"no such ipset '{name}'")

    def _alias(self, scope: str, name: str) -> Network:
        places: dict[str, list[FirewallConf | None]]
        places = {"dc": [self._cluster], "guest": [self._local], "": [self._local, self._cluster]}
        for place in places.get(scope, []):
            if place is not None and name.lower() in place.aliases:
                return _network(place.aliases[name.lower()].cidr)
        if scope in ("", "dc") and name.lower() == LOCAL_NETWORK:
            return _network(self._local_network)
        raise Vanishes(f"no such alias '{name}'")


def _network(text: str) -> Network:
    try:
        if "%" not in text:  # a zone, as in fe80::1%eth0, is no part of an address to the kernel
            return ipaddress.ip_network(text, strict=False)
    except ValueError:
        pass
    raise Vanishes(f"not an address: '{text}'")


def _match(text: str, side: str, version: int) -> list[str]:
    first, dash, last = text.partition("-")
    if not dash:
        network = _network(text)
        return [f"-{side[0]} {network}"] if network.version == version else []
    try:
        begin, end = ipaddress.ip_address(first), ipaddress.ip_address(last)
        wrong = begin.version != end.version or int(begin) > int(end) or "%" in text
    except ValueError:
        wrong = True
    if wrong:
        raise Vanishes(f"not a range of addresses: '{text}'")
    return [f"-m iprange --{side}-range {begin}-{end}"] if begin.version == version else []

"""What Proxmox does with one packet, as it is documented: slow, plain, and nothing shared with the proof."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator

from zentoria_infra.firewall.config import Configuration, Guest, Nic, Rule

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "ipv6-icmp": 58, "sctp": 132}
ICMP = {"echo-request": (8, None), "fragmentation-needed": (3, 4), "destination-unreachable": (3, None)}
MACROS = {
    "ssh": [("tcp", "22", "")],
    "dns": [("udp", "53", ""), ("tcp", "53", "")],
    "ping": [("icmp", "echo-request", "")],
    "web": [("tcp", "80", ""), ("tcp", "443", "")],
    "dhcpfwd": [("udp", "67:68", "67:68")],
}
PORTED = {6, 17, 132}
NAMES = {"http": 80, "ssh": 22}
ALLOWED_FIRST = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
ALLOWED = ALLOWED_FIRST | set("0123456789-_")


class Skipped(Exception):
    """Proxmox does not take the rule."""


@dataclasses.dataclass(frozen=True)
class Packet:
    """The first packet of a connection, over IPv4."""

    source: str
    dest: str
    protocol: int
    dport: int = 0
    sport: int = 40000
    icmp: tuple[int, int] = (0, 0)


def passes(configuration: Configuration, guest: Guest, nic: Nic, direction: str, packet: Packet) -> bool:
    """Whether a packet that enters or leaves the guest here gets through."""
    if (
        configuration.datacenter.options.get("enable", "0") != "1"
        or guest.options.get("enable", "0") != "1"
        or not nic.firewall
    ):
        return True
    if guest.options.get("dhcp") != "0" and packet.protocol == 17:
        ports = (packet.sport, packet.dport)
        if ports == ((68, 67) if direction == "out" else (67, 68)):
            return True
    if direction == "out" and not source_is_right(configuration, guest, nic, packet.source):
        return False
    for rule, local in rules_in_order(configuration, guest, nic, direction):
        try:
            if matches(configuration, local, rule, packet):
                return rule.action == "ACCEPT"
        except Skipped:
            continue
    policy = guest.options.get(f"policy_{direction}")
    if policy == "ACCEPT" or (policy not in ("DROP", "REJECT") and direction == "out"):
        return True
    return packet.protocol == 1 and (packet.icmp == (3, 4) or packet.icmp[0] == 11)


def source_is_right(configuration: Configuration, guest: Guest, nic: Nic, source: str) -> bool:
    """The IP filter."""
    ipset = [one for one in guest.ipsets if one.name == f"ipfilter-{nic.key}"]
    if not ipset and guest.options.get("ipfilter", "0") != "1":
        return True
    if nic.ip not in ("", "dhcp", "manual") and source == nic.ip.split("/")[0]:
        return True
    return bool(ipset) and in_set(configuration, guest, ipset[0].entries, source)


def rules_in_order(
    configuration: Configuration, guest: Guest, nic: Nic, direction: str
) -> Iterator[tuple[Rule, Guest | None]]:
    """Rules of a direction, groups taken in where they stand; with the guest whose names they see."""
    for rule in guest.rules:
        if not rule.enable or rule.iface not in ("", nic.key):
            continue
        if rule.type != "group":
            if rule.type == direction:
                yield rule, guest
            continue
        if not 2 <= len(rule.action) <= 18:
            continue
        for group in configuration.datacenter.groups:
            if group.name == rule.action:
                for part in group.rules:
                    if part.enable and part.type == direction:
                        yield part, None


def matches(configuration: Configuration, guest: Guest | None, rule: Rule, packet: Packet) -> bool:
    """Whether a rule is about a packet. Every field is looked at first: one mistake, and there is no rule."""
    if rule.action not in ("ACCEPT", "DROP", "REJECT"):
        raise Skipped
    parts = MACROS[rule.macro.lower()] if rule.macro else [(rule.proto, rule.dport or rule.icmp_type, rule.sport)]
    return all(
        [
            address_matches(configuration, guest, rule.source, packet.source),
            address_matches(configuration, guest, rule.dest, packet.dest),
            any([service_matches(*part, packet) for part in parts]),
        ]
    )


def service_matches(proto: str, dport: str, sport: str, packet: Packet) -> bool:
    """Protocol, ports, ICMP type."""
    if not proto:
        if dport or sport:
            raise Skipped
        return True
    number = int(proto) if proto.isdigit() else NUMBERS[proto]
    if proto in ("icmp", "icmpv6", "ipv6-icmp"):
        if sport:
            raise Skipped
        return proto == "icmp" and packet.protocol == 1 and icmp_matches(dport, packet.icmp)
    if (dport or sport) and number not in PORTED:
        raise Skipped
    fits = [port_matches(dport, packet.dport), port_matches(sport, packet.sport)]
    return packet.protocol == number and all(fits)


def icmp_matches(text: str, icmp: tuple[int, int]) -> bool:
    if text in ("", "any"):
        return True
    if text in ICMP:
        kind, code = ICMP[text]
    else:
        first, _, second = text.partition("/")
        kind, code = int(first), int(second) if second else None
    return icmp[0] == kind and code in (None, icmp[1])


def port_matches(text: str, port: int) -> bool:
    if not text:
        return True
    hit, weight = False, 0
    for part in text.split(","):
        if ":" in part:
            weight += 2
            low, high = (int(one) for one in part.split(":"))
        else:
            weight += 1
            low = high = NAMES[part] if part in NAMES else int(part)
        if low > high or high > 65535:
            raise Skipped
        hit = hit or low <= port <= high
    if weight > 15:
        raise Skipped
    return hit


def address_matches(configuration: Configuration, guest: Guest | None, text: str, address: str) -> bool:
    """Literal addresses, an alias, or an IP set."""
    if not text:
        return True
    if text[0].isdigit():
        return any([literal_matches(part, address) for part in text.split(",")])
    plus, name = text.startswith("+"), text.removeprefix("+")
    scope = ""
    if "/" in name:
        scope, name = name.split("/")
    if plus:
        sets = [] if guest is None or scope == "dc" else [(one, guest) for one in guest.ipsets]
        shared = [] if scope == "guest" else [(one, None) for one in configuration.datacenter.ipsets]
        for ipset, owner in [*sets, *shared]:
            if ipset.name == name:
                return in_set(configuration, owner, ipset.entries, address)
        raise Skipped
    cidr = alias_of(configuration, guest, scope, name)
    if cidr is None:
        raise Skipped
    return literal_matches(cidr, address)


def alias_of(configuration: Configuration, guest: Guest | None, scope: str, name: str) -> str | None:
    aliases = [] if guest is None or scope == "dc" else list(guest.aliases)
    aliases += [] if scope == "guest" else list(configuration.datacenter.aliases)
    for alias in aliases:
        good = len(alias.name) >= 2 and alias.name[0] in ALLOWED_FIRST and set(alias.name) <= ALLOWED
        if good and alias.name.lower() == name.lower():
            return alias.cidr
    return None


def literal_matches(text: str, address: str) -> bool:
    number = ipaddress.ip_address(address)
    if "-" in text:
        low, high = (ipaddress.ip_address(one) for one in text.split("-"))
        if int(low) > int(high):
            raise Skipped
        return int(low) <= int(number) <= int(high)
    return number in ipaddress.ip_network(text, strict=False)


def in_set(configuration: Configuration, guest: Guest | None, entries: tuple[object, ...], address: str) -> bool:
    """Of all members that hold the address, the narrowest decides; of two alike, the later one."""
    best, answer = -1, False
    for entry in entries:
        cidr: str = entry.cidr  # type: ignore[attr-defined]  # an Entry
        if not cidr[0].isdigit():
            scope, slash, name = cidr.rpartition("/")
            found = alias_of(configuration, guest, scope if slash else "", name)
            if found is None:
                continue
            cidr = found
        network = ipaddress.ip_network(cidr, strict=False)
        if network.prefixlen == 0 or ipaddress.ip_address(address) not in network:
            continue
        if network.prefixlen >= best:
            best, answer = network.prefixlen, not entry.nomatch  # type: ignore[attr-defined]  # an Entry
    return answer

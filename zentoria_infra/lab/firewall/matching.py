"""One rule as the matches of iptables: protocols, ports, ICMP types, macros, addresses."""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Mapping

from zentoria_infra.lab.api import formats
from zentoria_infra.lab.api.firewall import macros
from zentoria_infra.lab.api.firewall.conf import Rule
from zentoria_infra.lab.firewall.addresses import Addresses, Vanishes

_PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "rdp": 27, "dccp": 33,
    "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "skip": 57,
    "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "eigrp": 88, "ospf": 89, "ipip": 94,
    "encap": 98, "pim": 103, "ipcomp": 108, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
    "mpls-in-ip": 137, "hip": 139, "shim6": 140,
}  # fmt: skip
"""Numbers that IANA assigned: iptables knows few names where /etc/protocols is not there."""
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 58: "ipv6-icmp", 132: "sctp", 136: "udplite"}
_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_ICMP = {
    "echo-reply": "0", "destination-unreachable": "3", "network-unreachable": "3/0", "host-unreachable": "3/1",
    "protocol-unreachable": "3/2", "port-unreachable": "3/3", "fragmentation-needed": "3/4",
    "source-route-failed": "3/5", "network-unknown": "3/6", "host-unknown": "3/7", "network-prohibited": "3/9",
    "host-prohibited": "3/10", "TOS-network-unreachable": "3/11", "TOS-host-unreachable": "3/12",
    "communication-prohibited": "3/13", "host-precedence-violation": "3/14", "precedence-cutoff": "3/15",
    "source-quench": "4", "redirect": "5", "network-redirect": "5/0", "host-redirect": "5/1",
    "TOS-network-redirect": "5/2", "TOS-host-redirect": "5/3", "echo-request": "8", "router-advertisement": "9",
    "router-solicitation": "10", "time-exceeded": "11", "ttl-zero-during-transit": "11/0",
    "ttl-zero-during-reassembly": "11/1", "parameter-problem": "12", "ip-header-bad": "12/0",
    "required-option-missing": "12/1", "timestamp-request": "13", "timestamp-reply": "14",
    "address-mask-request": "17", "address-mask-reply": "18",
}  # fmt: skip
_ICMP6 = {
    "destination-unreachable": "1", "no-route": "1/0", "communication-prohibited": "1/1", "beyond-scope": "1/2",
    "address-unreachable": "1/3", "port-unreachable": "1/4", "failed-policy": "1/5", "reject-route": "1/6",
    "packet-too-big": "2", "time-exceeded": "3", "ttl-zero-during-transit": "3/0",
    "ttl-zero-during-reassembly": "3/1", "parameter-problem": "4", "bad-header": "4/0",
    "unknown-header-type": "4/1", "unknown-option": "4/2", "echo-request": "128", "echo-reply": "129",
    "router-solicitation": "133", "router-advertisement": "134", "neighbor-solicitation": "135",
    "neighbour-solicitation": "135", "neighbor-advertisement": "136", "neighbour-advertisement": "136",
    "redirect": "137",
}  # fmt: skip
_MOST_PORTS = 15
"""That one multiport match takes; a range counts as two."""


def matches(rule: Rule, version: int, addresses: Addresses) -> list[str]:
    """What a packet must match for a rule to hold, as alternatives; none when it is of the other IP version.

    Where the packet comes in or goes out is not in it.

    Raises:
        Vanishes: something that it names is not there, or it has no sense.
    """
    fields = rule.fields
    sources = addresses.matches(fields["source"], "src", version) if "source" in fields else [""]
    dests = addresses.matches(fields["dest"], "dst", version) if "dest" in fields else [""]
    services = [text for part in _parts(fields) for text in _service(part, version)]
    return [
        " ".join(word for word in words if word)
        for words in itertools.product(sources, dests, services)
    ]  # fmt: skip


def _parts(fields: Mapping[str, str]) -> list[Mapping[str, str]]:
    if "macro" not in fields:
        return [fields]
    name = macros.canonical(fields["macro"])
    if name is None:
        raise Vanishes(f"unknown macro '{fields['macro']}'")
    own = {key: fields[key] for key in ("dport", "sport") if key in fields}
    parts: list[Mapping[str, str]] = []
    for part in macros.MACROS[name][1]:
        listed = {"proto": part.proto, "dport": part.dport, "sport": part.sport, "macro": name, **own}
        parts.append({key: value for key, value in listed.items() if value})
    return parts


def _service(fields: Mapping[str, str], version: int) -> list[str]:
    """Protocol, ports and ICMP type; nothing when the other IP version has the protocol."""
    given = fields.get("proto", "")
    if not given or given == "all":
        if "dport" in fields or "sport" in fields or "icmp-type" in fields:
            raise Vanishes("ports without a protocol")
        return [""]
    number = _PROTOCOLS.get(given, int(given) if given.isdecimal() and int(given) < 256 else -1)
    if number < 0:
        raise Vanishes(f"unknown protocol '{given}'")
    if number == 1 and version == 6 and "macro" in fields:
        number = 58
    if (number, version) in ((1, 6), (58, 4)):
        return []
    protocol = f"-p {_NAMES.get(number, str(number))}"
    if number in (1, 58):
        return [" ".join([protocol, *_icmp(fields, version)])]
    if "icmp-type" in fields or (number not in _WITH_PORTS and ("dport" in fields or "sport" in fields)):
        raise Vanishes(f"protocol '{given}' has no ports or types")
    ports = [_ports(fields[f"{end}port"], end, number) for end in ("d", "s") if f"{end}port" in fields]
    return [" ".join([protocol, *ports])]


def _icmp(fields: Mapping[str, str], version: int) -> list[str]:
    if "sport" in fields:
        raise Vanishes("ICMP has no ports")
    text = fields.get("icmp-type") or fields.get("dport") or "any"
    if text == "any":
        return []
    known = (_ICMP6 if version == 6 else _ICMP).get(text, text)
    if not re.fullmatch(r"\d{1,3}(/\d{1,3})?", known) or any(int(part) > 255 for part in known.split("/")):
        raise Vanishes(f"unknown ICMP type '{text}'")
    return [f"-m icmp6 --icmpv6-type {known}" if version == 6 else f"-m icmp --icmp-type {known}"]


def _ports(value: str, end: str, protocol: int) -> str:
    found: list[str] = []
    count = 0
    for part in formats.split_list(value):
        first, colon, last = part.partition(":")
        numbers = [_port(first), *([_port(last)] if colon else [])]
        if numbers[0] > numbers[-1]:
            raise Vanishes(f"not a range of ports: '{part}'")
        found.append(":".join(str(number) for number in numbers))
        count += len(numbers)
    if not found or count > _MOST_PORTS:
        raise Vanishes(f"not 1 to {_MOST_PORTS} ports (a range is two): '{value}'")
    if len(found) == 1 and protocol in (6, 17):
        return f"-m {_NAMES[protocol]} --{end}port {found[0]}"
    return f"-m multiport --{end}ports {','.join(found)}"


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    for protocol in ("tcp", "udp"):
        try:
            return socket.getservbyname(text, protocol)
        except OSError:
            continue
    raise Vanishes(f"unknown port '{text}'")

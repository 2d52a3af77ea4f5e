"""The checks of a firewall rule, in Proxmox's words (PVE::Firewall::verify_rule)."""

from __future__ import annotations

import ipaddress
import re
import socket

from zentoria_infra.lab.api import formats
from zentoria_infra.lab.api.firewall import macros
from zentoria_infra.lab.api.firewall.conf import FirewallConf, Rule
from zentoria_infra.lab.api.formats import FormatError

LOG_LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog")
_ACTIONS = ("ACCEPT", "DROP", "REJECT")
_PORT_PROTOCOLS = frozenset({"tcp", "udp", "udplite", "sctp", "dccp", "6", "17", "33", "132", "136"})
_ICMP = frozenset({"icmp", "ipv6-icmp", "icmpv6", "1", "58"})
_PROTOCOLS = frozenset(
    [
        "tcp",
        "udp",
        "icmp",
        "igmp",
        "ipencap",
        "esp",
        "ah",
        "gre",
        "ospf",
        "ipv6",
        "ipv6-icmp",
        "icmpv6",
        "sctp",
        "dccp",
        "udplite",
        "vrrp",
        "pim",
        "l2tp",
        "eigrp",
        "ggp",
        "egp",
        "igp",
        "rdp",
        "rsvp",
        "skip",
        "ipip",
        "encap",
        "ipcomp",
        "mpls-in-ip",
        "hip",
        "shim6",
        "ipv6-route",
        "ipv6-frag",
        "ipv6-nonxt",
        "ipv6-opts",
        "all",
    ]
)
_ICMP_TYPES = frozenset(
    [
        "any",
        "echo-reply",
        "destination-unreachable",
        "network-unreachable",
        "host-unreachable",
        "protocol-unreachable",
        "port-unreachable",
        "fragmentation-needed",
        "source-route-failed",
        "network-unknown",
        "host-unknown",
        "network-prohibited",
        "host-prohibited",
        "TOS-network-unreachable",
        "TOS-host-unreachable",
        "communication-prohibited",
        "host-precedence-violation",
        "precedence-cutoff",
        "source-quench",
        "redirect",
        "network-redirect",
        "host-redirect",
        "TOS-network-redirect",
        "TOS-host-redirect",
        "echo-request",
        "router-advertisement",
        "router-solicitation",
        "time-exceeded",
        "ttl-zero-during-transit",
        "ttl-zero-during-reassembly",
        "parameter-problem",
        "ip-header-bad",
        "required-option-missing",
        "timestamp-request",
        "timestamp-reply",
        "address-mask-request",
        "address-mask-reply",
        "no-route",
        "beyond-scope",
        "address-unreachable",
        "failed-policy",
        "reject-route",
        "packet-too-big",
        "bad-header",
        "unknown-header-type",
        "unknown-option",
        "neighbor-solicitation",
        "neighbour-solicitation",
        "neighbor-advertisement",
        "neighbour-advertisement",
    ]
)
_REFERENCE = re.compile(r"(\+?)(?:(dc|guest|sdn)/)?([A-Za-z][A-Za-z0-9\-_]+)")


def _port_number(text: str) -> int | None:
    if text.isdigit():
        return int(text) if int(text) <= 65535 else None
    for protocol in ("tcp", "udp"):
        try:
            return socket.getservbyname(text, protocol)
        except OSError:
            continue
    return None


def check_ports(value: str) -> None:
    """A list of ports, ranges (``10:20``) and names of services."""
    for part in formats.split_list(value):
        first, colon, last = part.partition(":")
        numbers = [_port_number(first), _port_number(last)] if colon else [_port_number(first)]
        if any(number is None for number in numbers) or (colon and not re.fullmatch(r"\d+:\d+", part)):
            raise FormatError(f"invalid port '{part}'")


def check_dport(value: str) -> None:
    """Ports, or ICMP types where the protocol is ICMP."""
    if value in _ICMP_TYPES or re.fullmatch(r"\d+/\d+", value):
        return
    check_ports(value)


def check_icmp_type(value: str) -> None:
    """A name or number of an ICMP type."""
    if value not in _ICMP_TYPES and not re.fullmatch(r"\d+(?:/\d+)?", value):
        raise FormatError(f"invalid icmp-type '{value}'")


def check_protocol(value: str) -> None:
    """A name or number of an IP protocol."""
    if value not in _PROTOCOLS and not (value.isdigit() and int(value) < 256):
        raise FormatError(f"unknown protocol '{value}'")


def check_addresses(value: str) -> None:
    """An alias, ``+ipset``, or a list of addresses, networks and ranges of one IP version."""
    if _REFERENCE.fullmatch(value):
        return
    versions = set()
    for part in formats.split_list(value):
        first, dash, last = part.partition("-")
        try:
            begin = ipaddress.ip_interface(first)
            end = ipaddress.ip_address(last) if dash else begin.ip
        except ValueError as error:
            raise FormatError(f"invalid IP address or network '{part}'") from error
        if dash and (begin.version != end.version or int(begin.ip) > int(end)):
            raise FormatError(f"invalid IP address: Begin address is greater than End address {first} - {last}")
        versions.add(begin.version)
    if len(versions) > 1:
        raise FormatError(f"detected mixed ipv4/ipv6 addresses in address list '{value}'")


formats.CHECKS.update(
    {
        "pve-fw-sport-spec": check_ports,
        "pve-fw-dport-spec": check_dport,
        "pve-fw-icmp-type-spec": check_icmp_type,
        "pve-fw-protocol-spec": check_protocol,
        "pve-fw-addr-spec": check_addresses,
    }
)


def reference(value: str) -> tuple[str, str, str] | None:
    """``(kind, scope, name)`` when an address is a reference: kind alias or ipset, scope dc, guest or empty."""
    match = _REFERENCE.fullmatch(value)
    if not match:
        return None
    return ("ipset" if match[1] else "alias", match[2] or "", match[3])


def missing(value: str, local: FirewallConf, cluster: FirewallConf) -> str:
    """What a source or destination refers to and is not there; empty when all is well."""
    found = reference(value)
    if found is None:
        return ""
    kind, scope, name = found
    if scope == "sdn":
        return ""
    places = {"dc": [cluster], "guest": [local]}.get(scope, [local, cluster])
    known = any(name.lower() in place.aliases if kind == "alias" else name in place.ipsets for place in places)
    if known or (kind == "ipset" and name == "management" and scope != "guest"):
        return ""
    return f"no such {kind} '{name}'"


def check(rule: Rule, environment: str, local: FirewallConf, cluster: FirewallConf) -> dict[str, str]:
    """Everything that is wrong with a rule, by field. ``environment`` is cluster, host, ct or group."""
    errors: dict[str, str] = {}
    fields = rule.fields
    allowed = {"cluster": ("in", "out", "forward", "group"), "host": ("in", "out", "forward", "group"),
               "group": ("in", "out", "forward")}.get(environment, ("in", "out", "group"))  # fmt: skip
    if rule.type not in allowed:
        errors["type"] = f"invalid rule type '{rule.type}' for rule_env '{environment}'"
    elif rule.type != "group" and rule.action not in _ACTIONS:
        errors["action"] = f"unknown action '{rule.action}'"
    if (macro := fields.get("macro")) and macros.canonical(macro) is None:
        errors["macro"] = f"unknown macro '{macro}'"
    if (iface := fields.get("iface")) and environment == "ct" and not re.fullmatch(r"net\d+", iface):
        errors["iface"] = "value does not match the regex pattern 'net\\d+'"
    protocol = fields.get("proto", "")
    ported = protocol in _PORT_PROTOCOLS or (protocol in _ICMP and "sport" not in fields)
    for name in ("dport", "sport"):
        if name not in fields or "macro" in fields:
            continue
        if not protocol:
            errors["proto"] = f"missing property - '{name}' requires this property"
        elif not ported:
            errors["proto"] = f"protocol '{protocol}' does not support ports"
    if "icmp-type" in fields and protocol not in _ICMP:
        errors["icmp-type"] = "expected proto 'icmp' or 'ipv6-icmp'"
    for name in ("source", "dest"):
        if name in fields and (gone := missing(fields[name], local, cluster)):
            errors[name] = gone
    return errors


def version(rule: Rule, local: FirewallConf, cluster: FirewallConf) -> int | None:
    """The IP version that a rule is bound to by its addresses or its ICMP type; None when by nothing."""
    for name in ("source", "dest"):
        value = rule.fields.get(name, "")
        found = reference(value)
        if found is not None and found[0] == "alias":
            alias = local.aliases.get(found[2].lower()) or cluster.aliases.get(found[2].lower())
            value = alias.cidr if alias else ""
        elif found is not None:
            continue
        if value:
            return 6 if ":" in value else 4
    return {"icmp": 4, "ipv6-icmp": 6, "icmpv6": 6}.get(rule.fields.get("proto", ""))

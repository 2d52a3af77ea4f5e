"""Numbers of IP protocols, ICMP types and well-known ports, as IANA assigns them, by the names that rules use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

PROTOCOLS: Mapping[str, int] = MappingProxyType(
    {
        "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st": 5, "tcp": 6, "egp": 8, "igp": 9, "pup": 12, "udp": 17,
        "hmp": 20, "xns-idp": 22, "rdp": 27, "iso-tp4": 29, "dccp": 33, "xtp": 36, "ddp": 37, "idpr-cmtp": 38,
        "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "idrp": 45, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51,
        "skip": 57, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "rspf": 73, "vmtp": 81,
        "eigrp": 88, "ospf": 89, "ax.25": 93, "ipip": 94, "etherip": 97, "encap": 98, "pim": 103, "ipcomp": 108,
        "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132, "fc": 133, "mobility-header": 135, "udplite": 136,
        "mpls-in-ip": 137, "manet": 138, "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142,
    }
)  # fmt: skip

WITH_PORTS = frozenset({6, 17, 33, 132, 136})
"""tcp, udp, dccp, sctp, udplite."""

PORTS: Mapping[str, int] = MappingProxyType(
    {
        "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
        "http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "auth": 113, "nntp": 119, "ntp": 123,
        "imap2": 143, "snmp": 161, "bgp": 179, "ldap": 389, "https": 443, "submissions": 465, "syslog": 514,
        "submission": 587, "ldaps": 636, "rsync": 873, "imaps": 993, "pop3s": 995, "openvpn": 1194, "nfs": 2049,
        "mysql": 3306, "postgresql": 5432, "mdns": 5353, "http-alt": 8080,
    }
)  # fmt: skip
"""Those of the usual /etc/services that a rule may well name."""

Type = tuple[int, int | None]
"""ICMP type and code; None: any code."""

ICMP_TYPES: Mapping[str, Type] = MappingProxyType(
    {
        "echo-reply": (0, None), "destination-unreachable": (3, None), "network-unreachable": (3, 0),
        "host-unreachable": (3, 1), "protocol-unreachable": (3, 2), "port-unreachable": (3, 3),
        "fragmentation-needed": (3, 4), "source-route-failed": (3, 5), "network-unknown": (3, 6),
        "host-unknown": (3, 7), "network-prohibited": (3, 9), "host-prohibited": (3, 10),
        "TOS-network-unreachable": (3, 11), "TOS-host-unreachable": (3, 12), "communication-prohibited": (3, 13),
        "host-precedence-violation": (3, 14), "precedence-cutoff": (3, 15), "source-quench": (4, None),
        "redirect": (5, None), "network-redirect": (5, 0), "host-redirect": (5, 1), "TOS-network-redirect": (5, 2),
        "TOS-host-redirect": (5, 3), "echo-request": (8, None), "router-advertisement": (9, None),
        "router-solicitation": (10, None), "time-exceeded": (11, None), "ttl-zero-during-transit": (11, 0),
        "ttl-zero-during-reassembly": (11, 1), "parameter-problem": (12, None), "ip-header-bad": (12, 0),
        "required-option-missing": (12, 1), "timestamp-request": (13, None), "timestamp-reply": (14, None),
        "address-mask-request": (17, None), "address-mask-reply": (18, None),
    }
)  # fmt: skip

ICMPV6_TYPES: Mapping[str, Type] = MappingProxyType(
    {
        "destination-unreachable": (1, None), "no-route": (1, 0), "communication-prohibited": (1, 1),
        "beyond-scope": (1, 2), "address-unreachable": (1, 3), "port-unreachable": (1, 4), "failed-policy": (1, 5),
        "reject-route": (1, 6), "packet-too-big": (2, None), "time-exceeded": (3, None),
        "ttl-zero-during-transit": (3, 0), "ttl-zero-during-reassembly": (3, 1), "parameter-problem": (4, None),
        "bad-header": (4, 0), "unknown-header-type": (4, 1), "unknown-option": (4, 2), "echo-request": (128, None),
        "echo-reply": (129, None), "router-solicitation": (133, None), "router-advertisement": (134, None),
        "neighbor-solicitation": (135, None), "neighbour-solicitation": (135, None),
        "neighbor-advertisement": (136, None), "neighbour-advertisement": (136, None), "redirect": (137, None),
    }
)  # fmt: skip

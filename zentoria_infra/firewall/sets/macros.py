"""What the commoner macros of Proxmox's rules stand for, by name in lower case: protocol, ports, source ports."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Part = tuple[str, str, str]
"""Protocol, destination ports (of ``icmp`` a type), source ports; empty text for any."""


def _tcp(*ports: str) -> tuple[Part, ...]:
    return tuple(("tcp", port, "") for port in ports)


def _udp(*ports: str) -> tuple[Part, ...]:
    return tuple(("udp", port, "") for port in ports)


MACROS: Mapping[str, tuple[Part, ...]] = MappingProxyType(
    {
        "auth": _tcp("113"),
        "bgp": _tcp("179"),
        "ceph": _tcp("3300", "6789", "6800:7300"),
        "dhcpfwd": (("udp", "67:68", "67:68"),),
        "dns": _udp("53") + _tcp("53"),
        "ftp": _tcp("21"),
        "git": _tcp("9418"),
        "gre": (("gre", "", ""),),
        "hkp": _tcp("11371"),
        "http": _tcp("80"),
        "https": _tcp("443"),
        "imap": _tcp("143"),
        "imaps": _tcp("993"),
        "ipip": (("ipencap", "", ""),),
        "ldap": _tcp("389"),
        "ldaps": _tcp("636"),
        "mdns": _udp("5353"),
        "mssql": _tcp("1433"),
        "mysql": _tcp("3306"),
        "nntp": _tcp("119"),
        "nntps": _tcp("563"),
        "ntp": _udp("123"),
        "openvpn": _udp("1194"),
        "ospf": (("ospf", "", ""),),
        "ping": (("icmp", "echo-request", ""),),
        "pop3": _tcp("110"),
        "pop3s": _tcp("995"),
        "postgresql": _tcp("5432"),
        "printer": _tcp("515"),
        "rdp": _tcp("3389"),
        "rsync": _tcp("873"),
        "smtp": _tcp("25"),
        "smtps": _tcp("465"),
        "spiceproxy": _tcp("3128"),
        "squid": _tcp("3128"),
        "ssh": _tcp("22"),
        "submission": _tcp("587"),
        "svn": _tcp("3690"),
        "syslog": _udp("514") + _tcp("514"),
        "telnet": _tcp("23"),
        "tftp": _udp("69"),
        "trcrt": (("udp", "33434:33524", ""), ("icmp", "echo-request", "")),
        "vnc": _tcp("5900:5999"),
        "web": _tcp("80", "443"),
        "webcache": _tcp("8080"),
        "whois": _tcp("43"),
    }
)

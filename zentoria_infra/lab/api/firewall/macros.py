"""Firewall macros: services by name. Ports are those that IANA or the projects themselves assign."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Part:
    """One protocol and its ports; ``dport`` and ``sport`` are empty when they do not matter."""

    proto: str
    dport: str = ""
    sport: str = ""


def _tcp(*ports: str) -> tuple[Part, ...]:
    return tuple(Part("tcp", port) for port in ports)


def _udp(*ports: str) -> tuple[Part, ...]:
    return tuple(Part("udp", port) for port in ports)


def _both(port: str) -> tuple[Part, ...]:
    return (Part("udp", port), Part("tcp", port))


MACROS: dict[str, tuple[str, tuple[Part, ...]]] = {
    "Amanda": ("Amanda backup", _both("10080") + _tcp("10082", "10083")),
    "Auth": ("Auth (identd)", _tcp("113")),
    "BGP": ("Border Gateway Protocol", _tcp("179")),
    "BitTorrent": ("BitTorrent", _tcp("6881:6889") + _udp("6881")),
    "CVS": ("Concurrent Versions System", _tcp("2401")),
    "Ceph": ("Ceph storage cluster", _tcp("3300", "6789", "6800:7300")),
    "Citrix": ("Citrix ICA", _tcp("1494", "2598") + _udp("1604")),
    "DHCPfwd": ("DHCP, forwarded in both directions", (Part("udp", "67:68", "67:68"),)),
    "DHCPv6": ("DHCPv6", (Part("udp", "546:547", "546:547"),)),
    "DNS": ("Domain Name System", _both("53")),
    "Distcc": ("Distributed compiler", _tcp("3632")),
    "FTP": ("File Transfer Protocol", _tcp("21")),
    "Finger": ("Finger (RFC 742)", _tcp("79")),
    "GRE": ("Generic Routing Encapsulation", (Part("gre"),)),
    "Git": ("Git", _tcp("9418")),
    "HKP": ("OpenPGP HTTP key server", _tcp("11371")),
    "HTTP": ("Hypertext Transfer Protocol", _tcp("80")),
    "HTTPS": ("Hypertext Transfer Protocol over TLS", _tcp("443")),
    "IMAP": ("Internet Message Access Protocol", _tcp("143")),
    "IMAPS": ("Internet Message Access Protocol over TLS", _tcp("993")),
    "IPIP": ("IP in IP encapsulation", (Part("ipencap"),)),
    "IPsec": ("IPsec", (Part("udp", "500", "500"), Part("esp"))),
    "IPsecnat": ("IPsec with NAT traversal", (Part("udp", "500"), Part("udp", "4500"), Part("esp"))),
    "IRC": ("Internet Relay Chat", _tcp("6667")),
    "Jetdirect": ("HP Jetdirect printing", _tcp("9100")),
    "L2TP": ("Layer 2 Tunneling Protocol", _udp("1701")),
    "LDAP": ("Lightweight Directory Access Protocol", _tcp("389")),
    "LDAPS": ("Lightweight Directory Access Protocol over TLS", _tcp("636")),
    "MDNS": ("Multicast DNS", _udp("5353")),
    "MSSQL": ("Microsoft SQL Server", _tcp("1433")),
    "Mail": ("Mail (SMTP, SMTPS, submission)", _tcp("25", "465", "587")),
    "Munin": ("Munin", _tcp("4949")),
    "MySQL": ("MySQL", _tcp("3306")),
    "NNTP": ("Network News Transfer Protocol", _tcp("119")),
    "NNTPS": ("Network News Transfer Protocol over TLS", _tcp("563")),
    "NTP": ("Network Time Protocol", _udp("123")),
    "OSPF": ("Open Shortest Path First", (Part("ospf"),)),
    "OpenVPN": ("OpenVPN", _udp("1194")),
    "POP3": ("Post Office Protocol", _tcp("110")),
    "POP3S": ("Post Office Protocol over TLS", _tcp("995")),
    "PPtP": ("Point-to-Point Tunneling Protocol", (Part("gre"), Part("tcp", "1723"))),
    "Ping": ("ICMP echo request", (Part("icmp", "echo-request"),)),
    "PostgreSQL": ("PostgreSQL", _tcp("5432")),
    "Printer": ("Line printer protocol", _tcp("515")),
    "RDP": ("Remote Desktop Protocol", _tcp("3389")),
    "RIP": ("Routing Information Protocol", _udp("520")),
    "RNDC": ("BIND remote control", _tcp("953")),
    "Rdate": ("Remote time (rdate)", _tcp("37")),
    "Rsync": ("Rsync server", _tcp("873")),
    "SANE": ("SANE network scanning", _tcp("6566")),
    "SMB": ("Windows file sharing", _udp("135", "445", "137:139") + _tcp("135", "139", "445")),
    "SMTP": ("Simple Mail Transfer Protocol", _tcp("25")),
    "SMTPS": ("Simple Mail Transfer Protocol over TLS", _tcp("465")),
    "SNMP": ("Simple Network Management Protocol", _udp("161:162") + _tcp("161")),
    "SPAMD": ("SpamAssassin daemon", _tcp("783")),
    "SPICEproxy": ("Proxmox VE SPICE proxy", _tcp("3128")),
    "SSH": ("Secure shell", _tcp("22")),
    "SVN": ("Subversion server", _tcp("3690")),
    "Squid": ("Squid web proxy", _tcp("3128")),
    "Submission": ("Mail submission", _tcp("587")),
    "Syslog": ("Syslog (RFC 5424)", _both("514")),
    "TFTP": ("Trivial File Transfer Protocol", _udp("69")),
    "Telnet": ("Telnet", _tcp("23")),
    "Telnets": ("Telnet over TLS", _tcp("992")),
    "Time": ("Time (RFC 868)", _tcp("37")),
    "Trcrt": ("Traceroute", (Part("udp", "33434:33524"), Part("icmp", "echo-request"))),
    "VNC": ("VNC", _tcp("5900:5999")),
    "Web": ("HTTP and HTTPS", _tcp("80", "443")),
    "Webcache": ("Web cache", _tcp("8080")),
    "Webmin": ("Webmin", _tcp("10000")),
    "Whois": ("Whois (RFC 3912)", _tcp("43")),
}
"""Macro name to its description and what it stands for."""

_BY_LOWER = {name.lower(): name for name in MACROS}


def canonical(name: str) -> str | None:
    """The macro's name as it is written, whatever case it was asked for in; None when there is none."""
    return _BY_LOWER.get(name.lower())

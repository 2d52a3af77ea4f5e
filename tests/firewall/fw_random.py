"""Configurations of one guest made at random, and packets that meet their edges."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

from hypothesis import strategies as st

from tests.firewall.fw_naive import Packet
from zentoria_infra.firewall.config import (
    Alias,
    Configuration,
    Datacenter,
    Entry,
    Group,
    Guest,
    IpSet,
    Nic,
    Rule,
)

NIC = Nic("net0", "vmbr40", True, "BC:24:11:00:00:01", "10.0.0.5/24")
OTHER_NIC = Nic("net1", "vmbr0", True, "BC:24:11:00:00:02", "dhcp")

# Few addresses and ports, next to each other and to the ends of what rules name: so that edges are met.
LOWEST = str(ipaddress.IPv4Address(0))
ADDRESSES = [LOWEST, "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.1.0", "9.255.255.255",
             "127.255.255.255", "128.0.0.0", "255.255.255.255"]  # fmt: skip
CIDRS = ["10.0.0.5", "10.0.0.6", "10.0.0.4/30", "10.0.0.6/31", "10.0.0.0/29", "10.0.0.7/24", "10.0.0.0/8",
         "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0", "255.255.255.255"]  # fmt: skip
ALIASES = ["aa", "bb", "Cc", "d"]
SETS = ["s1", "s2"]
GROUPS = ["g1", "a-name-that-is-too-long"]
PORTS = [0, 1, 21, 22, 23, 53, 67, 68, 79, 80, 81, 443, 65534, 65535]

aliases = st.lists(
    st.builds(Alias, st.sampled_from(ALIASES), st.sampled_from(CIDRS)), max_size=4, unique_by=lambda one: one.name
).map(tuple)
entries = st.lists(
    st.builds(Entry, st.sampled_from([*CIDRS, "aa", "dc/bb", "guest/aa", "nowhere"]), st.booleans()), max_size=5
).map(tuple)


def ipsets(*names: str) -> st.SearchStrategy[tuple[IpSet, ...]]:
    return st.lists(st.builds(IpSet, st.sampled_from(names), entries), max_size=2, unique_by=lambda one: one.name).map(
        tuple
    )


names = st.builds(
    lambda plus, scope, name: plus + scope + name,
    st.just(""),
    st.sampled_from(["", "dc/", "guest/"]),
    st.sampled_from([*ALIASES[:3], "AA", "nowhere"]),
) | st.builds(
    lambda scope, name: f"+{scope}{name}", st.sampled_from(["", "dc/", "guest/"]), st.sampled_from([*SETS, "nowhere"])
)
literals = st.lists(st.sampled_from([*CIDRS, "10.0.0.5-10.0.0.7", "10.0.0.7-10.0.0.5"]), min_size=1, max_size=2).map(
    ",".join
)
far_ends = st.just("") | names | literals
port_lists = st.lists(
    st.sampled_from([str(port) for port in PORTS] + ["http", "22:80", "0:65535", "80:22", "65535:65536"]),
    min_size=1,
    max_size=3,
).map(",".join) | st.just(",".join(["1:2"] * 8))
plain_services = st.one_of(
    st.just({}),
    st.builds(
        lambda proto, dport: {"proto": proto, "dport": dport},
        st.sampled_from(["tcp", "udp", "6", "gre", ""]),
        st.just("") | port_lists,
    ),
    st.sampled_from(
        [
            {"proto": "icmp"},
            {"proto": "icmp", "dport": "echo-request"},
            {"proto": "icmp", "icmp_type": "3"},
            {"proto": "icmp", "icmp_type": "3/4"},
            {"proto": "icmpv6"},
            {"macro": "SSH"},
            {"macro": "dns"},
            {"macro": "Ping"},
            {"macro": "Web"},
        ]
    ),
)
source_ports = st.builds(
    lambda proto, dport, sport: {"proto": proto, "dport": dport, "sport": sport},
    st.sampled_from(["tcp", "udp", "gre", "icmp"]),
    st.just("") | port_lists,
    port_lists,
) | st.just({"macro": "DHCPfwd"})


def rules(wide: bool, group: bool = False) -> st.SearchStrategy[Rule]:
    """Rules whose meaning the model holds exactly; ``wide`` those as well that it only encloses."""
    direction = st.sampled_from(["in", "out"])

    def made(kind: str, far: str, near: str, services: dict[str, str], **more: Any) -> Rule:
        source, dest = (far, near) if kind == "in" else (near, far)
        return Rule(kind, source=source, dest=dest, **services, **more)  # type: ignore[arg-type]  # in or out

    plain = st.builds(
        made,
        direction,
        far_ends,
        far_ends if wide else st.just(""),
        plain_services | source_ports if wide else plain_services,
        action=st.sampled_from(["ACCEPT", "ACCEPT", "DROP", "REJECT", "accept"]),
        enable=st.sampled_from([True, True, True, False]),
        iface=st.just("") if group else st.sampled_from(["", "", "net0", "net1"]),
    )
    if group:
        return plain
    taken = st.builds(
        Rule, st.just("group"), st.sampled_from([*GROUPS, "g1", "missing"]), st.booleans(),
        st.sampled_from(["", "net0", "net1"]),
    )  # fmt: skip
    return plain | plain | taken


options = st.fixed_dictionaries(
    {"enable": st.sampled_from(["1"] * 9 + ["0"])},
    optional={
        "policy_in": st.sampled_from(["ACCEPT", "DROP", "REJECT"]),
        "policy_out": st.sampled_from(["ACCEPT", "DROP", "REJECT"]),
        "dhcp": st.sampled_from(["0", "1"]),
        "ipfilter": st.sampled_from(["0", "1"]),
        "macfilter": st.sampled_from(["0", "1"]),
        "ndp": st.sampled_from(["0", "1"]),
    },
)


def configurations(wide: bool) -> st.SearchStrategy[Configuration]:
    datacenter = st.builds(
        Datacenter,
        st.sampled_from([{"enable": "1"}] * 9 + [{}]),
        aliases,
        ipsets(*SETS),
        st.lists(
            st.builds(Group, st.sampled_from(GROUPS), st.lists(rules(wide, group=True), max_size=4).map(tuple)),
            min_size=1,
            max_size=2,
            unique_by=lambda one: one.name,
        ).map(tuple),
    )
    guest = st.builds(
        Guest,
        st.just(100),
        st.just("one"),
        st.just("pve"),
        st.just((NIC, OTHER_NIC)) | st.just((dataclasses.replace(NIC, firewall=False), OTHER_NIC)),
        options,
        aliases,
        ipsets(*SETS, "ipfilter-net0", "ipfilter-net1"),
        st.lists(rules(wide), max_size=6).map(tuple),
    )
    return st.builds(lambda dc, one: Configuration(dc, (), (one,)), datacenter, guest)


SERVICES = [
    {"protocol": 6, "dport": 0},
    {"protocol": 6, "dport": 22},
    {"protocol": 6, "dport": 80, "sport": 22},
    {"protocol": 6, "dport": 443},
    {"protocol": 6, "dport": 65535},
    {"protocol": 17, "dport": 53},
    {"protocol": 17, "dport": 67, "sport": 68},
    {"protocol": 17, "dport": 68, "sport": 67},
    {"protocol": 17, "dport": 67, "sport": 67},
    {"protocol": 47},
    {"protocol": 1, "icmp": (8, 0)},
    {"protocol": 1, "icmp": (3, 3)},
    {"protocol": 1, "icmp": (3, 4)},
    {"protocol": 1, "icmp": (11, 0)},
]


def packets(direction: str, near: list[str]) -> list[Packet]:
    """Every service to or from every address."""
    return [
        Packet(own, other, **each) if direction == "out" else Packet(other, own, **each)  # type: ignore[arg-type]  # fields by name
        for own in near
        for other in ADDRESSES
        for each in SERVICES
    ]  # the values of SERVICES are of several types

"""An inventory becomes the firewall's objects: default deny, and a pair of rules for each flow."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest
from fw_inventories import GATEWAY, REPOSITORY, container, flow, inventory, port, words
from hypothesis import given, settings
from hypothesis import strategies as st

from zentoria_infra.errors import InventoryError
from zentoria_infra.firewall.compile import GUEST_OPTIONS, compile_firewall
from zentoria_infra.firewall.config import Configuration, Guest, Nic, Node, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.firewall.intent import Compiled, Intent, Kind
from zentoria_infra.firewall.layout import COMMON_GROUP, DENY_GROUP, port_lists
from zentoria_infra.firewall.parties import INTERNET, parties_of
from zentoria_infra.firewall.prove import prove
from zentoria_infra.inventory.flows import expand_flows
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Container, Flow, Inventory
from zentoria_infra.plan.from_inventory import desired_containers

DENY = ["IN DROP zt/deny/in", "OUT DROP zt/deny/out"]
GUEST_SITE = {"firewall": {"objects": "guest"}}
LAYOUTS = pytest.mark.parametrize("objects", ["datacenter", "guest"])


def rules(compiled: Compiled, name: str) -> list[str]:
    return [words(rule) for rule in guest(compiled.configuration, name).rules]


def guest(configuration: Configuration, name: str) -> Guest:
    (found,) = (one for one in configuration.guests if one.name == name)
    return found


def sets(one: Any) -> dict[str, list[str]]:
    """IP sets as ``!10.10.32.0/20`` by name."""
    return {found.name: ["!" * entry.nomatch + entry.cidr for entry in found.entries] for found in one.ipsets}


def shipped(objects: str = "datacenter") -> Inventory:
    return load(REPOSITORY, overrides={"firewall": {"objects": objects}})


A = container(1, "a", port(80))
B = container(2, "b", port(5432), port(6432), port("9300-9301"), port(53, protocol="udp"))
C = container(3, "c")
PROXY = container(8, "proxy", port(80), port(443))
STATIC = container(
    8, "proxy", port(80), port(443), public={"address": "192.0.2.10/24", "gateway": "192.0.2.1"}
)  # fmt: skip
LEASED = container(8, "proxy", port(80), port(443), public={"address": "dhcp"})
EXPOSED = flow("internet", "proxy", 80, 443, row=1)


def egress(*to: str, ports: tuple[int, ...] = (443,), **more: Any) -> tuple[dict[str, Any], ...]:
    return ({"to": to, "ports": ports, "purpose": "Outside"} | more,)


def egress_container(*entries: dict[str, Any], **more: Any) -> Container:
    return container(1, "a", egress=entries, **more)


@pytest.mark.parametrize(
    ("containers", "flows", "site", "expected"),
    [
        pytest.param([A], [], {}, {"a": []}, id="nothing"),
        pytest.param(
            [A, B],
            [flow("a", "b", 6432, 5432, row=7)],
            {},
            {
                "a": ["OUT ACCEPT net0 > dc/zt-b tcp 5432,6432 zt/row-7/a/b/tcp"],
                "b": ["IN ACCEPT net0 < dc/zt-a tcp 5432,6432 zt/row-7/a/b/tcp"],
            },
            id="one rule at each end, all ports of a flow in it",
        ),
        pytest.param(
            [A, B],
            [flow("a", "b", "9300-9301", 9302), flow("a", "b", 53, protocol="udp")],
            {},
            {
                "a": [
                    "OUT ACCEPT net0 > dc/zt-b tcp 9300:9302 zt/derived/a/b/tcp",
                    "OUT ACCEPT net0 > dc/zt-b udp 53 zt/derived/a/b/udp",
                ],
                "b": [
                    "IN ACCEPT net0 < dc/zt-a tcp 9300:9302 zt/derived/a/b/tcp",
                    "IN ACCEPT net0 < dc/zt-a udp 53 zt/derived/a/b/udp",
                ],
            },
            id="touching intervals are one; protocols are apart",
        ),
        pytest.param(
            [A, B],
            [flow("a", "b", 5432), flow("a", "b", 6432), flow("a", "b", 9300)],
            {},
            {
                "a": [
                    "OUT ACCEPT net0 > dc/zt-b tcp 5432 zt/derived/a/b/tcp",
                    "OUT ACCEPT net0 > dc/zt-b tcp 6432 zt/derived/a/b/tcp-2",
                    "OUT ACCEPT net0 > dc/zt-b tcp 9300 zt/derived/a/b/tcp-3",
                ]
            },
            id="several derived flows of a pair",
        ),
        pytest.param(
            [PROXY, A],
            [EXPOSED],
            {},
            {"proxy": ["IN ACCEPT net0 < +dc/zt-internet tcp 80,443 zt/row-1/internet/proxy/tcp"], "a": []},
            id="from the internet, one NIC",
        ),
        pytest.param(
            [STATIC, A],
            [EXPOSED, flow("proxy", "a", 80)],
            {},
            {
                "proxy": [
                    "IN ACCEPT net1 < +dc/zt-internet tcp 80,443 zt/row-1/internet/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-a tcp 80 zt/derived/proxy/a/tcp",
                ],
                "a": ["IN ACCEPT net0 < dc/zt-proxy tcp 80 zt/derived/proxy/a/tcp"],
            },
            id="from the internet, a public NIC",
        ),
        pytest.param(
            [LEASED],
            [EXPOSED],
            {},
            {
                "proxy": [
                    "IN ACCEPT net1 < +dc/zt-internet tcp 80,443 zt/row-1/internet/proxy/tcp",
                    "OUT ACCEPT net1 > +dc/zt-internet udp 68: 67 zt/lease/proxy/udp/67",
                    "IN ACCEPT net1 < +dc/zt-internet udp 67: 68 zt/lease/proxy/udp/68",
                ]
            },
            id="a public NIC with DHCP",
        ),
        pytest.param(
            [egress_container(*egress("one.example", "two.example", "198.51.100.7"))],
            [],
            {},
            {
                "a": [
                    "OUT ACCEPT net0 > +dc/zt-internet tcp 443 zt/egress/a/tcp/443",
                    f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/dns/a/udp",
                    f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/dns/a/tcp",
                ]
            },
            id="egress to names",
        ),
        pytest.param(
            [egress_container(*egress("198.51.100.7", "198.51.100.9", ports=(25, 465)))],
            [],
            {},
            {
                "a": [
                    "OUT ACCEPT net0 > 198.51.100.7 tcp 25,465 zt/egress/a/tcp/25/198.51.100.7",
                    "OUT ACCEPT net0 > 198.51.100.9 tcp 25,465 zt/egress/a/tcp/25/198.51.100.9",
                ]
            },
            id="egress to addresses needs no DNS",
        ),
        pytest.param(
            [egress_container(*egress("one.example", "10.10.33.1"))],
            [],
            {"dns": {"nameservers": ("198.51.100.53", GATEWAY, "198.51.100.53")}},
            {
                "a": [
                    "OUT ACCEPT net0 > +dc/zt-internet tcp 443 zt/egress/a/tcp/443",
                    "OUT ACCEPT net0 > 10.10.33.1 tcp 443 zt/egress/a/tcp/443/10.10.33.1",
                    "OUT ACCEPT net0 > 198.51.100.53 udp 53 zt/dns/a/udp",
                    "OUT ACCEPT net0 > 198.51.100.53 tcp 53 zt/dns/a/tcp",
                    f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/dns/a/udp-2",
                    f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/dns/a/tcp-2",
                ]
            },
            id="egress to a name and to an address of our network, several name servers",
        ),
        pytest.param(
            [egress_container(*egress("one.example"), *egress("two.example"), *egress("ntp.example", protocol="udp"))],
            [],
            {},
            {
                "a": [
                    "OUT ACCEPT net0 > +dc/zt-internet tcp 443 zt/egress/a/tcp/443",
                    "OUT ACCEPT net0 > +dc/zt-internet tcp 443 zt/egress/a/tcp/443-2",
                    "OUT ACCEPT net0 > +dc/zt-internet udp 443 zt/egress/a/udp/443",
                    f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/dns/a/udp",
                    f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/dns/a/tcp",
                ]
            },
            id="several egress entries",
        ),
        pytest.param(
            [
                container(
                    8, "proxy", egress=egress("any"), public={"address": "192.0.2.10/24", "gateway": "192.0.2.1"}
                ),
                container(2, "b"),
            ],
            [],
            {"dns": {"nameservers": ("192.0.2.53", "10.10.40.2")}},
            {
                "proxy": [
                    "OUT ACCEPT net1 > +dc/zt-internet tcp 443 zt/egress/proxy/tcp/443",
                    "OUT ACCEPT net1 > 192.0.2.53 udp 53 zt/dns/proxy/udp",
                    "OUT ACCEPT net1 > 192.0.2.53 tcp 53 zt/dns/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-b udp 53 zt/dns/proxy/udp-2",
                    "OUT ACCEPT net0 > dc/zt-b tcp 53 zt/dns/proxy/tcp-2",
                ],
                "b": [
                    "IN ACCEPT net0 < dc/zt-proxy udp 53 zt/dns/proxy/udp-2",
                    "IN ACCEPT net0 < dc/zt-proxy tcp 53 zt/dns/proxy/tcp-2",
                ],
            },
            id="the NIC with the way there; a name server that is a container",
        ),
    ],
)
def test_rules_of_the_datacenter_layout(
    containers: list[Container], flows: list[Flow], site: dict[str, Any], expected: dict[str, list[str]]
) -> None:
    compiled = compile_firewall(inventory(containers, flows, **site))
    for name, lines in expected.items():
        assert rules(compiled, name) == [*lines, "GROUP zt-deny zt/group/deny"]
    assert [group.name for group in compiled.configuration.datacenter.groups] == [DENY_GROUP]


def test_the_whole_of_a_small_inventory() -> None:
    compiled = compile_firewall(
        inventory([STATIC, A], [EXPOSED], proxmox={"host": "203.0.113.1", "node": "pve", "nodes": {"a": "pve2"}})
    )
    datacenter = compiled.configuration.datacenter
    assert datacenter.options == {"enable": "1"}
    assert [(alias.name, alias.cidr) for alias in datacenter.aliases] == [
        ("zt-a", "10.10.40.1"),
        ("zt-proxy", "10.10.40.8"),
    ]
    ours = ["!10.10.32.0/20", "!203.0.113.1", "!192.0.2.10"]
    assert sets(datacenter) == {"zt-internet": ["0.0.0.0/1", "128.0.0.0/1", *ours]}
    (deny,) = datacenter.groups
    assert [words(rule) for rule in deny.rules] == DENY
    assert compiled.configuration.nodes == (Node("pve"), Node("pve2"))
    first, second = compiled.configuration.guests
    assert (first.vmid, first.name, first.node, first.options) == (401, "a", "pve2", GUEST_OPTIONS)
    assert first.nics == (Nic("net0", "vmbr40", True, "BC:24:11:00:04:01", "10.10.40.1/20"),)
    assert sets(first) == {"ipfilter-net0": ["10.10.40.1"]}
    assert second.nics == (
        Nic("net0", "vmbr40", True, "BC:24:11:00:04:08", "10.10.40.8/20"),
        Nic("net1", "vmbr0", True, "BE:24:11:00:04:08", "192.0.2.10/24"),
    )
    assert sets(second) == {"ipfilter-net0": ["10.10.40.8"], "ipfilter-net1": ["192.0.2.10"]}


@pytest.mark.parametrize(
    ("public", "default"),
    [
        (None, "net0"),
        ({"address": "192.0.2.10/24"}, "net0"),
        ({"address": "192.0.2.10/24", "gateway": "192.0.2.1", "mac": "be:24:11:00:00:99"}, "net1"),
        ({"address": "dhcp"}, "net1"),
    ],
)
def test_nics_are_those_of_the_plan(public: dict[str, str] | None, default: str) -> None:
    """Bridge, address, hardware address and switch; and what is for the internet goes where the default route goes."""
    small = inventory([container(8, "proxy", public=public, egress=egress("any"))], [EXPOSED])
    (planned,) = desired_containers(small)
    compiled = compile_firewall(small)
    assert guest(compiled.configuration, "proxy").nics == tuple(
        Nic(key, net["bridge"], net["firewall"] == "1", net["hwaddr"], net["ip"]) for key, net in planned.nets.items()
    )
    (outward,) = (intent for intent in compiled.intents if intent.kind is Kind.EGRESS)
    assert outward.source_nic == default
    assert {key for key, net in planned.nets.items() if "gw" in net} <= {default}


def test_every_default_that_leaks_is_closed() -> None:
    assert GUEST_OPTIONS == {
        "enable": "1", "policy_in": "DROP", "policy_out": "DROP", "dhcp": "0", "ipfilter": "1", "macfilter": "1",
        "ndp": "0", "radv": "0",
    }  # fmt: skip


def test_a_public_nic_with_dhcp_may_use_any_source_that_is_not_ours() -> None:
    one = guest(compile_firewall(inventory([LEASED], [EXPOSED])).configuration, "proxy")
    assert sets(one)["ipfilter-net1"] == ["0.0.0.0/1", "128.0.0.0/1", "!10.10.32.0/20"]
    assert one.nics[1].ip == "dhcp"


class TestShared:
    """Rules that every guest has are in a group."""

    CONTAINERS = (
        container(1, "logs", port(3100), port(9100, "metrics")),
        container(2, "a", port(9100, "metrics"), port(9187, "metrics")),
        container(3, "b", port(9100, "metrics")),
    )
    FLOWS = (flow("logs", "all", row=34, exposes=("metrics",)), flow("all", "logs", 3100))

    def test_what_all_have_is_in_the_group_and_the_rest_at_the_guest(self) -> None:
        compiled = compile_firewall(inventory([*self.CONTAINERS], [*self.FLOWS]))
        common, _ = compiled.configuration.datacenter.groups
        assert common.name == COMMON_GROUP
        assert [words(rule) for rule in common.rules] == [
            "IN ACCEPT < dc/zt-logs tcp 9100 zt/row-34/logs/all/tcp",
            "OUT ACCEPT > dc/zt-logs tcp 3100 zt/derived/all/logs/tcp",
        ]
        take, last = "GROUP zt-common net0 zt/group/common", "GROUP zt-deny zt/group/deny"
        assert rules(compiled, "a") == [take, "IN ACCEPT net0 < dc/zt-logs tcp 9187 zt/row-34/logs/a/tcp", last]
        assert rules(compiled, "b") == [take, last]
        assert rules(compiled, "logs") == [
            take,
            "OUT ACCEPT net0 > dc/zt-a tcp 9100,9187 zt/row-34/logs/a/tcp",
            "OUT ACCEPT net0 > dc/zt-b tcp 9100 zt/row-34/logs/b/tcp",
            "IN ACCEPT net0 < dc/zt-a tcp 3100 zt/derived/a/logs/tcp",
            "IN ACCEPT net0 < dc/zt-b tcp 3100 zt/derived/b/logs/tcp",
            last,
        ]
        assert {intent.key for intent in compiled.intents} == {
            "zt/row-34/logs/a/tcp",
            "zt/row-34/logs/b/tcp",
            "zt/derived/a/logs/tcp",
            "zt/derived/b/logs/tcp",
        }
        assert {"zt/row-34/logs/all/tcp", "zt/derived/all/logs/tcp"} <= compiled.positions.keys()

    @pytest.mark.parametrize(
        ("containers", "flows"),
        [
            pytest.param(CONTAINERS, FLOWS[1:], id="a single rule"),
            pytest.param((*CONTAINERS, C), FLOWS, id="one that exposes nothing leaves one rule"),
            pytest.param(
                (*CONTAINERS[:2], container(3, "b", port(9999, "metrics"))), FLOWS, id="no port that all have"
            ),
            pytest.param(CONTAINERS[:2], FLOWS, id="nobody to share with"),
            pytest.param(
                CONTAINERS,
                [flow("logs", name, 9100) for name in "ab"] + [flow(name, "logs", 3100) for name in "ab"],
                id="flows that name their ends",
            ),
        ],
    )
    def test_no_group_without_need(self, containers: tuple[Container, ...], flows: list[Flow]) -> None:
        compiled = compile_firewall(inventory([*containers], [*flows]))
        assert [group.name for group in compiled.configuration.datacenter.groups] == [DENY_GROUP]

    def test_all_to_all(self) -> None:
        compiled = compile_firewall(inventory([*self.CONTAINERS], [flow("all", "all", exposes=("metrics",))]))
        common, _ = compiled.configuration.datacenter.groups
        assert sorted(words(rule) for rule in common.rules) == sorted(
            [f"IN ACCEPT < dc/zt-{name} tcp 9100 zt/derived/{name}/all/tcp" for name in ("logs", "a", "b")]
            + [
                "OUT ACCEPT > dc/zt-logs tcp 9100 zt/derived/all/logs/tcp",
                "OUT ACCEPT > dc/zt-a tcp 9100,9187 zt/derived/all/a/tcp",
                "OUT ACCEPT > dc/zt-b tcp 9100 zt/derived/all/b/tcp",
            ]
        )

    def test_the_internet_gets_in_only_where_it_is_said(self) -> None:
        """Of a flow from the internet to all, one guest has its rule at the public NIC: its other NIC stays shut."""
        containers = [STATIC, *self.CONTAINERS[1:]]
        flows = [flow("internet", "all", exposes=("metrics", "api")), flow("all", "a", 9187), flow("all", "b", 9100)]
        compiled = compile_firewall(inventory(containers, flows))
        shared = compiled.configuration.datacenter.groups[0].rules
        assert not [rule for rule in shared if "internet" in rule.source]


def test_guest_layout_keeps_everything_in_the_guests() -> None:
    compiled = compile_firewall(
        inventory([PROXY, B], [EXPOSED, flow("proxy", "b", 5432)], firewall={"objects": "guest", "log": "info"})
    )
    datacenter = compiled.configuration.datacenter
    assert (datacenter.options, datacenter.aliases, datacenter.ipsets, datacenter.groups) == ({}, (), (), ())
    deny = ["IN DROP log=info zt/deny/in", "OUT DROP log=info zt/deny/out"]
    assert rules(compiled, "proxy") == [
        "IN ACCEPT net0 < +guest/zt-internet tcp 80,443 zt/row-1/internet/proxy/tcp",
        "OUT ACCEPT net0 > 10.10.40.2 tcp 5432 zt/derived/proxy/b/tcp",
        *deny,
    ]
    assert rules(compiled, "b") == ["IN ACCEPT net0 < 10.10.40.8 tcp 5432 zt/derived/proxy/b/tcp", *deny]
    proxy, other = (sets(guest(compiled.configuration, name)) for name in ("proxy", "b"))
    assert proxy["zt-internet"] == ["0.0.0.0/1", "128.0.0.0/1", "!10.10.32.0/20"]
    assert other == {"ipfilter-net0": ["10.10.40.2"]}


def test_log_level_is_in_the_group_that_denies() -> None:
    (deny,) = compile_firewall(inventory([A], [], firewall={"log": "warning"})).configuration.datacenter.groups
    assert [words(rule) for rule in deny.rules] == [
        "IN DROP log=warning zt/deny/in",
        "OUT DROP log=warning zt/deny/out",
    ]


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        pytest.param(
            f"http://{GATEWAY}:3128", [f"OUT ACCEPT net0 > {GATEWAY} tcp 3128 zt/opening/a/tcp"], id="address"
        ),
        pytest.param(
            "https://cache.example",
            [
                "OUT ACCEPT net0 > +dc/zt-internet tcp 443 zt/opening/a/tcp",
                f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/opening/a/dns/udp",
                f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/opening/a/dns/tcp",
            ],
            id="name",
        ),
        pytest.param(
            None,
            [
                "OUT ACCEPT net0 > +dc/zt-internet tcp 80,443 zt/opening/a/tcp",
                f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/opening/a/dns/udp",
                f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/opening/a/dns/tcp",
            ],
            id="none",
        ),
        pytest.param("http://10.10.40.2:3142", ["OUT ACCEPT net0 > dc/zt-b tcp 3142 zt/opening/a/tcp"], id="container"),
    ],
)
def test_an_opening_is_for_one_container_and_its_package_sources(proxy: str | None, expected: list[str]) -> None:
    small = inventory([A, B], [flow("a", "b", 5432)], **({"proxy": proxy} if proxy else {}))
    closed, opened = compile_firewall(small), compile_firewall(small, openings=[401])
    more = [line for line in rules(opened, "a") if line not in rules(closed, "a")]
    assert more == expected
    assert rules(opened, "a")[-1] == "GROUP zt-deny zt/group/deny"
    gained = [intent for intent in opened.intents if intent not in closed.intents]
    assert {intent.kind for intent in gained} == {Kind.OPENING}
    at_b = [line for line in rules(opened, "b") if line not in rules(closed, "b")]
    inside = "IN ACCEPT net0 < dc/zt-a tcp 3142 zt/opening/a/tcp"
    assert at_b == ([inside] if proxy == "http://10.10.40.2:3142" else [])
    assert compile_firewall(small, openings=[]) == closed


def test_an_opening_of_nobody() -> None:
    with pytest.raises(KeyError):
        compile_firewall(inventory([A], []), openings=[999])


def test_egress_is_no_way_around_zones_yaml() -> None:
    small = inventory([egress_container(*egress("10.10.40.2")), B], [])
    with pytest.raises(InventoryError, match=r"address of the container 'b'[\s\S]*write a flow from 'a' to 'b'"):
        compile_firewall(small)


@pytest.mark.parametrize(
    ("ports", "lists"),
    [
        pytest.param([1, 3, 5], ["1,3,5"], id="few"),
        pytest.param([*range(1, 31, 2)], [",".join(map(str, range(1, 31, 2)))], id="15"),
        pytest.param([*range(1, 33, 2)], [",".join(map(str, range(1, 31, 2))), "31"], id="16"),
        pytest.param(
            [f"{n}-{n + 1}" for n in range(10, 90, 10)],
            [",".join(f"{n}:{n + 1}" for n in range(10, 80, 10)), "80:81"],
            id="a range counts twice",
        ),
    ],
)
def test_long_lists_of_ports(ports: list[int | str], lists: list[str]) -> None:
    """PVE::Firewall refuses more than 15 numbers in a list, as iptables' multiport does."""
    compiled = compile_firewall(inventory([A, B], [flow("a", "b", *ports, row=9)]))
    (intent,) = compiled.intents
    keys = ["zt/row-9/a/b/tcp", *(f"zt/row-9/a/b/tcp/{n}" for n in range(2, len(lists) + 1))]
    expected = [f"OUT ACCEPT net0 > dc/zt-b tcp {one} {key}" for one, key in zip(lists, keys, strict=True)]
    assert rules(compiled, "a")[:-1] == expected
    assert all(compiled.positions[key] == intent.position for key in keys[1:])


def test_purpose_is_one_line() -> None:
    compiled = compile_firewall(inventory([A, B], [flow("a", "b", 5432, purpose="One\n  two # three")]))
    assert guest(compiled.configuration, "a").rules[0].comment == "zt/derived/a/b/tcp One two # three"


class TestShipped:
    """The inventory that is shipped."""

    @LAYOUTS
    def test_every_flow_has_its_intents_and_no_intent_is_without_a_flow(self, objects: str) -> None:
        whole = shipped(objects)
        compiled = compile_firewall(whole)
        ports = {
            (intent.key.split("/")[1], intent.source, intent.destination, intent.protocol, number)
            for intent in compiled.intents
            if intent.kind is Kind.FLOW
            for first, last in intent.ports
            for number in range(first, last + 1)
        }
        assert ports == {
            (f"row-{one.row}" if one.row else "derived", one.source, one.destination, one.protocol, number)
            for one in expand_flows(whole)
            for number in range(one.first, one.last + 1)
        }
        rows = {intent.origin for intent in compiled.intents if intent.origin.startswith("row ")}
        assert rows == {f"row {number}" for number in range(1, 36)}
        derived = {flow.origin for flow in whole.flows if flow.derived}
        assert derived == {intent.origin for intent in compiled.intents if intent.origin.startswith("derived")}

    def test_positions_are_lines_that_say_so(self) -> None:
        compiled = compile_firewall(shipped())
        lines = (REPOSITORY / "zones.yaml").read_text().splitlines()
        flows = [intent for intent in compiled.intents if intent.kind is Kind.FLOW]
        assert {intent.position.file for intent in flows} == {"zones.yaml"}
        assert all(re.match(r"\s*(ports|exposes):", lines[intent.position.line - 1]) for intent in flows)
        (outside,) = (intent for intent in compiled.intents if intent.key == "zt/egress/auth/tcp/443")
        text = (REPOSITORY / outside.position.file).read_text().splitlines()[outside.position.line - 1]
        assert "accounts.google.com" in text
        assert compiled.positions["404"].file == "inventory/containers/404-db.yaml"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (
                "db",
                [
                    "GROUP zt-common net0 zt/group/common",
                    "IN ACCEPT net0 < dc/zt-backend tcp 5432,6432 zt/row-7/backend/db/tcp",
                    "IN ACCEPT net0 < dc/zt-n8n tcp 5432 zt/row-17/n8n/db/tcp",
                    "IN ACCEPT net0 < dc/zt-ai tcp 5432 zt/row-23/ai/db/tcp",
                    "IN ACCEPT net0 < dc/zt-ocr tcp 5432 zt/row-30/ocr/db/tcp",
                    "IN ACCEPT net0 < dc/zt-embeddings tcp 5432 zt/row-32/embeddings/db/tcp",
                    "IN ACCEPT net0 < dc/zt-backup tcp 5432 zt/row-33/backup/db/tcp",
                    "IN ACCEPT net0 < dc/zt-logs tcp 9187 zt/row-34/logs/db/tcp",
                    "IN ACCEPT net0 < dc/zt-auth tcp 5432,6432 zt/derived/auth/db/tcp",
                    "GROUP zt-deny zt/group/deny",
                ],
            ),
            (
                "backend",
                [
                    "GROUP zt-common net0 zt/group/common",
                    "IN ACCEPT net0 < dc/zt-proxy tcp 4000:4001 zt/row-3/proxy/backend/tcp",
                    "IN ACCEPT net0 < dc/zt-frontend tcp 4000:4001 zt/row-6/frontend/backend/tcp",
                    "OUT ACCEPT net0 > dc/zt-db tcp 5432,6432 zt/row-7/backend/db/tcp",
                    "OUT ACCEPT net0 > dc/zt-redis tcp 6379 zt/row-8/backend/redis/tcp",
                    "OUT ACCEPT net0 > dc/zt-vault tcp 8200 zt/row-9/backend/vault/tcp",
                    "OUT ACCEPT net0 > dc/zt-ai tcp 5000,11434 zt/row-10/backend/ai/tcp",
                    "OUT ACCEPT net0 > dc/zt-files tcp 9000 zt/row-11/backend/files/tcp",
                    "OUT ACCEPT net0 > dc/zt-auth tcp 9000 zt/row-12/backend/auth/tcp",
                    "OUT ACCEPT net0 > dc/zt-embeddings tcp 6333,8100 zt/row-13/backend/embeddings/tcp",
                    "OUT ACCEPT net0 > dc/zt-voice tcp 9300:9301 zt/row-14/backend/voice/tcp",
                    "OUT ACCEPT net0 > dc/zt-ocr tcp 8000:8001 zt/row-15/backend/ocr/tcp",
                    "IN ACCEPT net0 < dc/zt-n8n tcp 4000 zt/row-16/n8n/backend/tcp",
                    "IN ACCEPT net0 < dc/zt-logs tcp 4000 zt/row-34/logs/backend/tcp",
                    "OUT ACCEPT net0 > dc/zt-n8n tcp 5678 zt/derived/backend/n8n/tcp",
                    "IN ACCEPT net0 < dc/zt-embeddings tcp 4000 zt/derived/embeddings/backend/tcp",
                    "OUT ACCEPT net0 > +dc/zt-internet tcp 443 zt/egress/backend/tcp/443",
                    f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/dns/backend/udp",
                    f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/dns/backend/tcp",
                    "GROUP zt-deny zt/group/deny",
                ],
            ),
            (
                "proxy",
                [
                    "GROUP zt-common net0 zt/group/common",
                    "IN ACCEPT net0 < +dc/zt-internet tcp 80,443 zt/row-1/internet/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-frontend tcp 3000 zt/row-2/proxy/frontend/tcp",
                    "OUT ACCEPT net0 > dc/zt-backend tcp 4000:4001 zt/row-3/proxy/backend/tcp",
                    "OUT ACCEPT net0 > dc/zt-n8n tcp 5678 zt/row-4/proxy/n8n/tcp",
                    "OUT ACCEPT net0 > dc/zt-logs tcp 3001,9090 zt/row-5/proxy/logs/tcp",
                    "IN ACCEPT net0 < dc/zt-logs tcp 9113 zt/row-34/logs/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-waf tcp 7422,8080 zt/derived/proxy/waf/tcp",
                    "OUT ACCEPT net0 > dc/zt-docs tcp 8080 zt/derived/proxy/docs/tcp",
                    "OUT ACCEPT net0 > dc/zt-auth tcp 9000 zt/derived/proxy/auth/tcp",
                    "OUT ACCEPT net0 > +dc/zt-internet tcp 443 zt/egress/proxy/tcp/443",
                    f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/dns/proxy/udp",
                    f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/dns/proxy/tcp",
                    "GROUP zt-deny zt/group/deny",
                ],
            ),
        ],
    )
    def test_exact_rules(self, name: str, expected: list[str]) -> None:
        assert rules(compile_firewall(shipped()), name) == expected

    def test_the_shared_rules(self) -> None:
        common, deny = compile_firewall(shipped()).configuration.datacenter.groups
        assert [words(rule) for rule in common.rules] == [
            "IN ACCEPT < dc/zt-logs tcp 9100 zt/row-34/logs/all/tcp",
            "OUT ACCEPT > dc/zt-logs tcp 3100 zt/derived/all/logs/tcp",
        ]
        assert [words(rule) for rule in deny.rules] == DENY

    @LAYOUTS
    def test_is_the_same_every_time(self, objects: str) -> None:
        assert compile_firewall(shipped(objects)) == compile_firewall(shipped(objects))


def every_rule(configuration: Configuration) -> list[Rule]:
    groups = [rule for group in configuration.datacenter.groups for rule in group.rules]
    return [*groups, *(rule for one in configuration.guests for rule in one.rules)]


def check_shape(compiled: Compiled) -> None:
    """What holds for every compiled firewall, whatever it was made from."""
    configuration = compiled.configuration
    keys = [intent.key for intent in compiled.intents]
    assert len(keys) == len(set(keys))
    for rule in every_rule(configuration):
        key = identity(rule.comment)
        assert key in compiled.positions or key in set(keys)
        assert rule.enable
        assert rule.action in ("ACCEPT", "DROP", COMMON_GROUP, DENY_GROUP)
        assert rule.action != "ACCEPT" or (rule.proto and rule.dport and (rule.source or rule.dest))
        weight = sum(2 if ":" in part else 1 for part in rule.dport.split(",") if part)
        assert weight <= 15
    for one in (*configuration.guests, *configuration.datacenter.groups):
        named = Counter((rule.type, identity(rule.comment)) for rule in one.rules)
        assert max(named.values(), default=1) == 1, "identity and type tell a rule of a list from all others"
    for guest in configuration.guests:
        assert guest.options == GUEST_OPTIONS
        assert {nic.firewall for nic in guest.nics} == {True}
        assert {f"ipfilter-{nic.key}" for nic in guest.nics} <= {ipset.name for ipset in guest.ipsets}
        assert str(guest.vmid) in compiled.positions
    datacenter = configuration.datacenter
    assert all(len(group.name) <= 18 for group in datacenter.groups)
    name = re.compile(r"[A-Za-z][A-Za-z0-9\-_]+")
    for thing in (
        *datacenter.aliases,
        *datacenter.ipsets,
        *(ipset for one in configuration.guests for ipset in one.ipsets),
    ):
        assert name.fullmatch(thing.name) and len(thing.name) <= 64
        assert identity(thing.comment) in compiled.positions
    aliases = {alias.name for alias in datacenter.aliases}
    for rule in every_rule(configuration):
        for peer in (rule.source, rule.dest):
            if peer.startswith("dc/"):
                assert peer.removeprefix("dc/") in aliases


@LAYOUTS
def test_shape_of_the_shipped_inventory(objects: str) -> None:
    check_shape(compile_firewall(shipped(objects), openings=[404, 408]))


NAMES = "abcdef"


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Up to six containers, with flows of every form."""
    ports = st.lists(
        st.sampled_from([22, 80, 443, 3100, "4000-4001", "4001-4005", 9100]), min_size=1, max_size=4, unique=True
    )
    kinds = st.sampled_from(["data", "api", "ui", "metrics"])
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    public = draw(st.sampled_from([None, {"address": "dhcp"}, {"address": "192.0.2.7/24", "gateway": "192.0.2.1"}]))
    containers = []
    for number, name in enumerate(names):
        exposed = draw(st.lists(st.sampled_from([80, 443, "4000-4002", 9100, 9187]), max_size=4, unique=True))
        listen = [port(one, draw(kinds), draw(st.sampled_from(["tcp", "udp"]))) for one in exposed]
        more: dict[str, Any] = {"public": public} if number == 0 else {}
        if draw(st.booleans()):
            more["egress"] = egress(*draw(st.sampled_from([("any",), ("198.51.100.1",), ("x.example", "10.10.33.3")])))
        containers.append(container(number + 1, name, *listen, **more))
    flows = []
    for number in range(draw(st.integers(0, 6))):
        source = draw(st.sampled_from([*names, "all", "internet"]))
        target = draw(st.sampled_from([*names, "all"]))
        if source == target != "all":
            continue
        form = {"row": number + 1} if draw(st.booleans()) else {}
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        if draw(st.booleans()):
            flows.append(flow(source, target, *draw(ports), protocol=protocol, **form))
        else:
            flows.append(flow(source, target, exposes=(draw(kinds),), protocol=protocol, **form))
    objects = draw(st.sampled_from(["datacenter", "guest"]))
    proxy = draw(st.sampled_from([{}, {"proxy": "http://10.10.47.254:3128"}, {"proxy": "http://cache.example:80"}]))
    return inventory(containers, flows, firewall={"objects": objects}, **proxy)


@settings(max_examples=150, deadline=None)
@given(inventories(), st.data())
def test_every_intent_has_its_rule_at_each_end_and_every_rule_its_intent(whole: Inventory, data: st.DataObject) -> None:
    vmids = [one.vmid for one in whole.containers]
    compiled = compile_firewall(whole, openings=data.draw(st.sets(st.sampled_from(vmids))))
    check_shape(compiled)
    configuration = compiled.configuration
    groups = {group.name: group.rules for group in configuration.datacenter.groups}
    aliases = {f"dc/{alias.name}": alias.cidr for alias in configuration.datacenter.aliases}
    addresses = {one.name: str(one.address) for one in whole.containers}

    def ends(one: Guest) -> Counter[tuple[str, str, str, str, str]]:
        """Everything that a guest's rules accept, port by port."""
        found: Counter[tuple[str, str, str, str, str]] = Counter()
        for rule in one.rules:
            inner = groups[rule.action] if rule.type == "group" else (rule,)
            for each in inner:
                if each.action != "ACCEPT":
                    continue
                peer = each.source or each.dest
                peer = INTERNET if peer.endswith("zt-internet") else aliases.get(peer, peer)
                for part in each.dport.split(","):
                    first, _, last = part.partition(":")
                    for number in range(int(first), int(last or first) + 1):
                        found[each.type, each.iface or rule.iface, peer, each.proto, str(number)] += 1
        return found

    def wanted(one: Guest) -> Counter[tuple[str, str, str, str, str]]:
        found: Counter[tuple[str, str, str, str, str]] = Counter()
        for intent in compiled.intents:
            for kind, name, nic, peer in (
                ("out", intent.source, intent.source_nic, intent.destination),
                ("in", intent.destination, intent.destination_nic, intent.source),
            ):
                if name == one.name and nic:
                    for first, last in intent.ports:
                        for number in range(first, last + 1):
                            found[kind, nic, addresses.get(peer, peer), intent.protocol, str(number)] += 1
        return found

    for one in configuration.guests:
        # A guest that takes in a group has there the flow with itself, which is no traffic on its NIC.
        own = {key: count for key, count in ends(one).items() if key[2] != addresses[one.name]}
        assert own == dict(wanted(one))


@settings(max_examples=150, deadline=None)
@given(inventories(), st.data())
def test_what_is_compiled_is_proven(whole: Inventory, data: st.DataObject) -> None:
    vmids = [one.vmid for one in whole.containers]
    compiled = compile_firewall(whole, openings=data.draw(st.sets(st.sampled_from(vmids))))
    assert prove(compiled, parties_of(whole)).differences == ()


@LAYOUTS
@pytest.mark.parametrize("openings", [(), (404, 408)])
@pytest.mark.parametrize(
    "site",
    [
        {},
        {"proxmox": {"host": "192.0.2.1"}},
        {"proxy": "http://10.10.47.254:3128"},
        {"containers": {"proxy": {"public": {"address": "dhcp"}}}},
        {"containers": {"proxy": {"public": {"address": "192.0.2.10/24", "gateway": "192.0.2.1"}}}},
        {"containers": {"proxy": {"public": {"address": "192.0.2.10/24"}}}, "proxmox": {"host": "192.0.2.1"}},
    ],
    ids=["as shipped", "known node", "package proxy", "public DHCP", "public static", "public without gateway"],
)
def test_shipped_inventory_is_proven(objects: str, openings: tuple[int, ...], site: dict[str, Any]) -> None:
    whole = load(REPOSITORY, overrides=site | {"firewall": {"objects": objects}})
    proof = prove(compile_firewall(whole, openings), parties_of(whole))
    assert proof.differences == ()
    assert proof.pairs >= 17 * 16 + 2 * 17 * 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 9)), max_size=60))
def test_port_lists_lose_nothing_and_fit(starts: list[tuple[int, int]]) -> None:
    ports = tuple((first, min(first + more, 65535)) for first, more in starts)
    lists = [*port_lists(ports)]
    assert tuple(one for part in lists for one in part) == ports
    assert all(0 < sum(1 if first == last else 2 for first, last in part) <= 15 for part in lists)


@LAYOUTS
def test_a_thousand_containers_and_ten_thousand_flows(objects: str) -> None:
    ports = (port(80), port(9100, "metrics"))
    containers = [
        container(0, f"c{n}", *ports, vmid=1000 + n, address=f"10.10.{32 + n // 200}.{1 + n % 200}")
        for n in range(1000)
    ]
    flows = [flow(f"c{n % 1000}", f"c{(n * 7 + 1 + n // 1000) % 1000}", 80) for n in range(10_000)]
    flows = [one for one in flows if one.source != one.destination]
    flows += [flow("c0", "all", exposes=("metrics",)), flow("all", "c1", 80)]
    whole = inventory(containers, flows, firewall={"objects": objects})
    begin = time.process_time()  # not the clock of a busy machine
    compiled = compile_firewall(whole)
    assert time.process_time() - begin < 10
    assert len(compiled.intents) > 11_000


def test_intents_tell_all_about_themselves() -> None:
    compiled = compile_firewall(inventory([A, B], [flow("a", "b", 5432, row=7, purpose="Database")]))
    (intent,) = compiled.intents
    assert intent == Intent(
        key="zt/row-7/a/b/tcp",
        kind=Kind.FLOW,
        source="a",
        destination="b",
        protocol="tcp",
        ports=((5432, 5432),),
        source_nic="net0",
        destination_nic="net0",
        position=intent.position,
        origin="row 7",
        purpose="Database",
    )

"""An inventory becomes the firewall's objects: default deny, and a pair of rules for each flow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.firewall.fw_compiled import DENY, egress, guest, rules, sets
from tests.firewall.fw_inventories import GATEWAY, container, flow, inventory, port, words
from zentoria_infra.errors import InventoryError
from zentoria_infra.firewall.compiled.compile import GUEST_OPTIONS, compile_firewall
from zentoria_infra.firewall.compiled.intent import Kind
from zentoria_infra.firewall.compiled.parties import NOT_PUBLIC
from zentoria_infra.firewall.config import Nic, Node
from zentoria_infra.inventory.model import Container, Flow
from zentoria_infra.plan.from_inventory import desired_containers

A = container(1, "a", port(80))
B = container(2, "b", port(5432), port(6432), port("9300-9301"), port(53, protocol="udp"))
C = container(3, "c")
PROXY = container(8, "proxy", port(80), port(443))
STATIC = container(
    8, "proxy", port(80), port(443), public={"address": "192.0.2.10/24", "gateway": "192.0.2.1"}
)  # fmt: skip
LEASED = container(8, "proxy", port(80), port(443), public={"address": "dhcp"})
EXPOSED = flow("internet", "proxy", 80, 443, row=1)


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
                "a": ["OUT ACCEPT net0 > dc/zt-small_b tcp 5432,6432 zt/row-7/a/b/tcp"],
                "b": ["IN ACCEPT net0 < dc/zt-small_a tcp 5432,6432 zt/row-7/a/b/tcp"],
            },
            id="one rule at each end, all ports of a flow in it",
        ),
        pytest.param(
            [A, B],
            [flow("a", "b", "9300-9301", 9302), flow("a", "b", 53, protocol="udp")],
            {},
            {
                "a": [
                    "OUT ACCEPT net0 > dc/zt-small_b tcp 9300:9302 zt/derived/a/b/tcp",
                    "OUT ACCEPT net0 > dc/zt-small_b udp 53 zt/derived/a/b/udp",
                ],
                "b": [
                    "IN ACCEPT net0 < dc/zt-small_a tcp 9300:9302 zt/derived/a/b/tcp",
                    "IN ACCEPT net0 < dc/zt-small_a udp 53 zt/derived/a/b/udp",
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
                    "OUT ACCEPT net0 > dc/zt-small_b tcp 5432 zt/derived/a/b/tcp",
                    "OUT ACCEPT net0 > dc/zt-small_b tcp 6432 zt/derived/a/b/tcp-2",
                    "OUT ACCEPT net0 > dc/zt-small_b tcp 9300 zt/derived/a/b/tcp-3",
                ]
            },
            id="several derived flows of a pair",
        ),
        pytest.param(
            [PROXY, A],
            [EXPOSED],
            {},
            {"proxy": ["IN ACCEPT net0 < +dc/zt-small_outside tcp 80,443 zt/row-1/internet/proxy/tcp"], "a": []},
            id="from the internet, one NIC",
        ),
        pytest.param(
            [STATIC, A],
            [EXPOSED, flow("proxy", "a", 80)],
            {},
            {
                "proxy": [
                    "IN ACCEPT net1 < +dc/zt-small_outside tcp 80,443 zt/row-1/internet/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-small_a tcp 80 zt/derived/proxy/a/tcp",
                ],
                "a": ["IN ACCEPT net0 < dc/zt-small_proxy tcp 80 zt/derived/proxy/a/tcp"],
            },
            id="from the internet, a public NIC",
        ),
        pytest.param(
            [LEASED],
            [EXPOSED],
            {},
            {
                "proxy": [
                    "IN ACCEPT net1 < +dc/zt-small_outside tcp 80,443 zt/row-1/internet/proxy/tcp",
                    "OUT ACCEPT net1 > +dc/zt-small_outside udp 68: 67 zt/lease/proxy/udp/67",
                    "IN ACCEPT net1 < +dc/zt-small_outside udp 67: 68 zt/lease/proxy/udp/68",
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
                    "OUT ACCEPT net0 > +dc/zt-small_internet tcp 443 zt/egress/a/tcp/443",
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
                    "OUT ACCEPT net0 > +dc/zt-small_internet tcp 443 zt/egress/a/tcp/443",
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
                    "OUT ACCEPT net0 > +dc/zt-small_internet tcp 443 zt/egress/a/tcp/443",
                    "OUT ACCEPT net0 > +dc/zt-small_internet tcp 443 zt/egress/a/tcp/443-2",
                    "OUT ACCEPT net0 > +dc/zt-small_internet udp 443 zt/egress/a/udp/443",
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
                    "OUT ACCEPT net1 > +dc/zt-small_internet tcp 443 zt/egress/proxy/tcp/443",
                    "OUT ACCEPT net1 > 192.0.2.53 udp 53 zt/dns/proxy/udp",
                    "OUT ACCEPT net1 > 192.0.2.53 tcp 53 zt/dns/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-small_b udp 53 zt/dns/proxy/udp-2",
                    "OUT ACCEPT net0 > dc/zt-small_b tcp 53 zt/dns/proxy/tcp-2",
                ],
                "b": [
                    "IN ACCEPT net0 < dc/zt-small_proxy udp 53 zt/dns/proxy/udp-2",
                    "IN ACCEPT net0 < dc/zt-small_proxy tcp 53 zt/dns/proxy/tcp-2",
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
        assert rules(compiled, name) == [*lines, "GROUP zt-small_deny zt/group/deny"]
    assert [group.name for group in compiled.configuration.datacenter.groups] == ["zt-small_deny"]


def test_the_whole_of_a_small_inventory() -> None:
    compiled = compile_firewall(
        inventory([STATIC, A], [EXPOSED], proxmox={"host": "203.0.113.1", "node": "pve", "nodes": {"a": "pve2"}})
    )
    datacenter = compiled.configuration.datacenter
    assert datacenter.options == {"enable": "1"}
    assert [(alias.name, alias.cidr) for alias in datacenter.aliases] == [
        ("zt-small_a", "10.10.40.1"),
        ("zt-small_proxy", "10.10.40.8"),
    ]
    ours = ["!10.10.32.0/20", "!203.0.113.1", "!192.0.2.10"]
    private = [f"!{cidr}" for cidr in NOT_PUBLIC]
    assert sets(datacenter) == {
        "zt-small_internet": ["0.0.0.0/1", "128.0.0.0/1", *private, *ours[1:]],
        "zt-small_outside": ["0.0.0.0/1", "128.0.0.0/1", *ours],
        "zt-small_guests": ["10.10.40.8", "10.10.40.1"],
    }
    assert [words(rule) for rule in datacenter.rules] == [
        f"IN ACCEPT < +dc/zt-small_guests > 10.10.47.254 {protocol} 53"
        f" zt/site:small/node/10.10.47.254/{protocol}/53/guests"
        for protocol in ("udp", "tcp")
    ]
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
        assert common.name == "zt-small_common"
        assert [words(rule) for rule in common.rules] == [
            "IN ACCEPT < dc/zt-small_logs tcp 9100 zt/row-34/logs/all/tcp",
            "OUT ACCEPT > dc/zt-small_logs tcp 3100 zt/derived/all/logs/tcp",
        ]
        take, last = "GROUP zt-small_common net0 zt/group/common", "GROUP zt-small_deny zt/group/deny"
        assert rules(compiled, "a") == [take, "IN ACCEPT net0 < dc/zt-small_logs tcp 9187 zt/row-34/logs/a/tcp", last]
        assert rules(compiled, "b") == [take, last]
        assert rules(compiled, "logs") == [
            take,
            "OUT ACCEPT net0 > dc/zt-small_a tcp 9100,9187 zt/row-34/logs/a/tcp",
            "OUT ACCEPT net0 > dc/zt-small_b tcp 9100 zt/row-34/logs/b/tcp",
            "IN ACCEPT net0 < dc/zt-small_a tcp 3100 zt/derived/a/logs/tcp",
            "IN ACCEPT net0 < dc/zt-small_b tcp 3100 zt/derived/b/logs/tcp",
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
        assert [group.name for group in compiled.configuration.datacenter.groups] == ["zt-small_deny"]

    def test_all_to_all(self) -> None:
        compiled = compile_firewall(inventory([*self.CONTAINERS], [flow("all", "all", exposes=("metrics",))]))
        common, _ = compiled.configuration.datacenter.groups
        assert sorted(words(rule) for rule in common.rules) == sorted(
            [f"IN ACCEPT < dc/zt-small_{name} tcp 9100 zt/derived/{name}/all/tcp" for name in ("logs", "a", "b")]
            + [
                "OUT ACCEPT > dc/zt-small_logs tcp 9100 zt/derived/all/logs/tcp",
                "OUT ACCEPT > dc/zt-small_a tcp 9100,9187 zt/derived/all/a/tcp",
                "OUT ACCEPT > dc/zt-small_b tcp 9100 zt/derived/all/b/tcp",
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
        "IN ACCEPT net0 < +guest/zt-outside tcp 80,443 zt/row-1/internet/proxy/tcp",
        "OUT ACCEPT net0 > 10.10.40.2 tcp 5432 zt/derived/proxy/b/tcp",
        *deny,
    ]
    assert rules(compiled, "b") == ["IN ACCEPT net0 < 10.10.40.8 tcp 5432 zt/derived/proxy/b/tcp", *deny]
    proxy, other = (sets(guest(compiled.configuration, name)) for name in ("proxy", "b"))
    assert proxy["zt-outside"] == ["0.0.0.0/1", "128.0.0.0/1", "!10.10.32.0/20"]
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
                "OUT ACCEPT net0 > +dc/zt-small_internet tcp 443 zt/opening/a/tcp",
                f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/opening/a/dns/udp",
                f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/opening/a/dns/tcp",
            ],
            id="name",
        ),
        pytest.param(
            None,
            [
                "OUT ACCEPT net0 > +dc/zt-small_internet tcp 80,443 zt/opening/a/tcp",
                f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/opening/a/dns/udp",
                f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/opening/a/dns/tcp",
            ],
            id="none",
        ),
        pytest.param(
            "http://10.10.40.2:3142", ["OUT ACCEPT net0 > dc/zt-small_b tcp 3142 zt/opening/a/tcp"], id="container"
        ),
    ],
)
def test_an_opening_is_for_one_container_and_its_package_sources(proxy: str | None, expected: list[str]) -> None:
    small = inventory([A, B], [flow("a", "b", 5432)], **({"proxy": proxy} if proxy else {}))
    closed, opened = compile_firewall(small), compile_firewall(small, openings=[401])
    more = [line for line in rules(opened, "a") if line not in rules(closed, "a")]
    assert more == expected
    assert rules(opened, "a")[-1] == "GROUP zt-small_deny zt/group/deny"
    gained = [intent for intent in opened.intents if intent not in closed.intents]
    assert {intent.kind for intent in gained} == {Kind.OPENING}
    at_b = [line for line in rules(opened, "b") if line not in rules(closed, "b")]
    inside = "IN ACCEPT net0 < dc/zt-small_a tcp 3142 zt/opening/a/tcp"
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
    expected = [f"OUT ACCEPT net0 > dc/zt-small_b tcp {one} {key}" for one, key in zip(lists, keys, strict=True)]
    assert rules(compiled, "a")[:-1] == expected
    assert all(compiled.positions[key] == intent.position for key in keys[1:])


def test_purpose_is_one_line() -> None:
    compiled = compile_firewall(inventory([A, B], [flow("a", "b", 5432, purpose="One  two # three")]))
    assert guest(compiled.configuration, "a").rules[0].comment == "zt/derived/a/b/tcp One two # three"

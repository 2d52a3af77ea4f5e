"""What holds for the firewall that any inventory is compiled to."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firewall.fw_compiled import LAYOUTS, egress, shipped
from tests.firewall.fw_inventories import REPOSITORY, container, flow, inventory, port
from zentoria_infra.firewall.compiled.compile import GUEST_OPTIONS, compile_firewall
from zentoria_infra.firewall.compiled.intent import Compiled, Intent, Kind
from zentoria_infra.firewall.compiled.parties import INTERNET, OUTSIDE, parties_of
from zentoria_infra.firewall.config import Configuration, Guest, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.firewall.sets.port_lists import port_lists
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory

A = container(1, "a", port(80))
B = container(2, "b", port(5432), port(6432), port("9300-9301"), port(53, protocol="udp"))


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
        assert rule.action in ("ACCEPT", "DROP", *(group.name for group in configuration.datacenter.groups))
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
                for what in (INTERNET, OUTSIDE):
                    peer = what if peer in (f"+dc/zt-small_{what}", f"+guest/zt-{what}") else peer
                peer = aliases.get(peer, peer)
                for part in each.dport.split(","):
                    first, _, last = part.partition(":")
                    for number in range(int(first), int(last or first) + 1):
                        found[each.type, each.iface or rule.iface, peer, each.proto, str(number)] += 1
        return found

    def wanted(one: Guest) -> Counter[tuple[str, str, str, str, str]]:
        found: Counter[tuple[str, str, str, str, str]] = Counter()
        for intent in compiled.intents:
            for kind, name, nic, peer in (
                ("out", intent.source, intent.source_nic, intent.far("out")),
                ("in", intent.destination, intent.destination_nic, intent.far("in")),
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

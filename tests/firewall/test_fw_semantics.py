"""The evaluator over sets against a naive one for single packets, on configurations made at random; and the corners."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firewall.fw_naive import Packet, Skipped, address_matches, in_set, passes
from tests.firewall.fw_random import ADDRESSES, CIDRS, NIC, configurations, far_ends, packets
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Entry, Group, Guest, IpSet, Nic, Rule
from zentoria_infra.firewall.proof.semantics import Filter, nic_filter
from zentoria_infra.firewall.sets.addresses import Objects
from zentoria_infra.firewall.sets.services import InvalidRuleError, span, text
from zentoria_infra.firewall.sets.table import Table
from zentoria_infra.inventory.spans import meets, normal


def number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def service(packet: Packet) -> int:
    port = packet.icmp[0] * 256 + packet.icmp[1] if packet.protocol == 1 else packet.dport
    return span(packet.protocol, port)[0]


def holds(table: Table[Any], address: str, packet: Packet) -> bool:
    return meets(table.at(number(address)).services, ((service(packet), service(packet)),))


def verdicts(made: Filter, direction: str, packet: Packet) -> tuple[bool, bool]:
    """Whether such a packet may get through, and whether it must."""
    side = made.out if direction == "out" else made.in_
    address = packet.dest if direction == "out" else packet.source
    return holds(side.may, address, packet), holds(side.must, address, packet)


def spoofs(made: Filter, direction: str, packet: Packet) -> bool:
    return direction == "out" and not meets(made.sources, ((number(packet.source),) * 2,))


@settings(max_examples=150, deadline=None)
@given(configurations(wide=False), st.sampled_from(["in", "out"]))
def test_the_set_evaluator_agrees_with_the_naive_one(configuration: Configuration, direction: str) -> None:
    guest = configuration.guests[0]
    for nic in guest.nics:
        made = nic_filter(Objects(configuration.datacenter), guest, nic)
        for packet in packets(direction, ["10.0.0.5", "10.0.0.6"] if direction == "out" else ["10.0.0.5"]):
            got = passes(configuration, guest, nic, direction, packet)
            may, must = verdicts(made, direction, packet)
            ports = (packet.sport, packet.dport)
            if spoofs(made, direction, packet):
                assert not got or (ports == (68, 67) and may)
            elif ports == (67, 67):
                assert may or not got  # DHCP that is built in asks for source ports, which tables do not have
            else:
                assert may == must == got, (nic.key, packet)


@settings(max_examples=150, deadline=None)
@given(configurations(wide=True), st.sampled_from(["in", "out"]))
def test_rules_that_ask_for_more_are_enclosed(configuration: Configuration, direction: str) -> None:
    """Nothing gets through that is not in ``may``; what is in ``must`` does, to or from the guest's own address."""
    guest = configuration.guests[0]
    for nic in guest.nics:
        made = nic_filter(Objects(configuration.datacenter), guest, nic)
        for packet in packets(direction, ["10.0.0.5", "10.0.0.6", "255.255.255.255"]):
            got = passes(configuration, guest, nic, direction, packet)
            may, must = verdicts(made, direction, packet)
            assert may or not got or spoofs(made, direction, packet), (nic.key, packet)
            near = packet.source if direction == "out" else packet.dest
            if must and nic.key == "net0" and near == "10.0.0.5" and packet.dport not in (67, 68):
                assert got, (nic.key, packet)


@settings(max_examples=80, deadline=None)
@given(configurations(wide=True), st.sampled_from(["in", "out"]))
def test_what_decides_is_what_the_table_says(configuration: Configuration, direction: str) -> None:
    guest = configuration.guests[0]
    groups = {one.name: one.rules for one in configuration.datacenter.groups}
    for nic in guest.nics:
        made = nic_filter(Objects(configuration.datacenter), guest, nic)
        side = made.out if direction == "out" else made.in_
        for packet in packets(direction, ["10.0.0.5"]):
            address = packet.dest if direction == "out" else packet.source
            accepted, blame = side.decides(number(address), service(packet))
            assert accepted == verdicts(made, direction, packet)[1]
            assert blame is not None
            if blame.rule is not None:
                assert blame.rule.enable
                assert (blame.rule.action == "ACCEPT") == accepted
                assert blame.position is not None
                assert (groups[blame.group] if blame.group else guest.rules)[blame.position] is blame.rule


@settings(max_examples=300, deadline=None)
@given(configurations(wide=True), st.booleans(), far_ends)
def test_names_and_literals(configuration: Configuration, in_group: bool, text: str) -> None:
    """What a rule's source means, for a guest's rule and for a group's."""
    guest = None if in_group else configuration.guests[0]
    wanted: list[bool] | None
    try:
        wanted = [address_matches(configuration, guest, text, address) for address in ADDRESSES]
    except Skipped:
        wanted = None
    got: list[bool] | None
    try:
        found = Objects(configuration.datacenter).match(text, guest)
        assert found.upper == found.lower == normal(found.upper)
        got = [meets(found.upper, ((number(address),) * 2,)) for address in ADDRESSES]
    except InvalidRuleError:
        got = None
    assert got == wanted


@given(st.lists(st.builds(Entry, st.sampled_from(CIDRS), st.booleans()), max_size=9).map(tuple))
def test_the_longest_prefix_decides(some: tuple[Entry, ...]) -> None:
    guest = Guest(100, "one", "pve", ())
    found = Objects(Datacenter()).members(IpSet("s1", some), guest).upper
    wanted = [in_set(Configuration(), guest, some, address) for address in ADDRESSES]
    assert [meets(found, ((number(address),) * 2,)) for address in ADDRESSES] == wanted


def filter_of(*rules: Rule, nic: Nic = NIC, **more: Any) -> Filter:
    options = {"enable": "1", "policy_out": "DROP", "dhcp": "0", "ndp": "0", "ipfilter": "1", **more.pop("options", {})}
    datacenter = Datacenter({"enable": "1"}, **more.pop("datacenter", {}))
    guest = Guest(100, "one", "pve", (nic,), options, rules=rules, **more)
    return nic_filter(Objects(datacenter), guest, nic)


def six(made: Filter, direction: str) -> list[str]:
    return [text(services) for services, _ in (made.out if direction == "out" else made.in_).six]


LEAK6 = "icmpv6/1.0-3.255"


@pytest.mark.parametrize(
    ("rules", "options", "direction", "wanted"),
    [
        pytest.param((), {}, "in", [LEAK6], id="a policy that denies"),
        pytest.param((Rule("in", "DROP"),), {}, "in", [], id="an explicit denial"),
        pytest.param((Rule("in", "DROP", source="0.0.0.0/0"),), {}, "in", [LEAK6], id="a denial of IPv4 alone"),
        pytest.param((Rule("in", "ACCEPT", source="10.0.0.1"), Rule("in", "DROP")), {}, "in", [], id="an IPv4 source"),
        pytest.param((Rule("in", "ACCEPT", proto="icmp"), Rule("in", "DROP")), {}, "in", [], id="ICMP is IPv4"),
        pytest.param(
            (Rule("in", "ACCEPT", proto="tcp", dport="22"), Rule("in", "DROP")), {}, "in", ["tcp/22"], id="any source"
        ),
        pytest.param(
            (Rule("in", "ACCEPT", source="fe80::1", proto="udp"), Rule("in", "DROP")), {}, "in", ["udp"], id="IPv6"
        ),
        pytest.param(
            (Rule("in", "DROP", source="fe80::1"), Rule("in", "ACCEPT", proto="udp"), Rule("in", "DROP")),
            {}, "in", ["udp"], id="a denial of one address",
        ),
        pytest.param((Rule("in", "ACCEPT", proto="icmpv6"), Rule("in", "DROP")), {}, "in", ["icmpv6"], id="ICMPv6"),
        pytest.param((Rule("in", "DROP"),), {"ndp": "1"}, "in", ["icmpv6/133.0-136.255"], id="neighbour discovery"),
        pytest.param(
            (Rule("out", "DROP"),), {"ndp": "1"}, "out", ["icmpv6/router-solicitation, icmpv6/135.0-136.255"],
            id="neighbour discovery leaving",
        ),
        pytest.param(
            (Rule("out", "DROP"),), {"ndp": "1", "radv": "1"}, "out", ["icmpv6/133.0-136.255"], id="router advertising"
        ),
        pytest.param((Rule("out", "ACCEPT"),), {}, "out", ["any but icmpv6/router-advertisement"], id="all"),
        pytest.param((Rule("in", "DROP"),), {"dhcp": "1"}, "in", ["udp/546"], id="DHCP"),
    ],
)  # fmt: skip
def test_ipv6(rules: tuple[Rule, ...], options: dict[str, str], direction: str, wanted: list[str]) -> None:
    assert six(filter_of(*rules, options=options), direction) == wanted


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("in", "ACCEPT", source="dc/nobody"), "names alias 'nobody', which does not exist in the datacenter"),
        (Rule("in", "ACCEPT", source="+guest/s1"), "names IP set 's1', which does not exist in the guest's own file"),
        (Rule("in", "ACCEPT", source="10.0.0.300"), "has the address '10.0.0.300', which is none"),
        (Rule("in", "ACCEPT", source="10.0.0.1,fe80::1"), "has addresses of both IPv4 and IPv6"),
        (Rule("in", "accept"), "has the action 'accept', which does not exist"),
        (Rule("in", "ACCEPT", dport="22"), "has ports and no protocol"),
        (Rule("in", "ACCEPT", proto="gre", dport="22"), "has ports, and its protocol 'gre' has none"),
        (Rule("in", "ACCEPT", proto="tcp", dport="80:22"), "has the port range '80:22', which is backwards"),
        (Rule("in", "ACCEPT", proto="tcp", dport="70000"), "has the port '70000', which is above 65535"),
        (Rule("in", "ACCEPT", proto="tcp", dport="20-22"), "has the port '20-22', which is none"),
        (
            Rule("in", "ACCEPT", proto="tcp", dport=",".join(["1:2"] * 8)),
            "has more than 15 numbers in its list of ports",
        ),
        (Rule("in", "ACCEPT", proto="icmp", icmp_type="256"), "has the ICMP type '256', which does not exist"),
        (Rule("in", "ACCEPT", proto="300"), "has the protocol '300', which does not exist"),
        (Rule("in", "ACCEPT", proto="udp", icmp_type="8"), "has an ICMP type, and its protocol is 'udp'"),
    ],
)  # fmt: skip
def test_a_rule_with_a_mistake_vanishes(rule: Rule, words: str) -> None:
    made = filter_of(rule)
    assert [one.reason[: len(words)] for one in made.vanished] == [words]
    assert made.in_.may == filter_of().in_.may


@pytest.mark.parametrize(
    "rule",
    [
        Rule("in", "ACCEPT", macro="NotKnownHere"),
        Rule("in", "ACCEPT", macro="SSH", dport="23"),
        Rule("in", "ACCEPT", source="+sdn/zone"),
        Rule("in", "ACCEPT", source="+management", proto="tcp"),
        Rule("in", "ACCEPT", proto="tcp", dport="some-service"),
        Rule("in", "ACCEPT", proto="some-protocol"),
        Rule("in", "ACCEPT", proto="icmp", icmp_type="some-type"),
    ],
)
def test_what_only_the_node_knows_is_taken_for_the_worst(rule: Rule) -> None:
    """It may let anything through, and denies nothing."""
    accepting = filter_of(rule)
    assert meets(accepting.in_.may.at(0).services, ((span(6, 9)[0],) * 2,)) or rule.proto == "icmp"
    assert accepting.in_.must == filter_of().in_.must
    denying = filter_of(dataclasses.replace(rule, action="DROP"), Rule("in", "ACCEPT"))
    assert denying.in_.may.at(0).services == filter_of(Rule("in", "ACCEPT")).in_.may.at(0).services


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, ["10.0.0.5"]),
        ({"nic": dataclasses.replace(NIC, ip="dhcp")}, []),
        ({"ipsets": (IpSet("ipfilter-net0", (Entry("10.0.0.9"),)),)}, ["10.0.0.5", "10.0.0.9"]),
        ({"ipsets": (IpSet("ipfilter-net0"),), "options": {"ipfilter": "0"}}, ["10.0.0.5"]),
        ({"ipsets": (IpSet("ipfilter-net1", (Entry("10.0.0.9"),)),)}, ["10.0.0.5"]),
        ({"options": {"ipfilter": "0"}}, ["0.0.0.0-255.255.255.255"]),
        ({"options": {"enable": "0"}}, ["0.0.0.0-255.255.255.255"]),
    ],
)  # fmt: skip
def test_sources(more: dict[str, Any], wanted: list[str]) -> None:
    sources = filter_of(**more).sources
    words = ["-".join(str(ipaddress.IPv4Address(one)) for one in dict.fromkeys(each)) for each in sources]
    assert words == wanted


def test_switches_in_the_order_they_are_told() -> None:
    guest = Guest(100, "one", "pve", (NIC,), {"enable": "1"})
    off = dataclasses.replace(guest, options={})
    bare = dataclasses.replace(NIC, firewall=False)
    on, none = Configuration(Datacenter({"enable": "1"})), Configuration()
    assert nic_filter(Objects(none.datacenter), off, bare).off == "datacenter"
    assert nic_filter(Objects(on.datacenter), off, bare).off == "guest"
    assert nic_filter(Objects(on.datacenter), guest, bare).off == "nic"
    assert nic_filter(Objects(on.datacenter), guest, NIC).off == ""


SSH = Rule("in", "ACCEPT", proto="tcp", dport="22")
TAKE = Rule("group", "g1")
LONG = "a-name-that-is-too-long"


@pytest.mark.parametrize(
    ("taken", "inner", "wanted"),
    [
        pytest.param(TAKE, SSH, "tcp/22", id="taken in"),
        pytest.param(TAKE, dataclasses.replace(SSH, enable=False), "nothing", id="its rule disabled"),
        pytest.param(dataclasses.replace(TAKE, enable=False), SSH, "nothing", id="disabled"),
        pytest.param(dataclasses.replace(TAKE, iface="net0"), SSH, "tcp/22", id="for this NIC"),
        pytest.param(dataclasses.replace(TAKE, iface="net1"), SSH, "nothing", id="for another NIC"),
        pytest.param(Rule("group", "g2"), SSH, "nothing", id="missing"),
        pytest.param(Rule("group", LONG), SSH, "nothing", id="a name that is too long"),
        pytest.param(TAKE, dataclasses.replace(SSH, type="out"), "nothing", id="the other direction"),
        pytest.param(TAKE, dataclasses.replace(SSH, iface="net1"), "tcp/22", id="accepts for another NIC"),
        pytest.param(TAKE, dataclasses.replace(SSH, source="mine"), "nothing", id="a name of the guest"),
        pytest.param(TAKE, dataclasses.replace(SSH, source="ours"), "tcp/22", id="a name of the datacenter"),
    ],
)
def test_groups(taken: Rule, inner: Rule, wanted: str) -> None:
    everything = Entry("0.0.0.0/1"), Entry("128.0.0.0/1")
    made = filter_of(
        taken,
        Rule("in", "DROP"),
        aliases=(Alias("mine", "0.0.0.0/0"),),
        datacenter={
            "groups": (Group("g1", (inner,)), Group(LONG, (inner,))),
            "aliases": (Alias("ours", "0.0.0.0/0"),),
            "ipsets": (IpSet("all", everything),),
        },
    )
    assert {text(cell.services) for cell in made.in_.may.cells} == {wanted}


@pytest.mark.parametrize(
    ("rules", "may", "must"),
    [
        ((Rule("in", "ACCEPT", proto="tcp", dport="22", sport="22"), Rule("in", "DROP")), "tcp/22", "nothing"),
        ((Rule("in", "ACCEPT", proto="tcp", dport="22", sport="0:65535"), Rule("in", "DROP")), "tcp/22", "tcp/22"),
        ((Rule("in", "DROP", proto="tcp", sport="22"), SSH, Rule("in", "DROP")), "tcp/22", "nothing"),
        ((Rule("in", "ACCEPT", proto="udp", dport="68", sport="67"), Rule("in", "DROP")), "udp/68", "udp/68"),
        ((Rule("in", "ACCEPT", proto="tcp", dest="10.0.0.9"), Rule("in", "DROP")), "tcp", "nothing"),
        ((Rule("in", "ACCEPT", proto="tcp", dest="10.0.0.5"), Rule("in", "DROP")), "tcp", "tcp"),
        ((Rule("out", "ACCEPT", proto="tcp", source="10.0.0.9"), Rule("out", "DROP")), "nothing", "nothing"),
        ((Rule("out", "ACCEPT", proto="tcp", source="10.0.0.5"), Rule("out", "DROP")), "tcp", "tcp"),
        ((Rule("out", "DROP", source="10.0.0.5"), Rule("out", "ACCEPT", proto="tcp")), "nothing", "nothing"),
        ((Rule("in", "DROP", dest="10.0.0.5"), Rule("in", "ACCEPT")), "any", "nothing"),
    ],
)
def test_what_tables_do_not_have_is_enclosed(rules: tuple[Rule, ...], may: str, must: str) -> None:
    """Source ports, and addresses of the near end: more than the guest's own for packets that arrive."""
    made = filter_of(*rules)
    side = made.in_ if rules[0].type == "in" else made.out
    assert [text(cell.services) for cell in side.may.cells] == [may]
    assert [text(cell.services) for cell in side.must.cells] == [must]


LEAK = "icmp/fragmentation-needed, icmp/time-exceeded"


@pytest.mark.parametrize(
    ("options", "rules", "wanted"),
    [
        ({"enable": "yes"}, (), ("guest", "any", "any")),
        ({"enable": ""}, (), ("guest", "any", "any")),
        ({"policy_out": "drop"}, (), ("", "any", LEAK)),
        ({"policy_in": "accept"}, (), ("", LEAK, LEAK)),
        ({"dhcp": "no"}, (Rule("in", "DROP"), Rule("out", "DROP")), ("", "udp/67", "udp/68")),
    ],
)
def test_a_value_that_proxmox_does_not_know_is_passed_over(
    options: dict[str, str], rules: tuple[Rule, ...], wanted: tuple[str, str, str]
) -> None:
    """The default takes its place."""
    made = filter_of(*rules, options=options)
    leaving, arriving = text(made.out.may.at(0).services), text(made.in_.may.at(0).services)
    assert (made.off, leaving, arriving) == wanted

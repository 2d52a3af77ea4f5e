"""Inventories made at random, compiled and proven; and spoilt ones, where single packets show what a proof must see."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.firewall.fw_inventories import GATEWAY, container, flow, inventory, port
from tests.firewall.fw_naive import Packet, passes, source_is_right
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.intent import Compiled
from zentoria_infra.firewall.compiled.parties import Parties, parties_of
from zentoria_infra.firewall.config import Alias, Configuration, Entry, Guest, Rule
from zentoria_infra.firewall.proof.network import assumed
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.inventory.model import Inventory

NAMES = ["a", "b", "c"]
NODE = "192.0.2.10"
ADDRESSES = {"gateway": GATEWAY, "stranger": "10.10.45.1", "internet": "198.51.100.1", "node": NODE}

publics = st.sampled_from([None, None, {"address": "dhcp"}, {"address": "203.0.113.5/24", "gateway": "203.0.113.1"}])
egress = st.lists(
    st.sampled_from(
        [
            {"to": ("example.org",), "ports": ("443",), "purpose": "Names"},
            {"to": ("198.51.100.1",), "ports": ("8080-8081",), "purpose": "An address"},
        ]
    ),
    max_size=2,
).map(tuple)
flows = st.lists(
    st.tuples(
        st.sampled_from([*NAMES, "all", "internet"]),
        st.sampled_from([*NAMES, "all"]),
        st.lists(st.sampled_from(["80", "81-83", "9000", "443"]), min_size=1, max_size=2, unique=True),
        st.sampled_from(["tcp", "udp"]),
    ).filter(lambda one: one[0] != one[1] and (one[0], one[1]) != ("internet", "all")),
    max_size=5,
)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    containers = []
    for number, name in enumerate(NAMES, 1):
        more: dict[str, Any] = {"egress": draw(egress)}
        if number == 1 and (public := draw(publics)) is not None:
            more["public"] = public
        containers.append(container(number, name, port(80), port(9100, "metrics"), **more))
    site = {
        "firewall": {"objects": draw(st.sampled_from(["datacenter", "guest"])), "node_addresses": (NODE,)},
        "dns": {"nameservers": draw(st.sampled_from([(GATEWAY,), ("10.10.40.2",), ("198.51.100.1", GATEWAY)]))},
    }
    made = [flow(source, target, *ports, protocol=protocol) for source, target, ports, protocol in draw(flows)]
    return inventory(containers, made, **site)


def opened(draw: st.DataObject) -> list[int]:
    return draw.draw(st.lists(st.sampled_from([401, 402, 403]), unique=True))


@settings(max_examples=60, deadline=None)
@given(inventories(), st.data())
def test_what_is_compiled_is_proven(some: Inventory, data: st.DataObject) -> None:
    compiled = compile_firewall(some, opened(data))
    proof = prove(compiled, parties_of(some))
    assert [str(one) for one in proof.differences] == []


# Spoilt, and looked at packet by packet.

PORTS = [53, 67, 68, 79, 80, 81, 83, 84, 443, 8081, 9000, 9100]
SERVICES = [{"protocol": number, "dport": one} for number in (6, 17) for one in PORTS] + [
    {"protocol": 1, "icmp": (8, 0)},
    {"protocol": 1, "icmp": (11, 0)},
    {"protocol": 47},
]


def is_intended(compiled: Compiled, source: str, destination: str, nics: tuple[str, str], packet: Packet) -> bool:
    names = {6: "tcp", 17: "udp"}
    for one in compiled.intents:
        to = packet.dest if one.destination[0].isdigit() else destination
        if (
            (one.source, one.destination) == (source, to)
            and one.source_nic in ("", nics[0])
            and one.destination_nic in ("", nics[1])
            and names.get(packet.protocol) == one.protocol
            and any(first <= packet.dport <= last for first, last in one.ports)
        ):
            return True
    return False


def wrong(compiled: Compiled, state: Configuration, parties: Parties) -> list[str]:
    """Packets that get through and shall not, or the other way round, by the naive evaluator; on internal NICs."""
    guests = {guest.name: guest for guest in state.guests}
    addresses = ADDRESSES | {name: f"10.10.40.{number}" for number, name in enumerate(NAMES, 1)}
    found = []
    for source in addresses:
        for destination in addresses:
            if source == destination or not {source, destination} & guests.keys():
                continue
            for each in SERVICES:
                packet = Packet(addresses[source], addresses[destination], **each)  # type: ignore[arg-type]  # fields by name
                through = all(
                    passes(state, guests[name], guests[name].nics[0], direction, packet)
                    for name, direction in ((source, "out"), (destination, "in"))
                    if name in guests
                )
                if through != is_intended(compiled, source, destination, ("net0", "net0"), packet):
                    found.append(f"{source} -> {destination} {each} {'extra' if through else 'missing'}")
    for guest in guests.values():
        own = guest.nics[0].ip.split("/")[0]
        filtered = guest.options.get("enable") == "1" and guest.nics[0].firewall
        found += [
            f"{guest.name} as {address}"
            for address in addresses.values()
            if address != own and (not filtered or source_is_right(state, guest, guest.nics[0], address))
        ]
    return found


def _changed_rule(rule: Rule, how: str) -> Rule:
    match how:
        case "disabled":
            return dataclasses.replace(rule, enable=not rule.enable)
        case "wide":
            return dataclasses.replace(rule, dport="1:65535" if rule.proto else "")
        case "anybody":
            return dataclasses.replace(rule, source="", dest="")
        case "deny":
            return dataclasses.replace(rule, action="DROP" if rule.action == "ACCEPT" else "ACCEPT")
        case "elsewhere":
            return dataclasses.replace(rule, iface="net1")
        case _:
            return dataclasses.replace(rule, source="nobody" if rule.type == "in" else "", dest=rule.dest)


@st.composite
def spoils(draw: st.DrawFn, state: Configuration) -> Configuration:
    """One thing changed."""
    number = draw(st.integers(0, len(state.guests) - 1))
    guest = state.guests[number]
    what = draw(st.sampled_from(["rule", "rule", "rule", "drop", "order", "option", "nic", "alias", "group", "ipset"]))
    rules = list(guest.rules)
    at = draw(st.integers(0, max(len(rules) - 1, 0)))
    how = draw(st.sampled_from(["disabled", "wide", "anybody", "deny", "elsewhere", "lost"]))
    if what == "rule" and rules[at].type != "group":
        rules[at] = _changed_rule(rules[at], how)
    elif what == "drop":
        del rules[at]
    elif what == "order":
        rules.reverse()
    guest = dataclasses.replace(guest, rules=tuple(rules))
    if what == "option":
        key = draw(st.sampled_from(["enable", "policy_in", "policy_out", "dhcp", "ipfilter", "ndp"]))
        options = {**guest.options, key: draw(st.sampled_from(["0", "1", "ACCEPT"]))}
        guest = dataclasses.replace(guest, options=options)
    elif what == "nic":
        nics = tuple(dataclasses.replace(one, firewall=False) for one in guest.nics)
        guest = dataclasses.replace(guest, nics=nics)
    elif what == "ipset":
        entries = draw(st.sampled_from([(), (Entry("10.10.40.0/29"),)]))
        guest = dataclasses.replace(
            guest, ipsets=tuple(dataclasses.replace(one, entries=entries) for one in guest.ipsets)
        )
    datacenter = state.datacenter
    if what == "alias" and datacenter.aliases:
        gone = draw(st.booleans())
        first = () if gone else (Alias(datacenter.aliases[0].name, "10.10.40.0/28"),)
        datacenter = dataclasses.replace(datacenter, aliases=(*first, *datacenter.aliases[1:]))
    if what == "group" and datacenter.groups:
        group = datacenter.groups[-1]
        made = dataclasses.replace(group, rules=tuple(_changed_rule(one, how) for one in group.rules))
        datacenter = dataclasses.replace(datacenter, groups=(*datacenter.groups[:-1], made))
    guests: tuple[Guest, ...] = (*state.guests[:number], guest, *state.guests[number + 1 :])
    return dataclasses.replace(state, datacenter=datacenter, guests=guests)


@settings(max_examples=120, deadline=None)
@given(inventories(), st.data())
def test_a_wrong_packet_is_a_difference(some: Inventory, data: st.DataObject) -> None:
    compiled, parties = compile_firewall(some), parties_of(some)
    state = data.draw(spoils(assumed(compiled)))
    found = wrong(compiled, state, parties)
    proof = prove(compiled, parties, state)
    event(f"{'wrong' if found else 'right'} and {'holds' if proof.holds else 'does not hold'}")
    if found:
        assert not proof.holds, found[:5]
        kinds = {str(one.kind) for one in proof.differences}
        parties_by_address = {address: name for name, address in ADDRESSES.items()}
        if "unfiltered" not in kinds:
            for line in found:
                pair = line.split()[0], line.split()[2]
                kind = line.split()[-1]
                if kind in ("missing", "extra"):
                    told = {
                        (one.source, parties_by_address.get(one.destination, one.destination))
                        for one in proof.differences
                        if one.kind == kind
                    }
                    assert pair in told, (line, [str(one) for one in proof.differences])


@settings(max_examples=40, deadline=None)
@given(inventories())
def test_single_packets_agree_with_what_is_compiled(some: Inventory) -> None:
    """The naive evaluator finds nothing wrong either: what it is measured with below is right."""
    compiled = compile_firewall(some)
    assert wrong(compiled, assumed(compiled), parties_of(some)) == []

"""Corners of proof and comparison, on two containers with few rules."""

from __future__ import annotations

import dataclasses

import pytest

from tests.firewall.fw_pair import DENY, NETWORK, OPTIONS, configuration, guest, into, out, parties
from tests.firewall.fw_shipped import shipped, with_guest, with_rule
from tests.firewall.fw_spoilt import DB, FLOW
from zentoria_infra.firewall.change.transition import check_steps
from zentoria_infra.firewall.compiled.intent import Compiled, Intent, Kind
from zentoria_infra.firewall.compiled.parties import Attachment, Parties, Party
from zentoria_infra.firewall.config import Alias, Configuration, Entry, Group, Guest, IpSet, Nic, Rule
from zentoria_infra.firewall.proof.allowed import allowed
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.firewall.proof.trace import trace
from zentoria_infra.firewall.sets.services import text
from zentoria_infra.inventory.problems import Position

AT = Position("zones.yaml", 7, 3)


def intent(source: str, destination: str, port: int, source_nic: str = "net0", nic: str = "net0") -> Intent:
    return Intent(
        f"zt/row-1/{source}/{destination}/tcp", Kind.FLOW, source, destination, "tcp", ((port, port),), source_nic, nic,
        AT, "row 1", "Test",
    )  # fmt: skip


def found(state: Configuration, *intents: Intent, known: Parties | None = None) -> list[str]:
    """What a proof finds: kind, pair, services."""
    proof = prove(Compiled(state, intents, {}), known or parties())
    return [f"{one.kind} {one.source}>{one.destination} {one.services} @{one.vmid}" for one in proof.differences]


CLOSED = configuration(guest("a", *DENY), guest("b", *DENY))


def test_a_pair_is_told_once() -> None:
    state = configuration(guest("a", out("7"), *DENY), guest("b", into("7"), *DENY))
    assert found(state) == ["extra a>b tcp/7 @101"]
    assert found(state, intent("a", "b", 7)) == []


def test_a_pair_is_told_at_the_rule_and_not_at_the_policy() -> None:
    state = configuration(guest("a", options={**OPTIONS, "policy_out": "ACCEPT"}), guest("b", into("7"), *DENY))
    assert [line for line in found(state) if "a>b" in line] == ["extra a>b tcp/7 @102"]


def test_what_only_one_end_lets_through_is_held() -> None:
    assert found(configuration(guest("a", out("7"), *DENY), guest("b", *DENY))) == ["weakened a>b tcp/7 @101"]
    assert found(configuration(guest("a", *DENY), guest("b", into("7"), *DENY))) == ["weakened a>b tcp/7 @102"]
    absent = configuration(guest("a", out("7"), *DENY))
    assert found(absent) == ["weakened a>b tcp/7 @101"]


def test_both_ends_narrow_what_passes() -> None:
    state = configuration(guest("a", out("1,2"), *DENY), guest("b", into("2,3"), *DENY))
    assert {pair: text(services) for pair, services in allowed(state, parties()).pairs().items()} == {
        ("a", "b"): "tcp/2"
    }
    proof = prove(Compiled(state, (), {}), parties())
    assert (proof.intervals, proof.pairs, proof.not_judged) == (1, 2 + 2 * 2 * 3, 6)


def test_a_nic_that_the_inventory_does_not_know_is_judged_alone() -> None:
    """Nobody knows whom it meets: what it lets in from a is extra, although a does not send it on its own NIC."""
    nics = (*guest("b").nics, Nic("net1", "vmbr1", True, ip="10.0.0.9/24"))
    state = configuration(guest("a", *DENY), guest("b", into("7", iface="net1"), *DENY, nics=nics))
    assert found(state) == ["forged b> any @102", "extra a>b tcp/7 @102"]
    proof = prove(Compiled(state, (), {}), parties())
    assert "net1 of 102 is not in the inventory" in proof.differences[1].explanation


def test_a_nic_on_another_bridge_has_no_flows() -> None:
    """What is intended on its own bridge is let through on another, to whoever is there."""
    nics = (dataclasses.replace(guest("b").nics[0], bridge="vmbr9"),)
    state = configuration(guest("a", out("7"), *DENY), guest("b", into("7"), *DENY, nics=nics))
    assert found(state, intent("a", "b", 7)) == ["missing a>b tcp/7 @102", "extra a>b tcp/7 @102"]


def with_public_nics() -> Parties:
    """Both have a NIC on a bridge that is not ours."""
    known = parties()
    attachments = {
        name: (*attached, Attachment("net1", "vmbr0", ((100 + number,) * 2,)))
        for number, (name, attached) in enumerate(known.attachments.items())
    }
    containers = tuple(
        Party(name, tuple(sorted(span for one in attached for span in one.spans)))
        for name, attached in attachments.items()
    )
    internet = ((0, 99), (102, NETWORK[0] - 1), (NETWORK[1] + 1, 2**32 - 1))
    others = tuple(Party("internet", internet) if one.name == "internet" else one for one in known.others)
    return dataclasses.replace(known, attachments=attachments, containers=containers, others=others)


@pytest.mark.parametrize("source", ["10.0.0.1", "0.0.0.100"])
def test_on_a_public_bridge_anybody_may_be_a(source: str) -> None:
    nics = (*guest("b").nics, Nic("net1", "vmbr0", True, ip="0.0.0.101/24"))
    state = configuration(guest("a", *DENY), guest("b", into("7", source=source, iface="net1"), *DENY, nics=nics))
    assert found(state, known=with_public_nics()) == ["extra a>b tcp/7 @102"]
    proof = prove(Compiled(state, (), {}), with_public_nics())
    assert "on the bridge vmbr0 anybody may have the address of a" in proof.differences[0].explanation


def test_a_flow_through_another_nic_is_extra() -> None:
    """A rule without interface lets the flow's packets in at the public NIC too."""
    nics = (*guest("b").nics, Nic("net1", "vmbr0", True, ip="0.0.0.101/24"))
    state = configuration(guest("a", out("7"), *DENY), guest("b", into("7"), *DENY, nics=nics))
    assert found(state, intent("a", "b", 7), known=with_public_nics()) == ["extra a>b tcp/7 @102"]


def test_only_what_is_ours_vanishes() -> None:
    lost = Rule("in", "ACCEPT", source="dc/nobody", comment="zt/row-1/x/b/tcp Gone")
    by_hand = dataclasses.replace(lost, comment="mine")
    state = configuration(guest("a", *DENY), guest("b", lost, by_hand, *DENY))
    assert found(state) == ["vanished b>  @102"]
    groups = (Group("gg", (lost, by_hand)),)
    take = Rule("group", "gg")
    state = configuration(guest("a", take, *DENY), guest("b", take, *DENY), groups=groups)
    assert found(state) == ["vanished a>  @0"]  # once for the group


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"aliases": (Alias("x", "10.0.0.1", "zt/alias/x"),)}, "alias 'x' has a name that Proxmox refuses"),
        ({"aliases": (Alias("xx", "10.0.0.300", "zt/alias/x"),)}, "alias 'xx' stands for '10.0.0.300'"),
        ({"aliases": (Alias("x" * 65, "10.0.0.1", "zt/alias/x"),)}, "has a name that Proxmox refuses"),
        ({"ipsets": (IpSet("1x", (), "zt/x"),)}, "IP set '1x' has a name that Proxmox refuses"),
        ({"groups": (Group("g" * 19, (), "zt/x"),)}, "security group 'ggggggggggggggggggg' has a name"),
    ],
)
def test_objects_with_names_that_proxmox_refuses(more: dict[str, object], name: str) -> None:
    state = configuration(*CLOSED.guests, **more)
    proof = prove(Compiled(state, (), {}), parties())
    assert [(str(one.kind), one.source, one.vmid) for one in proof.differences] == [("vanished", "datacenter", 0)]
    assert name in proof.differences[0].explanation


def test_good_names_and_those_of_others_do_not_vanish() -> None:
    state = configuration(
        *CLOSED.guests,
        aliases=(Alias("xx", "10.0.0.1", "zt/alias/x"), Alias("y", "10.0.0.1", "mine")),
        ipsets=(IpSet("x" * 64, (), "zt/x"), IpSet("1x", (), "mine")),
        groups=(Group("g" * 18, (), "zt/x"), Group("h" * 19, (), "mine")),
    )
    assert found(state) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": "DROP"}, r"says DROP, not ACCEPT"),
        ({"dport": "9"}, r"lets only tcp/9 through"),
        ({"source": "dc/zt-home_n8n"}, r"lets nothing from 10.10.40.1 through: it says dc/zt-home_n8n"),
    ],
)
def test_what_is_the_matter_with_a_rule(change: dict[str, str], words: str) -> None:
    _, compiled, known = shipped()
    state = with_rule(compiled.configuration, DB, FLOW, lambda rule: dataclasses.replace(rule, **change))
    missing = [one for one in prove(compiled, known, state).differences if one.kind == "missing"]
    assert [one.rule_position for one in missing] == [1]
    assert words in missing[0].explanation


def test_a_deny_that_swallows_a_part() -> None:
    """What is lacking is named, and no more."""
    _, compiled, known = shipped()
    deny = Rule("in", "DROP", proto="tcp", dport="6432", comment="mine")
    state = with_guest(compiled.configuration, DB, lambda one: dataclasses.replace(one, rules=(deny, *one.rules)))
    missing = [one for one in prove(compiled, known, state).differences if one.kind == "missing"]
    assert {(one.source, one.services, one.rule) for one in missing} == {
        (name, "tcp/6432", deny) for name in ("backend", "auth")
    }


def test_an_option_that_is_left_out() -> None:
    open_ = guest("b", DENY[0], options={key: value for key, value in OPTIONS.items() if key != "policy_out"})
    proof = prove(Compiled(configuration(guest("a", *DENY), open_), (), {}), parties())
    assert {one.explanation for one in proof.differences if one.destination == "internet"} == {
        "option policy_out of 102, which is not set (the default is ACCEPT) lets it through, and nothing intends it"
    }


# What a step in the datacenter touches: only guests that name it, by whatever way.

WIDE = Alias("xx", "10.0.0.0/24")
NARROW = Alias("xx", "10.0.0.1")
ALIAS_IN_SET = (IpSet("ss", (Entry("dc/xx"),)),)
BY_ALIAS = into("7", source="dc/xx")
BY_SET = into("7", source="+dc/ss")
OWN_SET = guest("b", into("7", source="+guest/mine"), *DENY, ipsets=(IpSet("mine", (Entry("dc/xx"),)),))
IN_GROUP = guest("b", Rule("group", "gg"), *DENY)


@pytest.mark.parametrize(
    ("receiver", "more"),
    [
        pytest.param(guest("b", BY_ALIAS, *DENY), {}, id="an alias"),
        pytest.param(guest("b", into("7", source="XX"), *DENY), {}, id="an alias without scope"),
        pytest.param(guest("b", BY_SET, *DENY), {"ipsets": ALIAS_IN_SET}, id="an alias in a set"),
        pytest.param(OWN_SET, {}, id="an alias in a set of the guest"),
        pytest.param(IN_GROUP, {"groups": (Group("gg", (BY_ALIAS,)),)}, id="an alias in a group"),
        pytest.param(
            IN_GROUP, {"groups": (Group("gg", (BY_SET,)),), "ipsets": ALIAS_IN_SET}, id="an alias in a set in a group"
        ),
    ],
)
def test_what_a_step_in_the_datacenter_touches(receiver: Guest, more: dict[str, object]) -> None:
    sender = guest("a", *DENY)
    before = configuration(sender, receiver, aliases=(NARROW,), **more)
    wide = configuration(sender, receiver, aliases=(WIDE,), **more)
    problems = check_steps(before, [before, wide, before], before, parties())
    assert {(one.step, one.vmid, one.services) for one in problems} == {(1, 102, "tcp/7")}
    assert {one.source for one in problems} == {"gateway", "stranger"}
    assert check_steps(before, [before, wide], wide, parties()) == ()


def test_a_set_and_a_group_that_change() -> None:
    sender = guest("a", *DENY)
    for one, other in (
        ({"ipsets": (IpSet("ss", (Entry("10.0.0.1"),)),)}, {"ipsets": (IpSet("ss", (Entry("10.0.0.0/24"),)),)}),
        ({"groups": (Group("gg", (into("7"),)),)}, {"groups": (Group("gg", (into("7", source="10.0.0.0/24"),)),)}),
    ):
        receiver = guest("b", BY_SET if "ipsets" in one else Rule("group", "gg"), *DENY)
        before, wide = configuration(sender, receiver, **one), configuration(sender, receiver, **other)
        problems = check_steps(before, [wide], before, parties())
        assert {(problem.source, problem.services) for problem in problems} == {
            ("gateway", "tcp/7"), ("stranger", "tcp/7")
        }  # fmt: skip


def test_a_guest_that_is_neither_before_nor_after_may_be_itself() -> None:
    alone = configuration(guest("a", *DENY))
    assert check_steps(alone, [CLOSED], alone, parties()) == ()
    free = configuration(guest("a", *DENY), guest("b", *DENY, options={**OPTIONS, "ipfilter": "0"}))
    assert [one.source for one in check_steps(alone, [free], alone, parties())] == ["b"]


def test_ipv6_in_a_set() -> None:
    """A member of IPv6 may be anybody."""
    ipsets = (IpSet("ss", (Entry("fe80::/10"), Entry("10.0.0.1"))),)
    state = configuration(guest("a", *DENY), guest("b", BY_SET, *DENY), ipsets=ipsets)
    assert "extra stranger>b tcp/7 over IPv6 @102" in found(state)
    nomatch = (IpSet("ss", (Entry("fe80::/10", nomatch=True), Entry("10.0.0.1"))),)
    assert "extra stranger>b tcp/7 over IPv6 @102" not in found(
        configuration(guest("a", *DENY), guest("b", BY_SET, *DENY), ipsets=nomatch)
    )


# Questions.


def test_the_nic_with_the_address_that_is_asked_for() -> None:
    nics = (*guest("b").nics, Nic("net1", "vmbr0", True, ip="0.0.0.101/24"))
    state = configuration(guest("a", *DENY), guest("b", into("7", source=""), DENY[0], nics=nics))
    compiled, known = Compiled(state, (), {}), with_public_nics()
    assert trace(compiled, known, "gateway", "0.0.0.101", "tcp", 7).ends[0].nic == "net1"
    assert trace(compiled, known, "gateway", "10.0.0.2", "tcp", 7).ends[0].nic == "net0"


def test_the_nic_that_lets_it_in_is_shown() -> None:
    """Although what is intended is another one."""
    nics = (*guest("b").nics, Nic("net1", "vmbr0", True, ip="0.0.0.101/24"))
    state = configuration(guest("a", *DENY), guest("b", into("7", source="", iface="net0"), *DENY, nics=nics))
    compiled = Compiled(state, (intent("internet", "b", 7, "", "net1"),), {})
    answer = trace(compiled, with_public_nics(), "internet", "b", "tcp", 7)
    assert (answer.allowed, answer.ends[0].nic) == (True, "net0")


def test_an_intent_for_one_address_is_none_for_all() -> None:
    compiled = Compiled(CLOSED, (intent("a", "9.9.9.9", 7, nic=""),), {})
    assert len(trace(compiled, parties(), "a", "9.9.9.9", "tcp", 7).intents) == 1
    assert trace(compiled, parties(), "a", "9.9.9.8", "tcp", 7).intents == ()
    assert trace(compiled, parties(), "a", "internet", "tcp", 7).intents == ()

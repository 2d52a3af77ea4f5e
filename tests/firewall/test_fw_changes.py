"""Whatever is there, the steps make of it what was compiled; what is not ours stays; losses come after gains."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zentoria_infra.firewall.change.changes import datacenter_changes, guest_changes, is_deny, removal
from zentoria_infra.firewall.change.steps import DropRule, InsertRule, MoveToEnd, UpdateRule, apply_step, says
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Entry, Group, Guest, IpSet, Nic, Rule
from zentoria_infra.firewall.identity import identity

OPTIONS = {"enable": "1", "policy_in": "DROP", "policy_out": "DROP", "dhcp": "0", "ipfilter": "1"}
DENY = Rule("group", "zt-deny", comment="zt/group/deny What no rule allows")
NIC = Nic("net0", "vmbr40", True, "BC:24:11:00:04:04", "10.10.40.4/20")


def accept(number: int, port: str = "5432", **more: object) -> Rule:
    return Rule(
        "in", "ACCEPT", iface="net0", source="dc/zt-backend", proto="tcp", dport=port,
        comment=f"zt/row-{number}/backend/db/tcp Database", **more,
    )  # fmt: skip


WANTED = Guest(
    404, "db", "pve", (NIC,), OPTIONS,
    ipsets=(IpSet("ipfilter-net0", (Entry("10.10.40.4", comment="zt/ipfilter/db/net0"),), "zt/ipfilter/db/net0"),),
    rules=(accept(1), accept(2), accept(3), DENY),
)  # fmt: skip
BY_HAND = Rule("in", "ACCEPT", proto="tcp", dport="22", comment="mine")

rules = st.lists(
    st.sampled_from(
        [
            accept(1), accept(1, "1:65535"), accept(1, enable=False), accept(2), accept(3, "22"), accept(9), DENY,
            dataclasses.replace(DENY, enable=False), BY_HAND, Rule("in", "DROP", comment="zt/deny/in old"),
        ]
    ),
    max_size=9,
)  # fmt: skip
entries = st.lists(
    st.sampled_from([Entry("10.10.40.4"), Entry("10.10.40.9"), Entry("10.10.40.4", nomatch=True)]),
    unique_by=lambda one: one.cidr,
    max_size=2,
)
options = st.dictionaries(st.sampled_from([*OPTIONS, "macfilter"]), st.sampled_from(["0", "1", "DROP", "ACCEPT"]))
guests = st.builds(
    lambda rules, entries, with_set, options: dataclasses.replace(
        WANTED, rules=tuple(rules), options=options,
        ipsets=(IpSet("ipfilter-net0", tuple(entries), "x"),) if with_set else (),
    ),
    rules, entries, st.booleans(), options,
)  # fmt: skip


def after(guest: Guest, steps) -> Guest:
    found = Configuration(guests=(guest,))
    for step in steps:
        found = apply_step(found, step)
    return found.guests[0]


@settings(max_examples=400, deadline=None)
@given(guests)
def test_the_steps_make_what_was_compiled_and_leave_the_rest(there: Guest) -> None:
    changes = guest_changes(there, WANTED)
    found = after(there, (*changes.gained, *changes.lost))
    ours = [rule for rule in found.rules if identity(rule.comment)]
    assert sorted(map(repr, ours)) == sorted(map(repr, WANTED.rules))
    assert ours[-1] == DENY
    assert {key: found.options[key] for key in OPTIONS} == OPTIONS
    assert {(e.cidr, e.nomatch) for e in found.ipsets[0].entries} == {("10.10.40.4", False)}
    by_hand = [rule for rule in there.rules if rule == BY_HAND]
    assert [rule for rule in found.rules if rule == BY_HAND] == by_hand
    assert len(changes.foreign) == len(by_hand)
    assert guest_changes(found, WANTED).empty
    assert changes.empty == (not changes.reasons)


@settings(max_examples=200, deadline=None)
@given(guests)
def test_a_deny_is_never_in_front_of_accepts_that_are_in_use(there: Guest) -> None:
    """While flows are gained, an accept of ours that was reached before is reached after every step."""
    keys = [(rule.type, identity(rule.comment)) for rule in there.rules if rule != BY_HAND]
    assume(len(keys) == len(set(keys)))  # copies go first of all, the one in use perhaps among them
    changes = guest_changes(there, WANTED)
    reached = _reached(there.rules) & set(WANTED.rules)
    guest = there
    for step in changes.gained:
        guest = after(guest, [step])
        kept = {rule for rule in reached if rule in guest.rules}
        assert kept <= _reached(guest.rules), says(step)


def _reached(rules) -> set[Rule]:
    found = set()
    for rule in rules:
        if rule.enable and is_deny(rule):
            break
        if rule.enable and not is_deny(rule):
            found.add(rule)
    return found


def test_a_new_guest_gets_its_deny_first_and_its_switch_last() -> None:
    fresh = dataclasses.replace(WANTED, options={}, ipsets=(), rules=())
    gained = [says(step) for step in guest_changes(fresh, WANTED).gained]
    assert gained == [
        "add IP set ipfilter-net0",
        "put 10.10.40.4 into IP set ipfilter-net0",
        "add GROUP zt-deny [zt/group/deny]",
        "add IN ACCEPT -i net0 -source dc/zt-backend -p tcp -dport 5432 [zt/row-3/backend/db/tcp]",
        "add IN ACCEPT -i net0 -source dc/zt-backend -p tcp -dport 5432 [zt/row-2/backend/db/tcp]",
        "add IN ACCEPT -i net0 -source dc/zt-backend -p tcp -dport 5432 [zt/row-1/backend/db/tcp]",
        "set enable=1, policy_in=DROP, policy_out=DROP, dhcp=0, ipfilter=1",
    ]


def test_a_missing_deny_comes_in_asleep() -> None:
    there = dataclasses.replace(WANTED, rules=WANTED.rules[:-1])
    kinds = [type(step) for step in guest_changes(there, WANTED).gained]
    assert kinds == [InsertRule, MoveToEnd, UpdateRule]


DATACENTER = Datacenter(
    {"enable": "1"},
    (Alias("zt-db", "10.10.40.4", "zt/alias/db"),),
    (IpSet("zt-internet", (Entry("0.0.0.0/1"), Entry("10.10.32.0/20", nomatch=True)), "zt/internet All"),),
    (Group("zt-deny", (Rule("in", "DROP", comment="zt/deny/in x"),), "zt/group/deny x"),),
)


def test_networks_come_into_a_set_after_their_exceptions() -> None:
    gained = [says(step) for step in datacenter_changes(Datacenter(), DATACENTER).gained]
    at = gained.index("put !10.10.32.0/20 into IP set zt-internet")
    assert at < gained.index("put 0.0.0.0/1 into IP set zt-internet")


def test_exceptions_leave_a_set_after_what_they_are_taken_out_of() -> None:
    more = (Entry("10.10.40.7", nomatch=True), Entry("10.10.40.0/24"))
    there = dataclasses.replace(WANTED, ipsets=(dataclasses.replace(WANTED.ipsets[0], entries=more),))
    assert [says(step) for step in guest_changes(there, WANTED).lost] == [
        "take 10.10.40.0/24 out of IP set ipfilter-net0",
        "take 10.10.40.7 out of IP set ipfilter-net0",
    ]


def test_a_deny_that_goes_goes_after_what_it_hides() -> None:
    old = Rule("in", "DROP", comment="zt/deny/in old")
    there = dataclasses.replace(WANTED, rules=(old, accept(9), *WANTED.rules))
    assert [step.rule for step in guest_changes(there, WANTED).lost] == [accept(9), old]


def test_what_is_lost_goes_before_what_it_names() -> None:
    mine = Alias("mine", "192.0.2.1")
    there = Configuration(dataclasses.replace(DATACENTER, aliases=(*DATACENTER.aliases, mine)))
    steps = removal(there, DATACENTER).lost
    assert [says(step) for step in steps] == [
        "remove IN DROP [zt/deny/in]",
        "remove security group zt-deny",
        "remove IP set zt-internet",
        "remove alias zt-db",
    ]
    for step in steps:
        there = apply_step(there, step)
    assert there.datacenter == Datacenter({"enable": "1"}, (mine,))


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (Datacenter(aliases=(Alias("ZT-db", "192.0.2.1", "mine"),)), "alias zt-db"),
        (Datacenter(ipsets=(IpSet("zt-internet", (), "mine"),)), "IP set zt-internet"),
        (Datacenter(groups=(Group("zt-deny", (), "mine"),)), "security group zt-deny"),
    ],
)
def test_a_name_that_somebody_else_uses_is_a_conflict(there: Datacenter, words: str) -> None:
    changes = datacenter_changes(there, DATACENTER)
    assert any(words in text for text in changes.conflicts)


def test_a_group_is_emptied_before_it_goes() -> None:
    steps = removal(Configuration(DATACENTER), DATACENTER).lost
    assert isinstance(steps[0], DropRule)
    assert steps[0].where.group == "zt-deny"

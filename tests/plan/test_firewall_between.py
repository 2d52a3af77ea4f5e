"""Whatever is there: no step of a plan opens more than before and after, and what it ends with is what was compiled."""

from __future__ import annotations

import dataclasses
import functools
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firewall.fw_inventories import container, flow, inventory, port
from zentoria_infra.errors import RefusedError
from zentoria_infra.firewall.change.changes import datacenter_changes, guest_changes
from zentoria_infra.firewall.change.steps import DATACENTER, DropRule, InsertRule, PutAlias, SetOptions, apply_step
from zentoria_infra.firewall.config import Configuration, Datacenter, Entry, Guest, IpSet, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.plan.firewall import DesiredFirewall, add_firewall
from zentoria_infra.plan.limits import require_possible
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.saved.between import CLOSED, unsafe_steps

PEERS = ("dc/zt-small_a", "dc/zt-small_b", "dc/zt-small_c", "+dc/zt-small_internet", "10.10.40.0/24", "10.10.40.9", "")
COMMENTS = ("zt/row-99/x/y/tcp old", "zt/row-98/x/y/tcp old", "zt/opening/a/tcp left", "zt/row-7/a/b/tcp edited",
            "zt/row-8/c/b/tcp edited", "zt/egress/d/tcp/443 edited")  # fmt: skip
CIDRS = ("10.10.40.9", "0.0.0.0/1", "10.10.40.0/24", "10.10.32.0/20", "192.0.2.0/24")
NAMES = "abcd"


@functools.cache
def desired() -> DesiredFirewall:
    web = ({"to": ("example.org",), "protocol": "tcp", "ports": ("443",), "purpose": "x"},)
    containers = [
        container(1, "a"), container(2, "b", port(5432), port(22)), container(3, "c", port(80)),
        container(4, "d", egress=web),
    ]  # fmt: skip
    flows = [flow("a", "b", 5432, row=7), flow("c", "b", 22, row=8), flow("all", "c", 80, row=9)]
    return proven_firewall(inventory(containers, flows, proxy=None))


WANTED = desired().compiled.configuration


def planned(there: Configuration, only: str = NAMES, **actions: Action) -> Plan:
    known = {guest.vmid for guest in there.guests}
    containers = tuple(
        ContainerPlan(
            400 + number, name, name, "pve",
            actions.get(name, Action.NONE if 400 + number in known else Action.CREATE), "",
            start=actions.get(name) in (Action.START, Action.REPLACE),
        )
        for number, name in enumerate(NAMES, 1)
        if name in only
    )  # fmt: skip
    return add_firewall(Plan(containers), World({}, firewall=there), desired())


def ends_with(plan: Plan, there: Configuration) -> Configuration:
    """What the steps of a plan make of containers that exist."""
    steps = [step for one in plan for step in one.closed]
    steps += plan.datacenter.gained
    steps += [SetOptions(DATACENTER, {"enable": "1"})] if plan.switch_on else []
    steps += [step for one in plan for step in one.firewall.gained]
    steps += [step for one in plan for step in one.firewall.lost]
    steps += plan.datacenter.lost
    known = {0, *(guest.vmid for guest in there.guests)}
    for step in steps:
        if step.where.vmid in known:
            there = apply_step(there, step)
    return there


# Random states: what drift, other people and runs that were killed may leave.


def rule(random: Random) -> Rule:
    peer, way = random.choice(PEERS), random.choice(("in", "out"))
    return Rule(
        way, "ACCEPT", random.random() < 0.8, iface=random.choice(("", "net0")),
        source=peer if way == "in" else "", dest=peer if way == "out" else "", proto="tcp",
        dport=random.choice(("22", "80", "5432", "1:65535")), comment=random.choice(COMMENTS),
    )  # fmt: skip


def rules(random: Random, there: tuple[Rule, ...]) -> tuple[Rule, ...]:
    found = list(there)
    for _ in range(random.choice((0, 0, 1, 2, 3))):
        at = random.randrange(len(found)) if found else 0
        kind = random.choice(("add", "remove", "move", "switch", "edit", "copy")) if found else "add"
        if kind == "add":
            found.insert(random.randrange(len(found) + 1), rule(random))
        elif kind == "remove":
            del found[at]
        elif kind == "move":
            found.insert(random.randrange(len(found)), found.pop(at))
        elif kind == "switch":
            found[at] = dataclasses.replace(found[at], enable=not found[at].enable)
        elif kind == "copy":
            found.insert(random.randrange(len(found) + 1), found[at])
        elif found[at].type != "group":
            found[at] = dataclasses.replace(found[at], dport=random.choice(("22", "1:65535")), proto="tcp")
    return tuple(found)


def ipset(random: Random, there: IpSet) -> IpSet:
    entries = {entry.cidr: entry for entry in there.entries}
    for _ in range(random.choice((0, 0, 1, 2))):
        cidr = random.choice((*CIDRS, *entries))
        if cidr in entries and random.random() < 0.5:
            del entries[cidr]
        else:
            entries[cidr] = Entry(cidr, random.random() < 0.5)
    return dataclasses.replace(there, entries=tuple(entries.values()))


def options(random: Random, there: dict[str, str]) -> dict[str, str]:
    found = dict(there)
    for key in random.sample(sorted(found), random.choice((0, 0, 1, 2))):
        found[key] = random.choice(("ACCEPT", "DROP", "REJECT") if key.startswith("policy") else ("0", "1"))
        if random.random() < 0.3:
            del found[key]
    return found


def some(random: Random, items: Any, chance: float) -> list[Any]:
    return [one for one in items if random.random() < chance]


def guest(random: Random, there: Guest) -> Guest:
    return dataclasses.replace(
        there,
        options=options(random, dict(there.options)),
        ipsets=tuple(ipset(random, one) for one in some(random, there.ipsets, 0.9)),
        rules=rules(random, there.rules),
        nics=tuple(dataclasses.replace(one, firewall=random.random() < 0.95) for one in there.nics),
    )


def node(random: Random) -> Configuration:
    shared = WANTED.datacenter
    aliases = [
        dataclasses.replace(one, cidr=random.choice(("10.10.40.1", "10.10.40.2", "10.10.40.9", "10.10.40.0/24")))
        if random.random() < 0.1
        else one
        for one in some(random, shared.aliases, 0.95)
    ]
    return Configuration(
        Datacenter(
            {"enable": random.choice("0111")},
            tuple(aliases),
            tuple(ipset(random, one) for one in some(random, shared.ipsets, 0.9)),
            tuple(dataclasses.replace(one, rules=rules(random, one.rules)) for one in some(random, shared.groups, 0.9)),
        ),
        WANTED.nodes,
        tuple(guest(random, one) for one in some(random, WANTED.guests, 0.9)),
    )


@settings(max_examples=250, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_step_opens_more_than_before_and_after_whatever_is_there(random: Random) -> None:
    there = node(random)
    plan = planned(there)
    assert plan.problems == ()
    assert unsafe_steps(plan, there, desired().parties) == ()
    found = ends_with(plan, there)
    for one in found.guests:
        left = guest_changes(one, WANTED.guest(one.vmid))
        assert left.empty, left.reasons
        assert not any(identity(rule.comment).startswith(CLOSED) for rule in one.rules)
    assert datacenter_changes(found.datacenter, WANTED.datacenter).empty


# What cannot be done one by one.

STALE = Rule("in", "ACCEPT", source="dc/zt-small_c", proto="tcp", dport="23", comment="zt/row-99/c/b/tcp old")


def with_alias(there: Configuration, name: str, cidr: str) -> Configuration:
    aliases = tuple(
        dataclasses.replace(one, cidr=cidr) if one.name == name else one for one in there.datacenter.aliases
    )
    return dataclasses.replace(there, datacenter=dataclasses.replace(there.datacenter, aliases=aliases))


def with_rules(there: Configuration, vmid: int, *more: Rule) -> Configuration:
    guests = tuple(
        dataclasses.replace(one, rules=(*more, *one.rules)) if one.vmid == vmid else one for one in there.guests
    )
    return dataclasses.replace(there, guests=guests)


@pytest.fixture
def tangled() -> Configuration:
    """A stale rule lets in whom the alias c names. That is nobody; put right, it is c, which may reach any port."""
    let_out = Rule("out", "ACCEPT", proto="tcp", comment="zt/row-98/c/b/tcp old")
    return with_rules(with_rules(with_alias(WANTED, "zt-small_c", "10.10.40.9"), 402, STALE), 403, let_out)


def test_a_container_is_closed_where_its_steps_would_open_too_much(tangled: Configuration) -> None:
    plan = planned(tangled)
    (closed,) = [one for one in plan if one.closed]
    assert closed.vmid == 402
    assert [(step.rule.type, step.rule.action, step.rule.source) for step in closed.closed] == [
        ("out", "DROP", ""), ("in", "DROP", ""),
    ]  # fmt: skip
    assert isinstance(plan.datacenter.gained[0], PutAlias)
    assert closed.firewall.lost == ()
    assert [step.rule.comment for step in closed.firewall.gained if isinstance(step, DropRule)] == [
        STALE.comment, *(step.rule.comment for step in closed.closed),
    ]  # fmt: skip
    assert "closed meanwhile" in closed.firewall.reasons[-1]
    assert not plan.empty and plan.problems == ()


def test_without_closing_it_would_be_open(tangled: Configuration) -> None:
    plan = planned(tangled)
    parts = [dataclasses.replace(one, closed=()) for one in plan]
    (found,) = {one.text for one in unsafe_steps(dataclasses.replace(plan, containers=tuple(parts)), tangled,
                                                 desired().parties)}  # fmt: skip
    assert "`change alias zt-small_c (10.10.40.3)` (datacenter) would open too much" in found
    assert "c may send tcp/23 to b" in found


def test_a_run_that_was_killed_while_it_was_closed_is_made_good(tangled: Configuration) -> None:
    plan = planned(tangled)
    there = tangled
    for step in next(one.closed for one in plan if one.closed):
        there = apply_step(there, step)
    again = planned(there)
    keys = [identity(step.rule.comment) for one in again for step in one.closed if isinstance(step, InsertRule)]
    assert len(keys) == len(set(keys)) or not keys
    found = ends_with(again, there)
    assert guest_changes(found.guest(402), WANTED.guest(402)).empty
    assert not any(CLOSED in rule.comment for rule in found.guest(402).rules)


def test_what_was_left_closed_is_opened_after_what_it_hides_is_gone() -> None:
    shut = [Rule(way, "DROP", comment=f"{CLOSED}-0 x") for way in ("out", "in")]
    plan = planned(with_rules(WANTED, 402, *shut, STALE))
    lost = next(one for one in plan if one.vmid == 402).firewall.lost
    assert [step.rule for step in lost] == [STALE, *shut]


def test_a_container_that_is_replaced_is_closed_until_it_is_destroyed(tangled: Configuration) -> None:
    closed = next(one for one in planned(tangled, b=Action.REPLACE) if one.vmid == 402)
    assert closed.closed
    assert not any(isinstance(step, DropRule) for step in closed.firewall.gained)


def test_a_container_that_does_not_run_needs_no_closing(tangled: Configuration) -> None:
    assert not any(one.closed for one in planned(tangled, b=Action.START))


def test_a_plan_that_cannot_be_made_safe_is_refused_and_names_the_step(tangled: Configuration) -> None:
    """As in `redeploy c`: that alias is put right, and `b` with its stale rule is not touched."""
    refused = planned(tangled, only="c")
    with pytest.raises(RefusedError, match=r"(?s)`change alias zt-small_c.*c may send tcp/23 to b.*`zentoria up`"):
        require_possible(refused)
    assert not any(one.closed for one in refused)
    with pytest.raises(RefusedError, match=r"c may send tcp/23 to b"):
        require_possible(planned(tangled, only="a"))  # not even the end that is open now is touched

"""Every state on the way allows no more than the two ends of it: plans as they are made, and steps in a bad order."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.firewall.fw_naive import Packet, passes
from tests.firewall.fw_pair import DENY, ONE, OPTIONS, TWO, configuration, guest, into, out, parties
from tests.firewall.fw_shipped import shipped
from zentoria_infra.firewall.change.changes import datacenter_changes, guest_changes
from zentoria_infra.firewall.change.steps import DATACENTER, DropAlias, DropRule, PutAlias, Step, Where, states
from zentoria_infra.firewall.change.transition import StepProblem, check_steps, turning_points
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Entry, Group, Guest, IpSet, Rule
from zentoria_infra.firewall.proof.allowed import Allowed, allowed
from zentoria_infra.firewall.sets.services import text
from zentoria_infra.inventory.model import Inventory


def check(
    before: Configuration, steps: Iterable[Configuration], after: Configuration, stopped: Sequence[int] = ()
) -> list[str]:
    return [str(problem) for problem in check_steps(before, steps, after, parties(), stopped)]


def test_gains_before_losses() -> None:
    """In between both hold, and nothing else."""
    steps = [
        configuration(guest("a", out("2"), out("1"), *DENY), ONE.guests[1]),
        configuration(guest("a", out("2"), out("1"), *DENY), guest("b", into("2"), into("1"), *DENY)),
        configuration(TWO.guests[0], guest("b", into("2"), into("1"), *DENY)),
        TWO,
    ]
    assert check(ONE, steps, TWO) == []


def test_either_end_may_be_wider_but_not_both() -> None:
    """Neither before nor after may a reach 2; in between both ends let it through."""
    before = configuration(guest("a", out("1,2"), *DENY), guest("b", into("1"), *DENY))
    after = configuration(guest("a", out("1"), *DENY), guest("b", into("1,2"), *DENY))
    both = configuration(before.guests[0], after.guests[1])
    assert check(before, [configuration(after.guests[0], before.guests[1]), after], after) == []
    assert check(before, [both, after], after) == [
        "step 0: a may send tcp/2 to b: rule 0 of 102 (not made by Zentoria); it may neither before nor after"
    ]


BARE = guest("b", options={})
CASES: dict[str, tuple[Configuration, list[Configuration], Configuration, list[str]]] = {
    # what: before, states, after, words of each problem
    "the deny goes first": (
        configuration(guest("a"), guest("b", *DENY, options={**OPTIONS, "policy_in": "ACCEPT"})),
        [configuration(guest("a"), guest("b", DENY[1], options={**OPTIONS, "policy_in": "ACCEPT"}))],
        configuration(guest("a"), guest("b", *DENY)),
        [
            r"step 0: gateway may send any to b: option policy_in=ACCEPT of 102",
            r"step 0: internet may send any",
            r"step 0: stranger may send any",
            # a does not send it: its own policy denies all but some ICMP
            r"step 0: a may send icmp/fragmentation-needed, icmp/time-exceeded to b",
            r"step 0: stranger may send any over IPv6 to b",
        ],
    ),
    "a wide range for a while": (
        ONE,
        [configuration(ONE.guests[0], guest("b", into("1:9", source=""), *DENY)), ONE],
        ONE,
        [
            r"gateway may send tcp/1-9 to b",
            r"internet may send tcp/1-9 to b",
            r"stranger may send tcp/1-9 to b: rule 0",
            r"stranger may send tcp/1-9 over IPv6 to b",
        ],
    ),
    "the IP filter off for a while": (
        ONE,
        [configuration(guest("a", *ONE.guests[0].rules, options={**OPTIONS, "ipfilter": "0"}), ONE.guests[1]), ONE],
        ONE,
        [r"step 0: 101 \(a\) may send with an address that is not its own: option ipfilter=0 of 101"],
    ),
    "the MAC filter off for a while": (
        ONE,
        [configuration(guest("a", *ONE.guests[0].rules, options={**OPTIONS, "macfilter": "0"}), ONE.guests[1]), ONE],
        ONE,
        [r"step 0: 101 \(a\) may send with an address that is not its own: option macfilter=0 of 101"],
    ),
    "a guest off for a while": (
        ONE,
        [configuration(ONE.guests[0], BARE), configuration(ONE.guests[0], BARE), ONE],
        ONE,
        [r"step 0: 102 \(b\) is not filtered: the switch of the guest"],
    ),
    "the datacenter off for a while": (
        ONE,
        [dataclasses.replace(ONE, datacenter=Datacenter()), ONE],
        ONE,
        [r"101 \(a\) is not filtered: the switch of the datacenter", r"102 \(b\) is not filtered"],
    ),
    "a guest that was open": (
        configuration(guest("a", out("1"), *DENY), BARE),
        [configuration(guest("a", out("2"), *DENY), BARE), configuration(TWO.guests[0], BARE), TWO],
        TWO,
        # What b took from anybody it does not get from a until the end: before, a sent only 1.
        [],
    ),
    "a port to one that is open": (
        configuration(guest("a", out("1"), *DENY), BARE),
        [configuration(guest("a", out("3"), *DENY), BARE), TWO],
        TWO,
        [r"step 0: a may send tcp/3 to b"],
    ),
    "a new guest that is open": (
        configuration(ONE.guests[0]),
        [configuration(ONE.guests[0], BARE), ONE],
        ONE,
        [r"step 0: 102 \(b\) is not filtered"],
    ),
    "a new guest that is closed": (configuration(ONE.guests[0]), [ONE], ONE, []),
    "an alias that means more for a while": (
        configuration(
            guest("a"), guest("b", into("1", source="xx"), *DENY), aliases=(Alias("xx", "10.0.0.1"),)
        ),
        [
            configuration(guest("a"), guest("b", into("1", source="xx"), *DENY), aliases=(Alias("xx", "10.0.0.0/24"),)),
        ],
        configuration(guest("a"), guest("b", *DENY)),
        [r"gateway may send tcp/1 to b: rule 0 of 102", r"stranger may send tcp/1 to b"],
    ),
    "a group that loses its denials": (
        configuration(
            guest("b", Rule("group", "gg"), options={**OPTIONS, "policy_in": "ACCEPT"}),
            groups=(Group("gg", DENY),),
        ),
        [
            configuration(
                guest("b", Rule("group", "gg"), options={**OPTIONS, "policy_in": "ACCEPT"}),
                groups=(Group("gg", DENY[1:]),),
            )
        ],
        configuration(guest("b", *DENY)),
        [r"gateway may send any to b", r"internet may", r"stranger may send any to b", "over IPv6"],
    ),
    "after says nothing of the switch": (
        ONE,
        [ONE, configuration(guest("a", out("3"), *DENY), BARE)],
        dataclasses.replace(ONE, datacenter=Datacenter()),
        [r"step 1: 102 \(b\) is not filtered", r"step 1: a may send tcp/3 to b"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_orders(name: str) -> None:
    before, steps, after, words = CASES[name]
    found = check(before, steps, after)
    assert len(found) == len(words), found
    for word in words:
        assert [one for one in found if re.search(word, one)], (word, found)


def test_what_stands_still_does_not_count() -> None:
    assert check(configuration(ONE.guests[0]), [configuration(ONE.guests[0], BARE), ONE], ONE, [102]) == []


# Plans as they are made.


def other_inventory(inventory: Inventory, *, without: int = 0, port: int = 0) -> Inventory:
    """The inventory without some flow, or with a port more in it."""
    flows = list(inventory.flows)
    if port:
        flow = flows[without]
        more = flow.ports[0].model_copy(update={"first": port, "last": port})
        flows[without] = flow.model_copy(update={"ports": (*flow.ports, more)})
    else:
        del flows[without]
    return inventory.model_copy(update={"flows": tuple(flows)})


def plan(before: Configuration, after: Configuration) -> list[Step]:
    """All steps: gained before lost."""
    found = [datacenter_changes(before.datacenter, after.datacenter)]
    there = {one.vmid: one for one in before.guests}
    for wanted in after.guests:
        empty = dataclasses.replace(wanted, options={}, aliases=(), ipsets=(), rules=())
        found.append(guest_changes(there.get(wanted.vmid, empty), wanted))
    return [step for each in found for step in each.gained] + [step for each in found for step in each.lost]


@pytest.mark.parametrize("change", [{"without": 6}, {"without": 6, "port": 99}, {"without": -1}, {"without": 32}])
def test_a_plan_for_other_flows(change: dict[str, int]) -> None:
    inventory, compiled, known = shipped()
    other = compile_firewall(other_inventory(inventory, **change)).configuration
    here = compiled.configuration
    for before, after in ((here, other), (other, here)):
        steps = plan(before, after)
        assert steps
        made = list(states(before, steps))
        assert check_steps(before, made, after, known) == ()
        assert allowed(made[-1], known) <= allowed(after, known)
        assert allowed(after, known) <= allowed(made[-1], known)


def test_a_plan_from_nothing() -> None:
    """Guests that stand still until their rules are there, and guests that have always been open."""
    _, compiled, known = shipped()
    after = compiled.configuration
    bare = tuple(dataclasses.replace(one, options={}, ipsets=(), rules=()) for one in after.guests)
    before = Configuration(Datacenter({"enable": "1"}), (), bare)
    steps = plan(before, after)
    made = list(states(before, steps))
    still = [one.vmid for one in after.guests]
    assert check_steps(before, made, after, known, still) == ()
    assert check_steps(before, made, after, known) == ()
    # Had they not been there before, every one of them would be open until its options are set.
    problems = check_steps(Configuration(before.datacenter), made, after, known)
    assert {problem.vmid for problem in problems} == set(still)


def test_a_rule_that_is_too_wide_for_one_step() -> None:
    _, compiled, known = shipped()
    here = compiled.configuration
    wide = Rule("in", "ACCEPT", comment="zt/row-1/x/y/tcp Oops")
    spoilt = tuple(
        dataclasses.replace(one, rules=(wide, *one.rules)) if one.vmid == 404 else one for one in here.guests
    )
    found = check_steps(here, [dataclasses.replace(here, guests=spoilt), here], here, known)
    assert {(problem.step, problem.vmid) for problem in found} == {(0, 404)}
    assert "tcp/22" not in {problem.services for problem in found if problem.source == "backend"}


# Many aliases: no state for each that nothing names.


def aliases(count: int) -> tuple[Alias, ...]:
    return tuple(Alias(f"Zt-c{number}", f"10.0.{number >> 8}.{number & 255}") for number in range(count))


def calls_to_check(count: int) -> int:
    """How many functions are called to check steps that make and remove so many aliases that nothing names."""
    before = configuration(guest("a", out("1"), *DENY), guest("b", into("1"), *DENY))
    full = dataclasses.replace(before, datacenter=dataclasses.replace(before.datacenter, aliases=aliases(count)))
    calls = 0

    def count_one(frame: object, kind: str, about: object) -> None:
        nonlocal calls
        calls += kind == "call"

    made: list[Step] = [PutAlias(DATACENTER, one) for one in aliases(count)]
    gone: list[Step] = [DropAlias(DATACENTER, one.name) for one in aliases(count)]
    for here, steps, there in ((before, made, full), (full, gone, before)):
        sys.setprofile(count_one)
        try:
            passed = [state for _, state in turning_points(here, steps)]
            assert check_steps(here, passed, there, parties()) == ()
        finally:
            sys.setprofile(None)
        assert passed[-1] == [*states(here, steps)][-1]
    return calls


def test_the_work_for_many_aliases_grows_as_they_do() -> None:
    small, large = calls_to_check(100), calls_to_check(400)
    assert large < 4.5 * small


def test_an_alias_that_something_names_is_looked_at_alone() -> None:
    """A rule names an alias that is not there yet: with the alias, it opens what is open neither before nor after."""
    stale = Rule("in", "ACCEPT", source="dc/ZT-C7", proto="tcp", dport="9", comment="of somebody")
    before = configuration(guest("a", out("1,9"), *DENY), guest("b", stale, into("1"), *DENY))
    named = Alias("zt-c7", "10.0.0.1")
    made = [PutAlias(DATACENTER, one) for one in (*aliases(7), named, *aliases(12)[8:])]
    away = DropRule(Where(vmid=before.guests[1].vmid), stale, exact=True)
    steps: list[Step] = [*made, away]
    points = list(turning_points(before, steps))
    every = list(states(before, steps))
    assert [number for number, _ in points] == [7, 11, 12]
    assert [state for _, state in points] == [every[number] for number, _ in points]
    after = every[-1]
    one_by_one = check_steps(before, every, after, parties())
    together = check_steps(before, [state for _, state in points], after, parties())
    assert [(one.step, one.explanation) for one in one_by_one] == [
        (points[one.step][0], one.explanation) for one in together
    ]
    assert one_by_one


# Against the naive evaluator, packet by packet, and state by state.

WORDS = ["", "10.0.0.1", "10.0.0.2", "xx", "+ss", "10.0.0.0/24"]
some_rules = st.builds(
    lambda kind, action, far, port, enable: (
        Rule(kind, action, enable, source=far, proto="tcp" if port else "", dport=port)
        if kind == "in"
        else Rule(kind, action, enable, dest=far, proto="tcp" if port else "", dport=port)
    ),
    st.sampled_from(["in", "out"]),
    st.sampled_from(["ACCEPT", "ACCEPT", "DROP"]),
    st.sampled_from(WORDS),
    st.sampled_from(["", "1", "2", "1:2"]),
    st.sampled_from([True, True, True, False]),
) | st.just(Rule("group", "gg"))
some_options = st.sampled_from(
    [OPTIONS] * 6
    + [{**OPTIONS, "policy_out": "ACCEPT"}, {**OPTIONS, "policy_in": "ACCEPT"}, {**OPTIONS, "ipfilter": "0"}, {}]
)


def some_guest(name: str) -> st.SearchStrategy[Guest]:
    return st.builds(
        lambda rules, options: guest(name, *rules, options=options),
        st.lists(some_rules, max_size=3),
        some_options,
    )


some_datacenters = st.builds(
    lambda on, alias, member, rules: Datacenter(
        {"enable": "1"} if on else {},
        (Alias("xx", alias),),
        (IpSet("ss", (Entry(member),)),),
        (Group("gg", tuple(rule for rule in rules if rule.type != "group")),),
    ),
    st.sampled_from([True] * 9 + [False]),
    st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "xx"]),
    st.lists(some_rules, max_size=2),
)


@st.composite
def walks(draw: st.DrawFn) -> list[Configuration]:
    """States one after the other: mostly one thing changes."""
    state = Configuration(draw(some_datacenters), (), (draw(some_guest("a")), draw(some_guest("b"))))
    found = [state]
    for what in draw(st.lists(st.sampled_from(["a", "b", "dc", "gone", "both"]), min_size=1, max_size=5)):
        guests = {one.name: one for one in state.guests}
        if what in ("a", "b"):
            guests[what] = draw(some_guest(what))
        elif what == "both":
            guests = {name: draw(some_guest(name)) for name in ("a", "b")}
        elif what == "gone":
            guests.pop("b", None)
        datacenter = draw(some_datacenters) if what == "dc" else state.datacenter
        state = Configuration(datacenter, (), tuple(guests[name] for name in sorted(guests)))
        found.append(state)
    return found


@settings(max_examples=150, deadline=None)
@given(walks())
def test_step_by_step_is_state_by_state(walk: list[Configuration]) -> None:
    """What is found on the way is what a comparison of whole states finds, as long as nothing was wrong before."""
    before, *steps, after = walk if len(walk) > 2 else [*walk, walk[-1]]
    limit = allowed(before, parties()) | allowed(_on(after), parties())
    first = next((n for n, state in enumerate(steps) if not allowed(state, parties()) <= limit), None)
    found = check_steps(before, steps, after, parties())
    assert min((problem.step for problem in found), default=None) == first
    event("with a problem" if found else "without")


def _on(after: Configuration) -> Configuration:
    options = {"enable": "1", **after.datacenter.options}
    return dataclasses.replace(after, datacenter=dataclasses.replace(after.datacenter, options=options))


ADDRESS = {"a": "10.0.0.1", "b": "10.0.0.2", "gateway": "10.0.0.254", "stranger": "10.0.0.77", "internet": "9.9.9.9"}
GRID = [
    (source, destination, port)
    for source in ADDRESS
    for destination in ADDRESS
    if source != destination and {source, destination} & {"a", "b"}
    for port in (1, 2, 3)
]


def reaches(state: Configuration, source: str, destination: str, port: int) -> bool:
    """By the naive evaluator: at every end that is a guest of ours."""
    packet = Packet(ADDRESS[source], ADDRESS[destination], 6, port)
    guests = {one.name: one for one in state.guests}
    for name, direction in ((source, "out"), (destination, "in")):
        if name not in ("a", "b"):
            continue
        if name not in guests or not passes(state, guests[name], guests[name].nics[0], direction, packet):
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(walks())
def test_packets_show_what_is_allowed(walk: list[Configuration]) -> None:
    one, other = walk[0], walk[-1]
    mine, theirs = allowed(one, parties()), allowed(other, parties())
    pairs = mine.pairs()
    more = False
    for source, destination, port in GRID:
        number = 6 * 65536 + port
        told = any(first <= number <= last for first, last in pairs.get((source, destination), ()))
        got = reaches(one, source, destination, port)
        assert told or not got, (source, destination, port)
        if got and not reaches(other, source, destination, port):
            more = True
    if more:
        assert not mine <= theirs
    assert mine <= mine | theirs
    assert theirs <= mine | theirs


def test_excess_in_words() -> None:
    found = list(allowed(TWO, parties()).beyond(allowed(ONE, parties())))
    assert [(one.kind, one.source, one.destination, text(one.services)) for one in found] == [
        ("packets", "a", "b", "tcp/2"),
        ("packets", "a", "b", "tcp/2"),
    ]
    assert isinstance(Allowed(), Allowed)
    assert Allowed() <= allowed(ONE, parties())


def test_a_problem_in_words() -> None:
    before = configuration(guest("a", *DENY), guest("b", *DENY))
    found = check_steps(before, [ONE], before, parties())
    assert found == (
        StepProblem(
            0, 101, "a", "b", "tcp/1",
            "a may send tcp/1 to b: rule 0 of 101 (not made by Zentoria); it may neither before nor after",
        ),
    )  # fmt: skip


def test_the_shipped_sites_parties_are_told_apart() -> None:
    inventory, compiled, _ = shipped()
    pairs = allowed(compiled.configuration, parties_of(inventory)).pairs()
    assert text(pairs["backend", "db"]) == "tcp/5432, tcp/6432"
    assert ("db", "backend") not in pairs

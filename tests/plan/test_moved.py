"""What moved since a plan was saved is told in words: each thing of its own, and nothing when nothing moved."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.plan.plan_worlds import worlds
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Guest, Rule
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.plan.model.document import Change, ContainerDocument, Kind, Origin, PlanDocument, Totals
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.saved.moved import moved
from zentoria_infra.plan.saved.saved_plan import GuestHashes, SavedPlan
from zentoria_infra.plan.saved.state_file import ContainerState, InsideState, StateDocument, state_of

MOTD = ResourceReport(id="file:/etc/motd", outcome="unchanged")
REPORT = GuestReport(vmid=404, mode="check", resources=(MOTD,))
RULE = Rule("in", "ACCEPT", source="dc/zt-backend", dport="5432", comment="zt/row-1")
CONTAINER = ContainerState(
    vmid=404, node="pve", kind="lxc", status="running", config={"memory": "4096"}, digest="a" * 40
)
FIREWALL = Configuration(
    Datacenter({"enable": "1"}, aliases=(Alias("zt-db", "10.10.40.4"),)),
    guests=(Guest(404, "db", "pve", (), {"dhcp": "0"}, rules=(RULE,)),),
)
STATE = StateDocument(
    site="lab",
    containers=(CONTAINER,),
    guests=(InsideState(vmid=404, recipe="r", report=REPORT),),
    firewall=FIREWALL,
    firewall_digests={"404/rules": "a", "datacenter/aliases": "b"},
)
CHANGE = Change(
    id="404/config/memory", vmid=404, container="db", action=Kind.UPDATE, what="memory", reason="r", after="8192",
    where="db.yaml:1:1", origin=Origin.INTENT,
)  # fmt: skip
PLAN = PlanDocument(
    changes=True,
    summary={},
    listing=(CHANGE,),
    containers=(ContainerDocument(vmid=404, name="db", node="pve", action="change in place", reason="r"),),
)
SAVED = SavedPlan(
    tool="1.0", site="lab", node="pve", inventory="1" * 64, state=STATE, plan=PLAN,
    guests=(GuestHashes(vmid=404, recipe="r", desired="d", reported="p"),),
)  # fmt: skip


def state(**changes: Any) -> SavedPlan:
    return SAVED.model_copy(update={"state": STATE.model_copy(update=changes)})


def container(**changes: Any) -> SavedPlan:
    return state(containers=(CONTAINER.model_copy(update={"digest": "b" * 40, **changes}),))


def firewall(datacenter: Datacenter | None = None, **changes: Any) -> SavedPlan:
    values = {"options": {"dhcp": "0"}, "rules": (RULE,), **changes}
    guest = Guest(404, "db", "pve", (), **values)
    return state(firewall=Configuration(datacenter or FIREWALL.datacenter, guests=(guest,)))


def hashes(**changes: str) -> SavedPlan:
    return SAVED.model_copy(update={"guests": (SAVED.guests[0].model_copy(update=changes),)})


def inside(resource: ResourceReport) -> SavedPlan:
    report = REPORT.model_copy(update={"resources": (resource,)})
    return state(guests=(InsideState(vmid=404, recipe="r", report=report),)).model_copy(
        update={"guests": (SAVED.guests[0].model_copy(update={"reported": "q"}),)}
    )


def replan(**changes: Any) -> SavedPlan:
    return SAVED.model_copy(update={"plan": PLAN.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (SAVED.model_copy(update={"tool": "1.1"}), "the plan was made by version 1.0, this is 1.1"),
        (SAVED.model_copy(update={"site": "home"}), "the plan is for lab, this is home"),
        (SAVED.model_copy(update={"node": "pve2"}), "the plan is for pve, this is pve2"),
        (SAVED.model_copy(update={"inventory": "2" * 64}), "the inventory has changed since (hash 1111"),
        (SAVED.model_copy(update={"selected": (404,)}), "the choice of containers: all -> 404"),
        (state(containers=()), "container 404 (db): it existed, and does not any more"),
        (state(containers=(CONTAINER, CONTAINER.model_copy(update={"vmid": 405}))),
         "container 405: it did not exist, and does now"),
        (container(config={"memory": "2048"}),
         "container 404 (db): its configuration has changed since (memory 4096 -> 2048)"),
        (container(config={"memory": "4096", "cores": "2"}), "(cores (none) -> 2)"),
        (container(), "container 404 (db): its configuration has changed since (in what is not shown: a snapshot"),
        (container(config={"memory": "4096", "lxc": "(not shown)"}), "(lxc (none) -> (not shown))"),
        (container(status="stopped", digest="a" * 40), "its status has changed since (running -> stopped)"),
        (container(node="pve2", digest="a" * 40), "its node has changed since (pve -> pve2)"),
        (container(pending=("memory",), digest="a" * 40), "what waits for a restart has changed since (nothing -> mem"),
        (state(taken=(407,)), "VMID 407 is taken now by something that our token may not see"),
        (state(problems=("no pool",)), "new on the node: no pool"),
        (state(no_inside="no SSH"), "the way into containers: open -> no SSH"),
        (state(firewall=None, firewall_unknown="403"), "the firewall could be read then; now: 403"),
        (firewall(options={"dhcp": "1"}), "firewall of container 404 (db): its options have changed since (dhcp 0 -> "),
        (firewall(rules=()), "firewall of container 404 (db): a rule is gone: in ACCEPT source=dc/zt-backend dport=5"),
        (firewall(rules=(RULE, RULE)), "the order or number of its rules has changed since"),
        (firewall(Datacenter({"enable": "0"}, aliases=FIREWALL.datacenter.aliases)),
         "firewall of the datacenter: its options have changed since (enable 1 -> 0)"),
        (firewall(Datacenter({"enable": "1"})), "firewall of the datacenter: alias zt-db is gone since"),
        (state(firewall_digests={"404/rules": "x", "datacenter/aliases": "b"}),
         "firewall of container 404 (db): its rules changed since, in a comment or an object of others"),
        (hashes(recipe="s"), "inside of container 404 (db): what is wanted there has changed since (the inventory"),
        (hashes(desired="e"), "what is wanted there has changed since (a password, a certificate or a release)"),
        (hashes(reported="q"), "what is there has changed since (in what is not shown)"),
        (inside(MOTD.model_copy(update={"outcome": "would-change"})), "is there has changed since (file:/etc/motd"),
        (state(guests=(InsideState(vmid=404, unknown="it is down"),)),
         "it could be looked at then, and could not be looked at (it is down) now"),
        (replan(listing=()), "the plan made now is another one (404/config/memory)"),
        (replan(listing=(CHANGE.model_copy(update={"after": "9"}),)), "another one (404/config/memory)"),
        (replan(problems=("x",)), "another one (problems)"),
    ],
)  # fmt: skip
def test_each_thing_that_moved_is_named(now: SavedPlan, words: str) -> None:
    said = moved(SAVED, now)
    assert any(words in text for text in said), said
    assert len(said) == 1


def test_where_something_is_said_and_where_a_change_comes_from_is_not_what_is_done() -> None:
    change = CHANGE.model_copy(update={"where": "db.yaml:7:1", "origin": Origin.DRIFT})
    assert moved(SAVED, replan(listing=(change,), totals=Totals(drift=1))) == ()


OURS, NEWER = "zentoria-20261125-223100", "zentoria-20261126-010203"


@pytest.mark.parametrize(("then", "now"), [("", OURS), (OURS, NEWER), (OURS, "")])
def test_a_snapshot_of_ours_moves_nothing(then: str, now: str) -> None:
    before, after = (container(config={"memory": "4096"} | ({"parent": one} if one else {})) for one in (then, now))
    first = before.state.containers[0].model_copy(update={"digest": "c" * 40})
    assert (
        moved(before.model_copy(update={"state": before.state.model_copy(update={"containers": (first,)})}), after)
        == ()
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"memory": "4096", "parent": "before-upgrade"}, "parent (none) -> before-upgrade"),
        ({"memory": "8192", "parent": OURS}, "memory 4096 -> 8192"),
        ({"memory": "4096", "parent": OURS, "env": "(not shown)"}, "env (none) -> (not shown)"),
    ],
)
def test_one_of_others_and_what_comes_with_ours_is_told(config: dict[str, str], words: str) -> None:
    (said,) = moved(SAVED, container(config=config))
    assert words in said


@given(worlds, worlds)
@settings(max_examples=60)
def test_worlds_that_differ_are_never_the_same(one: World, other: World) -> None:
    then, now = (SAVED.model_copy(update={"state": state_of(world, (), "lab")}) for world in (one, other))
    assert moved(then, then) == ()
    assert bool(moved(then, now)) == (then.state != now.state)

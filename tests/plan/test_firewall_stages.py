"""In which order a plan's firewall is carried out, and how the plan says so."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.firewall.fw_inventories import GATEWAY, container, flow, inventory, port
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.events import Status
from zentoria_infra.firewall.change.changes import two_phases
from zentoria_infra.firewall.change.steps import DropRule, InsertRule, UpdateRule, Where, apply_step
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Rule
from zentoria_infra.firewall.identity import OPENING
from zentoria_infra.inventory.model import Flow, Inventory
from zentoria_infra.plan.firewall import add_firewall
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.show.document import document
from zentoria_infra.plan.stages.build import build_stages
from zentoria_infra.plan.stages.one_first import one_first
from zentoria_infra.plan.stages.types import (
    AnyStage,
    Close,
    CloseSources,
    Converge,
    CutConnections,
    Destroy,
    ForgetFlows,
    GainFlows,
    LoseFlows,
    OpenSources,
    Start,
    SwitchOn,
)

A_TO_B, C_TO_B = flow("a", "b", 5432, row=7), flow("c", "b", 22, row=8)


def small(*flows: Flow) -> Inventory:
    containers = [container(1, "a"), container(2, "b", port(5432), port(22)), container(3, "c")]
    return inventory(containers, list(flows or (A_TO_B, C_TO_B)), proxy=f"http://{GATEWAY}:3128")


def applied(*flows: Flow) -> Configuration:
    return proven_firewall(small(*flows)).compiled.configuration


def staged(
    made: Inventory, there: Configuration, actions: dict[str, Action] | None = None, converge: str = ""
) -> tuple[Plan, dict[str, AnyStage]]:
    actions = actions or {}
    begun = (Action.CREATE, Action.REPLACE, Action.START)
    containers = tuple(
        ContainerPlan(
            one.vmid, one.name, one.name, "pve", actions.get(one.name, Action.NONE), "",
            start=actions.get(one.name) in begun, restart=actions.get(one.name) is Action.RESTART,
            converge=one.name in converge,
        )
        for one in made.containers
    )  # fmt: skip
    plan = add_firewall(Plan(containers), World({}, firewall=there), proven_firewall(made))
    return plan, {stage.id: stage for stage in build_stages(plan, desired_containers(made))}


def before(stages: dict[str, AnyStage], name: str) -> set[str]:
    """Everything that has ended before a stage begins."""
    found: set[str] = set()
    left = [name]
    while left:
        more = {name for name in stages[left.pop()].after if name in stages} - found
        found |= more
        left += more
    return found


def test_objects_then_the_switch_then_rules_then_start_then_converging() -> None:
    plan, stages = staged(small(), Configuration(), dict.fromkeys("abc", Action.CREATE), converge="abc")
    assert list(stages)[:2] == ["datacenter:firewall", "datacenter:switch"]
    assert stages["datacenter:switch"].after == ("datacenter:firewall",)
    for vmid in (401, 402, 403):
        assert {"datacenter:firewall", f"{vmid}:create"} <= before(stages, f"{vmid}:firewall")
        assert {"datacenter:switch", f"{vmid}:firewall", f"{vmid}:configure"} <= before(stages, f"{vmid}:start")
        assert f"{vmid}:start" in before(stages, f"{vmid}:converge")
    assert not any(isinstance(stage, LoseFlows | CutConnections) for stage in stages.values())
    assert plan.switch_on


def test_containers_do_not_wait_for_the_switch_with_anything_but_their_start() -> None:
    """Seconds pass until it is proven that the node can be reached; meanwhile they are made."""
    _, stages = staged(small(), Configuration(), dict.fromkeys("abc", Action.CREATE))
    assert "datacenter:switch" not in before(stages, "401:firewall")


@pytest.mark.parametrize("action", [Action.CREATE, Action.REPLACE, Action.START])
def test_no_container_starts_before_its_firewall_is_in_force(action: Action) -> None:
    """Not even one that exists: a run that was killed may have written its rules a second ago."""
    plan, stages = staged(small(), applied(), {"a": action})
    start = stages["401:start"]
    assert isinstance(start, Start) and start.guarded
    assert any("start, once its firewall is in force" in line for line in explain.lines(plan, [*stages.values()]))
    alone = build_stages(Plan(plan.containers), desired_containers(small()))
    assert [one.guarded for one in alone if isinstance(one, Start)] == [False], "where the firewall is not ours to keep"


def test_package_sources_of_a_new_container_come_into_force_with_its_rules_where_nothing_comes_between() -> None:
    """It converges as soon as it runs, so that it need not wait for another cycle. One that runs is opened later."""
    _, stages = staged(small(), applied(), {"a": Action.CREATE, "b": Action.START}, converge="ab")
    gains, closes = stages["401:firewall"], stages["401:close-sources"]
    assert isinstance(gains, GainFlows) and isinstance(closes, CloseSources)
    opened = [step for step in gains.steps if isinstance(step, InsertRule) and step.rule.comment.startswith(OPENING)]
    assert opened and "401:open-sources" not in stages
    closed = [step.rule for step in closes.closing if isinstance(step, DropRule)]
    assert sorted(step.rule.comment for step in opened) == sorted(rule.comment for rule in closed)
    assert closes.finishes == ("401:firewall", "401:converge")
    other = stages["402:open-sources"]
    assert isinstance(other, OpenSources) and other.steps and other.after == ("402:start",)
    assert stages["402:converge"].after == ("402:open-sources",)
    assert stages["402:close-sources"].finishes == ("402:open-sources", "402:converge")


def waiting(action: Action = Action.CREATE) -> dict[str, AnyStage]:
    """Stages of a, which needs b: both are opened for their packages."""
    made = small()
    plan, _ = staged(made, Configuration(), dict.fromkeys("abc", action), converge="abc")
    desired = [
        dataclasses.replace(one, order={"a": 2}.get(one.name, 1), needs=frozenset({402} if one.name == "a" else ()))
        for one in desired_containers(made)
    ]
    return {stage.id: stage for stage in build_stages(plan, desired)}


def test_who_needs_a_container_waits_until_it_is_converged_and_not_until_its_sources_are_seen_to_be_closed() -> None:
    stages = waiting()
    assert stages["401:converge"].after == ("401:open-sources", "402:converge")
    assert "402:close-sources" not in before(stages, "401:converge")
    ends = [stage for stage in stages.values() if isinstance(stage, CloseSources)]
    assert [stage.after for stage in ends] == [(f"{vmid}:converge",) for vmid in (401, 402, 403)]


def test_sources_of_who_waits_are_opened_when_what_it_waits_for_has_its_packages() -> None:
    """Not for the whole run; and not so late that it waits for another cycle."""
    stages = waiting()
    assert stages["401:open-sources"].after == ("401:start", "402:packages")
    assert stages["402:converge"].halfway == "402:packages"
    gains = stages["401:firewall"]
    assert isinstance(gains, GainFlows)
    assert not any(isinstance(one, InsertRule) and one.rule.comment.startswith(OPENING) for one in gains.steps)


def test_what_a_killed_run_has_opened_is_not_opened_again_and_closed_like_the_rest() -> None:
    """It may have died before the container began to converge."""
    there = applied()
    for step in proven_firewall(small()).opening(401)[0]:
        there = apply_step(there, step)
    _, stages = staged(small(), there, {"a": Action.CONVERGE}, converge="a")
    closes = stages["401:close-sources"]
    assert isinstance(closes, CloseSources) and closes.closing
    assert closes.finishes == ("401:converge",) and "401:open-sources" not in stages
    _, idle = staged(small(), there)
    assert isinstance(idle["401:lose"], LoseFlows), "also where there is nothing else to do"


@pytest.mark.parametrize("failing", ["402:converge", "402:start", "401:create", "401:open-sources", "401:converge"])
def test_what_was_opened_is_closed_whatever_fails(failing: str) -> None:
    stages = waiting()
    done: list[str] = []

    def perform(stage: AnyStage, say: Any) -> None:
        done.append(stage.id)
        if stage.id == failing:
            raise ZentoriaError("carry it out", got="no")

    engine.run(list(stages.values()), perform, lambda event: None, workers=1)
    for vmid in (401, 402, 403):
        opens = [one for one in stages[f"{vmid}:close-sources"].finishes if one in done]
        assert (f"{vmid}:close-sources" in done) is bool(opens), (vmid, done)


def test_the_rest_of_a_redeploy_waits_for_the_first_to_be_converged_and_not_for_what_puts_away_after_it() -> None:
    """That ends well also when converging has failed."""
    stages = waiting()
    found = one_first(list(stages.values()), desired_containers(small()))
    first = next(stage.vmid for stage in found if isinstance(stage, Converge))
    others = [stage for stage in found if isinstance(stage, Converge) and stage.vmid != first]
    assert others and all(f"{first}:converge" in stage.after for stage in others)
    assert all(f"{first}:close-sources" not in stage.after for stage in others)


def test_losses_wait_for_everything_and_cutting_for_them() -> None:
    seen = applied()
    aliases = (*seen.datacenter.aliases, Alias("zt-old", "10.10.40.9", "zt/site:small/alias/old"))
    seen = dataclasses.replace(seen, datacenter=dataclasses.replace(seen.datacenter, aliases=aliases))
    _, stages = staged(small(C_TO_B), seen, {"c": Action.RESTART}, converge="c")
    work = {"403:restart", "403:open-sources", "403:converge", "403:close-sources"}
    assert work <= before(stages, "401:lose") and work <= before(stages, "402:lose")
    assert before(stages, "datacenter:cut") == {*work, "401:lose", "402:lose", *before(stages, "401:lose")}
    assert list(stages)[-3:] == ["401:forget", "402:forget", "datacenter:forget"]
    assert "datacenter:cut" in before(stages, "401:forget") and "datacenter:cut" in before(stages, "402:forget")
    assert {"401:forget", "402:forget"} <= before(stages, "datacenter:forget")


def test_a_run_killed_before_it_cuts_leaves_what_the_next_one_cuts() -> None:
    plan, stages = staged(small(C_TO_B), applied())
    state = applied()
    for stage in stages.values():
        if isinstance(stage, LoseFlows):
            for step in stage.steps:
                state = apply_step(state, step)
    again, left = staged(small(C_TO_B), state)
    assert again.cut == plan.cut != ()
    assert list(left) == ["datacenter:cut", "401:forget", "402:forget"]
    for stage in left.values():
        if isinstance(stage, ForgetFlows):
            for step in stage.steps:
                state = apply_step(state, step)
    assert staged(small(C_TO_B), state)[0].empty


def test_a_cut_that_fails_is_not_forgotten() -> None:
    _, stages = staged(small(C_TO_B), applied())
    assert not stages["401:forget"].anyway
    assert stages["datacenter:cut"].anyway


def test_what_a_stopped_container_loses_is_gone_before_it_starts() -> None:
    stale = Rule("in", "ACCEPT", comment="zt/row-99/x/b/tcp old")
    _, stages = staged(small(), with_rules(applied(), 402, stale), {"b": Action.START})
    assert "402:lose" in before(stages, "402:start")
    assert [stage.id for stage in stages.values() if isinstance(stage, LoseFlows)] == ["402:lose"]


def with_rules(there: Configuration, vmid: int, *more: Rule) -> Configuration:
    guests = tuple(
        dataclasses.replace(one, rules=(*more, *one.rules)) if one.vmid == vmid else one for one in there.guests
    )
    return dataclasses.replace(there, guests=guests)


def test_what_is_closed_meanwhile_is_closed_before_shared_objects_change() -> None:
    plan, _ = staged(small(), applied(), {"b": Action.REPLACE, "c": Action.CHANGE})
    shut = {one.vmid: (InsertRule(Where(vmid=one.vmid), Rule("in", "DROP")),) for one in plan}
    objects = dataclasses.replace(plan.datacenter, gained=shut[401])
    containers = tuple(dataclasses.replace(one, closed=shut[one.vmid] if one.vmid != 401 else ()) for one in plan)
    plan = dataclasses.replace(plan, containers=containers, datacenter=objects)
    stages = {stage.id: stage for stage in build_stages(plan, desired_containers(small()))}
    assert stages["datacenter:firewall"].after == ("402:close", "403:close")
    assert stages["402:destroy"].after == ("402:close",)
    assert {type(stages[name]) for name in ("402:close", "403:close")} == {Close}
    assert [stage.id for stage in stages.values() if isinstance(stage, Destroy)] == ["402:destroy"]
    without = dataclasses.replace(plan, datacenter=dataclasses.replace(objects, gained=()))
    alone = {stage.id: stage for stage in build_stages(without, desired_containers(small()))}
    assert "402:close" in before(alone, "402:firewall")


ENDS = {
    "start": {"401:lose", "402:lose", "datacenter:cut"},
    "401:lose": {"402:lose", "datacenter:cut"},
}


@pytest.mark.parametrize("failing", ENDS)
def test_losses_and_cutting_are_done_anyway_and_everything_else_is_not(failing: str) -> None:
    _, stages = staged(small(C_TO_B), applied(), {"c": Action.RESTART}, converge="c")

    def perform(stage: AnyStage, say: Any) -> None:
        if stage.id == failing or (failing == "start" and stage.id == "403:restart"):
            raise ZentoriaError("carry it out", got="no")

    ended = {one.stage.id: one.status for one in engine.run(list(stages.values()), perform, lambda event: None).ended}
    assert {name for name, status in ended.items() if status is Status.DONE} >= ENDS[failing]
    assert ended["403:converge"] is (Status.SKIPPED if failing == "start" else Status.DONE)


@pytest.mark.parametrize(
    ("kind", "anyway"),
    [(LoseFlows, True), (CutConnections, True), (GainFlows, False), (SwitchOn, False), (Start, False), (Close, False),
     (OpenSources, False), (Converge, False), (CloseSources, True)],
)  # fmt: skip
def test_only_what_takes_away_begins_after_a_failure(kind: type, anyway: bool) -> None:
    assert kind.anyway is anyway


# In words and as data.


def text(plan: Plan, stages: dict[str, AnyStage], **more: bool) -> str:
    return "\n".join(explain.lines(plan, list(stages.values()), **more))


def test_a_new_stack_says_what_the_switch_means_and_how_much_is_written() -> None:
    plan, stages = staged(small(), Configuration(), dict.fromkeys("abc", Action.CREATE), converge="abc")
    said = text(plan, stages)
    assert "~ datacenter: firewall\n    it is turned on: nodes are closed but for" in said
    gained = len(plan.datacenter.gained)
    assert f"    steps: firewall (+{gained}) → turn the datacenter's firewall on\n" in said
    assert "converge (package sources open)" in said
    assert "is missing" not in said.partition("+ 401")[2]
    assert (
        said.splitlines()[-1]
        == f"Plan: 3 create, firewall +{gained + sum(len(one.firewall.gained) for one in plan)} -0."
    )
    assert "zt/row-7/a/b/tcp] is missing" in text(plan, stages, everything=True)


def test_lost_flows_and_rules_of_others_are_told() -> None:
    by_hand = Rule("in", "ACCEPT", proto="tcp", dport="22", comment="mine")
    plan, stages = staged(small(C_TO_B), with_rules(applied(), 403, by_hand))
    said = text(plan, stages)
    assert "- a → b tcp/5432: lost, and its open connections are cut" in said
    assert "? not Zentoria's, left as it is: rule IN ACCEPT -p tcp -dport 22 of 403" in said
    assert "~ 402 b: change in place (its firewall differs)" in said
    assert (
        "    firewall: IN ACCEPT -i net0 -source dc/zt-small_a -p tcp -dport 5432 [zt/row-7/a/b/tcp] is not needed"
        in said
    )
    assert "    steps: firewall (-1) → firewall (-1 asleep)" in said
    assert "403" not in [line.split()[1] for line in said.splitlines() if line.startswith("~")]


def test_many_reasons_are_shortened_unless_all_are_asked_for() -> None:
    there = applied()
    guests = tuple(dataclasses.replace(one, options={}, rules=(), ipsets=()) for one in there.guests)
    plan, stages = staged(small(), dataclasses.replace(there, guests=guests))
    of_b = text(plan, stages).partition("~ 402")[2].partition("~ 403")[0]
    assert of_b.count("    firewall: ") == 8
    count = len(next(one for one in plan if one.name == "b").firewall.reasons)
    assert f"firewall: and {count - 7} more (`zentoria plan --all`)" in of_b
    of_b = text(plan, stages, everything=True).partition("~ 402")[2].partition("~ 403")[0]
    assert of_b.count("    firewall: ") == count


def test_no_change_says_nothing_of_a_firewall() -> None:
    plan, stages = staged(small(), applied())
    assert stages == {}
    assert text(plan, stages) == "No changes: 3 containers are as the inventory says."


def test_a_closed_container_says_so() -> None:
    plan, _ = staged(small(), applied(), {"b": Action.CHANGE})
    closed = tuple(
        dataclasses.replace(one, closed=(InsertRule(Where(vmid=402), Rule("in", "DROP")),)) if one.vmid == 402 else one
        for one in plan
    )
    plan = dataclasses.replace(plan, containers=closed)
    stages = {stage.id: stage for stage in build_stages(plan, desired_containers(small()))}
    assert "    steps: close it meanwhile" in text(plan, stages)


def test_the_plan_as_data_has_every_step_and_every_reason() -> None:
    by_hand = Rule("in", "ACCEPT", proto="tcp", dport="22")
    seen = with_rules(applied(), 402, by_hand)
    seen = dataclasses.replace(seen, datacenter=Datacenter(aliases=seen.datacenter.aliases))
    plan, stages = staged(small(C_TO_B), seen)
    data = json.loads(document(plan, list(stages.values())).model_dump_json())
    assert data["changes"] is True
    assert data["firewall"]["turn_on"] is True
    assert data["firewall"]["foreign"] == ["rule IN ACCEPT -p tcp -dport 22 of 402"]
    assert data["firewall"]["lost_flows"]
    assert "add security group zt-small_deny" in data["firewall"]["datacenter"]["gained"]
    (b,) = [one for one in data["containers"] if one["name"] == "b"]
    assert b["firewall"]["lost"] == [
        "remove IN ACCEPT -i net0 -source dc/zt-small_a -p tcp -dport 5432 [zt/row-7/a/b/tcp]"
    ]
    assert len(b["firewall"]["reasons"]) == 1
    assert b["steps"] == ["firewall (-1)", "firewall (-1 asleep)"]


def test_a_firewall_that_was_not_read_is_data_too() -> None:
    made = small()
    containers = tuple(ContainerPlan(one.vmid, one.name, one.name, "pve", Action.NONE, "") for one in made.containers)
    unread = World({}, firewall_unknown="403: Sys.Audit on / is lacking")
    plan = add_firewall(Plan(containers), unread, proven_firewall(made))
    assert document(plan, ()).model_dump(mode="json")["problems"] == [
        "the firewall could not be read, so nothing is applied: 403: Sys.Audit on / is lacking"
    ]
    assert "! the firewall could not be read" in text(plan, {})


def test_an_opening_that_a_killed_run_left_goes_at_once_and_not_to_sleep() -> None:
    """Converging closes it too: whoever comes second finds nothing, which is fine only for a removal."""
    left = Rule("out", "ACCEPT", iface="net0", proto="tcp", dport="80", comment="zt/opening/b/tcp Package sources")
    stale = Rule("in", "ACCEPT", proto="tcp", dport="22", comment="zt/row-99/x/b/tcp old")
    first, then = two_phases((DropRule(Where(vmid=402), left), DropRule(Where(vmid=402), stale)))
    asleep = dataclasses.replace(stale, enable=False)
    assert first == (DropRule(Where(vmid=402), left), UpdateRule(Where(vmid=402), asleep, stale))
    assert then == (DropRule(Where(vmid=402), asleep),)

"""The listing of a plan: every change with what it disturbs, who asks for it, and where it comes from."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.test_diff import CLEAN, DB, SAME, seen
from tests.plan.test_firewall_stages import C_TO_B, applied, small, staged
from tests.support.json_schema import mismatches
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.plan.diff import make_plan
from zentoria_infra.plan.model.change import Action, Plan
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.saved.applied import Applied, Origins, container_values, digests, shared_values
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.show.document import Change, Disturbs, Kind, Origin, PlanDocument, document, schema
from zentoria_infra.plan.show.listing import NOTHING_ELSE, Basis, changes_of
from zentoria_infra.plan.stages.build import build_stages

KEY = b"k"
SCHEMA = schema()
DRIFTED = Basis(
    places={404: {"": "inventory/containers/404-db.yaml:1:1", "inside/file:/etc/motd": "db.yaml:7:1"}},
    pool="zentoria",
    origins=Origins(
        Applied({404: digests(container_values(DB), 404, KEY)}), {404: digests(container_values(DB), 404, KEY)}
    ),
)


def planned(observed: ObservedContainer | None, check: GuestCheck = CLEAN, **world: Any) -> Plan:
    return make_plan((DB,), World({404: observed} if observed else {}, guests={404: check}, **world))


def listed(plan: Plan, basis: Basis = NOTHING_ELSE) -> dict[str, Change]:
    changes = changes_of(plan, build_stages(plan, [DB]), basis)
    found = {change.id: change for change in changes}
    assert len(found) == len(changes)
    return found


def inside(*resources: ResourceReport, failed: str = "") -> GuestCheck:
    return GuestCheck(GuestReport(vmid=404, mode="check", resources=resources, failed=failed))


def would(name: str, **more: Any) -> ResourceReport:
    return ResourceReport(id=name, outcome="would-change", **more)


@pytest.mark.parametrize(
    ("observed", "check", "name", "action", "disturbs"),
    [
        (None, CLEAN, "404/container", Kind.CREATE, Disturbs.NONE),
        (seen("stopped"), CLEAN, "404/status", Kind.START, Disturbs.NONE),
        (seen(memory="512"), CLEAN, "404/config/memory", Kind.UPDATE, Disturbs.NONE),
        (seen(cores=None), CLEAN, "404/config/cores", Kind.CREATE, Disturbs.NONE),
        (seen(net1="bridge=vmbr0"), CLEAN, "404/config/net1", Kind.DELETE, Disturbs.NONE),
        (seen(nameserver="1.1.1.1"), CLEAN, "404/config/nameserver", Kind.UPDATE, Disturbs.CONTAINER),
        (seen(nameserver="1.1.1.1"), CLEAN, "404/restart", Kind.RESTART, Disturbs.CONTAINER),
        (seen("stopped", nameserver="1.1.1.1"), CLEAN, "404/config/nameserver", Kind.UPDATE, Disturbs.NONE),
        (seen(mp5="local:x,mp=/x"), CLEAN, "404/config/mp5", Kind.DELETE, Disturbs.CONTAINER),
        (seen(rootfs="local:d,size=1G"), CLEAN, "404/config/rootfs/size", Kind.UPDATE, Disturbs.NONE),
        (seen(unprivileged=None), CLEAN, "404/config/unprivileged", Kind.UPDATE, Disturbs.REPLACEMENT),
        (seen(unprivileged=None), CLEAN, "404/container", Kind.REPLACE, Disturbs.REPLACEMENT),
        (seen(description="mine", tags=""), CLEAN, "404/container", Kind.REFUSE, Disturbs.NONE),
        (seen("stopped", lock="create"), CLEAN, "404/container", Kind.WAIT, Disturbs.NONE),
        (seen(), GuestCheck(unknown="it is down"), "404/inside", Kind.LOOK, Disturbs.NONE),
        (seen(), inside(would("file:/a", detail="content")), "404/inside/file:/a", Kind.UPDATE, Disturbs.NONE),
        (seen(), inside(would("file:/a", detail="new file")), "404/inside/file:/a", Kind.CREATE, Disturbs.NONE),
        (seen(), inside(would("file:/a", restarts=("a",))), "404/inside/file:/a", Kind.UPDATE, Disturbs.SERVICE),
        (seen(), inside(would("file:/a", reloads=("a",))), "404/inside/file:/a", Kind.UPDATE, Disturbs.RELOAD),
        (seen(), inside(would("absent:/a")), "404/inside/absent:/a", Kind.DELETE, Disturbs.NONE),
        (seen(), inside(would("unit:a", detail="enable and start")), "404/inside/unit:a", Kind.START, Disturbs.NONE),
        (seen(), inside(would("unit:a", detail="stop")), "404/inside/unit:a", Kind.STOP, Disturbs.SERVICE),
        (seen(), inside(would("unit:a", detail="mask")), "404/inside/unit:a", Kind.UPDATE, Disturbs.NONE),
        (seen(), inside(would("packages", detail="install x")), "404/inside/packages", Kind.CREATE, Disturbs.NONE),
        (seen(), inside(would("postgresql:role:a")), "404/inside/postgresql:role:a", Kind.RUN, Disturbs.NONE),
        (seen(), inside(failed="volume:/data"), "404/inside", Kind.LOOK, Disturbs.NONE),
    ],
)  # fmt: skip
def test_each_change_has_an_id_an_action_and_what_it_disturbs(observed, check, name, action, disturbs) -> None:
    change = listed(planned(observed, check))[name]
    assert (change.action, change.disturbs) == (action, disturbs)
    assert change.reason


def test_what_is_done_besides_is_listed_by_its_reason() -> None:
    (container,) = planned(seen())
    besides = Plan((dataclasses.replace(container, action=Action.CHANGE, reason="something is left of a run"),))
    (change,) = changes_of(besides, ())
    assert (change.id, change.action, change.reason) == ("404/container", Kind.RUN, "something is left of a run")


def test_no_change_lists_nothing() -> None:
    assert listed(planned(seen())) == {}


def test_a_change_names_its_line_and_the_privilege_it_needs() -> None:
    changes = listed(planned(seen(memory="512", onboot="0"), inside(would("file:/etc/motd"))), DRIFTED)
    memory = changes["404/config/memory"]
    assert memory.where == "inventory/containers/404-db.yaml:9:11"
    assert [(one.path, one.privilege) for one in memory.privileges] == [("/pool/zentoria", "VM.Config.Memory")]
    assert changes["404/config/onboot"].privileges[0].privilege == "VM.Config.Options"
    assert changes["404/inside/file:/etc/motd"].where == "db.yaml:7:1"


def test_a_replacement_blames_the_attribute_and_says_what_becomes_of_the_data() -> None:
    replaced = listed(planned(seen(unprivileged=None, memory="1")))
    whole = replaced["404/container"]
    assert whole.blames == ("unprivileged",)
    assert "the data on mp0 (/var/lib/postgresql) is " in whole.reason
    assert replaced["404/config/unprivileged"].blames == ("unprivileged",)
    assert replaced["404/config/memory"].blames == ()
    assert {need.privilege for need in whole.privileges} >= {"VM.Allocate", "VM.PowerMgmt"}


def test_what_cannot_be_known_says_why() -> None:
    change = listed(planned(seen(), GuestCheck(unknown="ssh is away")))["404/inside"]
    assert (change.unknown, change.origin) == ("ssh is away", Origin.UNKNOWN)
    found = document(plan := planned(seen(), GuestCheck(unknown="ssh is away")), build_stages(plan, [DB]))
    assert [(one.vmid, one.what, one.why) for one in found.unknown] == [(404, "inside", "ssh is away")]
    offline = planned(seen(), GuestCheck(), no_inside="offline")
    assert [one.why for one in document(offline, ()).unknown] == ["offline"]


def test_drift_is_told_from_intent_and_put_apart_in_words() -> None:
    plan = planned(seen(memory="512", cores="9"))
    stages = build_stages(plan, [DB])
    anew = {**DRIFTED.origins.now[404], "config/cores": "another"}
    basis = dataclasses.replace(DRIFTED, origins=Origins(DRIFTED.origins.applied, {404: anew}))
    assert {one.id: one.origin for one in changes_of(plan, stages, basis)} == {
        "404/config/memory": Origin.DRIFT, "404/config/cores": Origin.INTENT,
    }  # fmt: skip
    text = "\n".join(explain.lines(plan, stages, basis))
    asked, _, drifted = text.partition("Drift: changed outside Zentoria, and put back by this run:\n")
    assert "    cores: 9 → 2" in asked and "memory: " not in asked
    assert "    memory: 512 → 1024" in drifted and "cores: " not in drifted
    assert text.count("steps: ") == 1
    assert text.splitlines()[-1] == "Plan: 1 change in place, 1 drifted."
    assert "Drift" not in "\n".join(explain.lines(plan, stages))
    unread = dataclasses.replace(basis, origins=Origins(), unread="the disk is full")
    assert any(line.startswith("? drift cannot be told") for line in explain.lines(plan, stages, unread))
    assert "the disk is full" in [one.why for one in document(plan, stages, unread).unknown]


def test_a_service_restarts_on_purpose_when_something_before_it_is_asked_for() -> None:
    state = [f"inside/{name}" for name in ("file:/a", "unit:b", "step:c")]
    was = {name: "1" for name in state}
    report = inside(would("file:/a", detail="content"), would("unit:b", detail="restart"), would("step:c"))

    def of(now: dict[str, str]) -> list[Origin]:
        basis = Basis(origins=Origins(Applied({404: was}), {404: now}))
        return [one.origin for one in listed(planned(seen(), report), basis).values()]

    assert of(was) == [Origin.DRIFT] * 3
    assert of({**was, "inside/file:/a": "2"}) == [Origin.INTENT] * 3


def test_a_container_that_somebody_deleted_has_drifted() -> None:
    assert listed(planned(None), DRIFTED)["404/container"].origin is Origin.DRIFT


# The firewall: one change for each object, whatever calls it takes.


def of_firewall(plan: Plan, stages: Any, basis: Basis = NOTHING_ELSE) -> dict[str, Change]:
    return {one.id: one for one in changes_of(plan, list(stages.values()), basis)}


def test_a_lost_flow_is_a_rule_less_and_its_connections() -> None:
    found = of_firewall(*staged(small(C_TO_B), applied()))
    rule = found["402/firewall/in:zt/row-7/a/b/tcp"]
    assert (rule.action, rule.after) == (Kind.DELETE, "")
    assert "-dport 5432" in rule.before
    assert found["datacenter/connections"].diff == "- a → b tcp/5432"
    record = {
        vmid: {"firewall/in:zt/row-7/a/b/tcp": "1", "firewall/out:zt/row-7/a/b/tcp": "1"} for vmid in (0, 401, 402)
    }
    asked = Basis(origins=Origins(Applied(record), {key: {} for key in record}))
    anew = of_firewall(*staged(small(C_TO_B), applied()), asked)
    assert anew["datacenter/connections"].origin is Origin.INTENT
    assert anew["402/firewall/in:zt/row-7/a/b/tcp"].origin is Origin.INTENT
    plan, stages = staged(small(C_TO_B), applied())
    told = document(plan, list(stages.values()))
    assert (told.firewall.lost_flows, told.firewall.gained_flows) == (("a → b tcp/5432",), ())


def test_a_gained_flow_is_a_rule_more_at_both_ends() -> None:
    plan, stages = staged(small(), applied(C_TO_B))
    found = of_firewall(plan, stages)
    assert found["402/firewall/in:zt/row-7/a/b/tcp"].action is Kind.CREATE
    assert found["401/firewall/out:zt/row-7/a/b/tcp"].action is Kind.CREATE
    assert document(plan, list(stages.values())).firewall.gained_flows == ("a → b tcp/5432",)
    assert "+ a → b tcp/5432: gained" in list(explain.lines(plan, list(stages.values())))


def test_a_rule_and_an_option_that_somebody_changed_show_before_and_after() -> None:
    there = applied()
    guests = []
    for one in there.guests:
        rules = tuple(dataclasses.replace(rule, dport="9999") if rule.dport == "5432" else rule for rule in one.rules)
        guests.append(dataclasses.replace(one, rules=rules, options={**one.options, "dhcp": "1"}))
    plan, stages = staged(small(), dataclasses.replace(there, guests=tuple(guests)))
    wanted = applied()
    record = {0: digests(shared_values(wanted), 0, KEY)}
    record |= {vmid: digests({"firewall/option:dhcp": "0"}, vmid, KEY) for vmid in (401, 402, 403)}
    basis = Basis({0: {"zt/row-7/a/b/tcp": "zones.yaml:70:5"}}, "zentoria", Origins(Applied(record), record))
    found = of_firewall(plan, stages, basis)
    option = found["402/firewall/option:dhcp"]
    assert (option.action, option.before, option.after, option.origin) == (Kind.UPDATE, "1", "0", Origin.DRIFT)
    rule = found["402/firewall/in:zt/row-7/a/b/tcp"]
    assert (rule.action, rule.where) == (Kind.UPDATE, "zones.yaml:70:5")
    assert "-dport 9999" in rule.before and "-dport 5432" in rule.after
    assert ("/pool/zentoria", "VM.Config.Network") in {(one.path, one.privilege) for one in rule.privileges}


def test_objects_of_the_datacenter_and_its_switch_are_changes_of_their_own() -> None:
    there = applied()
    off = dataclasses.replace(there.datacenter, options={}, aliases=there.datacenter.aliases[1:])
    found = of_firewall(*staged(small(), dataclasses.replace(there, datacenter=off)))
    gone = there.datacenter.aliases[0]
    alias = found[f"datacenter/firewall/alias:{gone.name}"]
    assert (alias.action, alias.after, alias.vmid, alias.container) == (Kind.CREATE, gone.cidr, 0, "datacenter")
    assert (found["datacenter/firewall/switch"].before, found["datacenter/firewall/switch"].after) == ("off", "on")


def test_rules_that_are_there_twice_have_ids_of_their_own() -> None:
    there = applied()
    copied = tuple(dataclasses.replace(one, rules=(*one.rules, *one.rules)) for one in there.guests)
    plan, stages = staged(small(), dataclasses.replace(there, guests=copied))
    changes = changes_of(plan, list(stages.values()))
    assert len({one.id for one in changes}) == len(changes)
    assert any(one.reason.endswith("is there more than once") for one in changes)


def test_a_new_container_says_its_firewall_in_one() -> None:
    plan, stages = staged(small(), applied(), {"b": Action.CREATE}, converge="b")
    mine = {one.id: one for one in changes_of(plan, list(stages.values())) if one.vmid == 402}
    assert set(mine) == {"402/container", "402/firewall", "402/inside"}


# Laws.

values = st.sampled_from(["", "1", "0", "512", "x=y", "local:1", "mp=/x", "a`b|<i>\n", "\u202e"])
reports = st.lists(
    st.builds(
        ResourceReport,
        id=st.sampled_from(["file:/a", "unit:b", "packages", "step", "file:/c", "x:y:z", ""]),
        outcome=st.sampled_from(["would-change", "failed", "unchanged", "skipped"]),
        detail=st.text(max_size=20),
        diff=st.text(max_size=40),
        before=st.text(max_size=10),
        restarts=st.sampled_from([(), ("a.service",)]),
    ),
    max_size=5,
)


@given(
    st.dictionaries(st.sampled_from([*SAME, "mp5", "net7"]), values), reports, st.sampled_from(["running", "stopped"])
)
def test_every_plan_is_a_document_of_the_schema_and_reads_back_the_same(config, resources, status) -> None:
    plan = planned(seen(status, **config), inside(*resources))
    stages = build_stages(plan, [DB])
    made = document(plan, stages, DRIFTED)
    text = made.model_dump_json()
    assert mismatches(json.loads(text), SCHEMA, SCHEMA) == []
    assert PlanDocument.model_validate_json(text) == made
    assert document(plan, stages, DRIFTED).model_dump_json() == text
    assert made.changes == bool(made.listing)
    assert len({one.id for one in made.listing}) == len(made.listing)
    assert made.totals.changes == made.totals.intent + made.totals.drift + made.totals.unknown
    list(explain.lines(plan, stages, DRIFTED, everything=True))


def test_a_whole_new_stack_is_of_the_schema() -> None:
    plan, stages = staged(small(), applied(C_TO_B), {"a": Action.CREATE, "c": Action.RESTART}, converge="a")
    made = document(plan, list(stages.values()))
    assert mismatches(json.loads(made.model_dump_json()), SCHEMA, SCHEMA) == []


def test_a_replacement_that_somebody_asked_for_is_no_drift() -> None:
    asked = make_plan((DB,), World({404: seen()}, guests={404: CLEAN}, spare={404: 424}), replace=frozenset({404}))
    stages = build_stages(asked, (DB,))
    origins = {one.id: one.origin for one in changes_of(asked, stages, DRIFTED)}
    assert origins["404/container"] is Origin.INTENT
    assert set(origins.values()) == {Origin.INTENT}

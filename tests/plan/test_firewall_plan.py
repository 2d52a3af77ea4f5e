"""The firewall's part of a plan: fresh containers, drift, package sources, conflicts, some containers only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from tests.firewall.fw_inventories import GATEWAY, container, flow, inventory, port
from zentoria_infra.errors import RefusedError
from zentoria_infra.firewall.change.steps import (
    DropIpSet,
    DropRule,
    InsertRule,
    MakeIpSet,
    PutEntry,
    SetOptions,
    UpdateRule,
    rule_text,
    says,
)
from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.inventory.model import Flow, Inventory
from zentoria_infra.plan.firewall import DesiredFirewall, add_firewall, needs_packages
from zentoria_infra.plan.limits import require_possible
from zentoria_infra.plan.model.change import Action, ContainerPlan, Plan
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.proof import proven_firewall

PROXY = f"http://{GATEWAY}:3128"
A_TO_B = flow("a", "b", 5432, row=7)
C_TO_B = flow("c", "b", 22)


def small(*flows: Flow, **site: Any) -> Inventory:
    containers = [container(1, "a"), container(2, "b", port(5432), port(22), port(3142)), container(3, "c")]
    return inventory(containers, list(flows or (A_TO_B, C_TO_B)), **{"proxy": PROXY, **site})


def there(made: Inventory | DesiredFirewall) -> Configuration:
    """A node on which all of it is applied."""
    desired = made if isinstance(made, DesiredFirewall) else proven_firewall(made)
    found = desired.compiled.configuration
    on = dataclasses.replace(found.datacenter, options={**found.datacenter.options, "enable": "1"})
    return dataclasses.replace(found, datacenter=on)


def of_guest(configuration: Configuration, vmid: int, **changes: Any) -> Configuration:
    guests = tuple(
        dataclasses.replace(one, **changes) if one.vmid == vmid else one for one in configuration.guests
    )  # fmt: skip
    return dataclasses.replace(configuration, guests=guests)


def with_rules(configuration: Configuration, vmid: int, *rules: Rule) -> Configuration:
    return of_guest(configuration, vmid, rules=(*rules, *configuration.guest(vmid).rules))


def report(*changes: str, vmid: int = 401) -> GuestReport:
    resources = tuple(ResourceReport(id=one, outcome="would-change") for one in changes)
    return GuestReport(vmid=vmid, mode="check", resources=resources)


def one(made: Inventory, name: str, action: Action = Action.NONE, **more: Any) -> ContainerPlan:
    found = made.by_name(name)
    return ContainerPlan(found.vmid, name, f"small-{name}", "pve", action, "", **more)


def planned(
    made: Inventory,
    observed: Configuration | None,
    actions: Mapping[str, Action] | None = None,
    *,
    only: tuple[str, ...] = ("a", "b", "c"),
    world: Mapping[str, Any] | None = None,
    **converging: GuestReport | None,
) -> Plan:
    """The plan of containers with these actions; those in ``converging`` converge after such a look inside."""
    actions = actions or {}
    containers = tuple(
        one(
            made, name, actions.get(name, Action.CONVERGE if name in converging else Action.NONE),
            converge=name in converging, guest=converging.get(name),
        )
        for name in only
    )  # fmt: skip
    return add_firewall(Plan(containers), World({}, firewall=observed, **(world or {})), proven_firewall(made))


def by_name(plan: Plan, name: str) -> ContainerPlan:
    return next(found for found in plan if found.name == name)


def test_as_it_shall_be_is_no_change() -> None:
    plan = planned(small(), there(small()))
    assert plan.empty
    assert (plan.cut, plan.problems, plan.switch_on) == ((), (), False)


def test_a_fresh_node_gets_all_of_it() -> None:
    made = small()
    plan = planned(made, Configuration(), dict.fromkeys("abc", Action.CREATE))
    wanted = proven_firewall(made).compiled.configuration
    assert plan.switch_on
    assert plan.cut == ()
    assert [step.alias.name for step in plan.datacenter.gained if hasattr(step, "alias")] == [
        "zt-small_a",
        "zt-small_b",
        "zt-small_c",
    ]
    for found in plan:
        rules = [step.rule for step in found.firewall.gained if isinstance(step, InsertRule)]
        assert rules[::-1] == list(wanted.guest(found.vmid).rules)
        assert found.firewall.lost == ()
        assert isinstance(found.firewall.gained[-1], SetOptions)


def test_a_container_that_is_replaced_gets_its_rules_anew() -> None:
    """Proxmox removes a container's firewall with it."""
    plan = planned(small(), there(small()), {"b": Action.REPLACE})
    gained = by_name(plan, "b").firewall.gained
    assert sum(isinstance(step, InsertRule) for step in gained) == len(there(small()).guest(402).rules)
    assert by_name(plan, "b").action is Action.REPLACE


def test_drift_makes_a_change_of_what_had_none() -> None:
    seen = of_guest(there(small()), 402, options={"enable": "0"})
    plan = planned(small(), seen)
    assert (by_name(plan, "b").action, by_name(plan, "b").reason) == (Action.CHANGE, "its firewall differs")
    assert by_name(plan, "a").action is Action.NONE
    assert "option enable is 0, not 1" in by_name(plan, "b").firewall.reasons


def test_drift_leaves_what_is_worse_as_it_is() -> None:
    seen = of_guest(there(small()), 402, options={"enable": "0"})
    assert by_name(planned(small(), seen, {"b": Action.RESTART}), "b").action is Action.RESTART


def test_a_flow_that_goes_is_lost_at_both_ends_and_cut() -> None:
    plan = planned(small(C_TO_B), there(small()))
    lost = {found.name: [says(step) for step in found.firewall.lost] for found in plan}
    assert lost["c"] == []
    assert [text.count("zt/row-7/a/b/tcp") for name in "ab" for text in lost[name]] == [1, 1]
    assert [found.says for found in plan.cut] == ["a → b tcp/5432"]


def test_without_an_inside_nothing_is_cut() -> None:
    assert planned(small(C_TO_B), there(small()), world={"no_inside": "no SSH"}).cut == ()


@pytest.mark.parametrize("gone_from", ["a", "b"])
def test_a_flow_of_which_only_one_end_is_planned_is_cut_there(gone_from: str) -> None:
    """As in `redeploy NAME`: the other end is not looked at, and a later run would see nothing that is lost."""
    whole = there(small())
    vmid = small().by_name(gone_from).vmid
    seen = dataclasses.replace(whole, guests=(whole.guest(vmid),))
    plan = planned(small(C_TO_B), seen, only=(gone_from,))
    assert [found.says for found in plan.cut] == ["a → b tcp/5432"]
    assert planned(small(), seen, only=(gone_from,)).empty


def test_some_containers_leave_objects_that_others_may_name() -> None:
    whole = there(small())
    aliases = (*whole.datacenter.aliases, Alias("zt-old", "10.10.40.9", "zt/site:small/alias/old"))
    seen = dataclasses.replace(whole, datacenter=dataclasses.replace(whole.datacenter, aliases=aliases))
    assert planned(small(), seen, only=("a",)).datacenter.lost == ()
    assert [says(step) for step in planned(small(), seen).datacenter.lost] == ["remove alias zt-old"]


@pytest.mark.parametrize("action", [Action.REFUSE, Action.WAIT])
def test_what_is_not_ours_or_not_there_yet_gets_no_firewall(action: Action) -> None:
    whole = there(small())
    seen = dataclasses.replace(whole, guests=(whole.guest(401), whole.guest(403)))
    found = by_name(planned(small(), seen, {"b": action}), "b")
    assert found.firewall.empty
    assert (found.action, found.opening, found.closing) == (action, (), ())


# Package sources.


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        pytest.param(None, True, id="unknown"),
        pytest.param(report("packages:base", "service:nginx"), True, id="packages"),
        pytest.param(report("service:nginx"), False, id="none"),
        pytest.param(report().model_copy(update={"failed": "packages:base"}), True, id="failed"),
    ],
)
def test_sources_are_opened_where_packages_may_be_installed(look: GuestReport | None, expected: bool) -> None:
    assert needs_packages(look) is expected
    found = by_name(planned(small(), there(small()), a=look), "a")
    assert bool(found.opening) is bool(found.closing) is bool(found.through) is expected
    assert found.firewall.empty
    assert found.action is Action.CONVERGE


def test_what_is_opened_is_closed_and_nothing_else() -> None:
    found = by_name(planned(small(), there(small()), a=None), "a")
    assert [identity(step.rule.comment) for step in found.opening if isinstance(step, InsertRule)] == [
        "zt/opening/a/tcp"
    ]
    assert [step.rule for step in found.closing if isinstance(step, DropRule)] == [
        step.rule for step in found.opening if isinstance(step, InsertRule)
    ]
    assert [flow.says for flow in found.through] == ["a → gateway tcp/3128"]
    assert by_name(planned(small(), there(small()), a=None), "b").opening == ()


def test_a_proxy_of_our_own_is_opened_at_both_ends_and_for_that_container_alone() -> None:
    made = small(proxy="http://10.10.40.2:3142")
    found = by_name(planned(made, there(made), a=None), "a")
    assert {step.where.vmid for step in found.opening} == {step.where.vmid for step in found.closing} == {401, 402}
    assert {identity(step.rule.comment) for step in found.opening if isinstance(step, InsertRule)} == {
        "zt/opening/a/tcp"
    }
    assert [flow.says for flow in found.through] == ["a → b tcp/3142"]
    assert by_name(planned(made, there(made), b=None), "b").opening == ()  # it is its own


def test_an_opening_that_was_left_is_lost_and_not_made_twice() -> None:
    made = small(dns={"nameservers": (GATEWAY,)}, proxy=None)
    opened = proven_firewall(made).opened.configuration.guest(401).rules
    left = next(rule for rule in opened if identity(rule.comment) == "zt/opening/a/tcp")
    seen = with_rules(there(made), 401, left)
    found = by_name(planned(made, seen, a=None), "a")
    assert [identity(step.rule.comment) for step in found.opening if isinstance(step, InsertRule)] == [
        "zt/opening/a/dns/tcp", "zt/opening/a/dns/udp",
    ]  # fmt: skip
    assert len(found.closing) == 3
    assert [says(step) for step in found.firewall.lost] == [f"remove {rule_text(left)}"]
    edited = with_rules(there(made), 401, dataclasses.replace(left, enable=False))
    again = by_name(planned(made, edited, a=None), "a")
    assert [type(step) for step in again.opening].count(UpdateRule) == 1


def test_an_opening_that_was_left_is_proven_closed_also_where_nothing_converges() -> None:
    left = next(
        rule
        for rule in proven_firewall(small()).opened.configuration.guest(401).rules
        if identity(rule.comment) == "zt/opening/a/tcp"
    )
    plan = planned(small(), with_rules(there(small()), 401, left))
    found = by_name(plan, "a")
    assert (found.action, found.opening) == (Action.CHANGE, ())
    assert [flow.says for flow in found.through] == ["a → gateway tcp/3128"]
    assert [flow.says for flow in plan.cut] == ["a → gateway tcp/3128"]


def test_what_a_flow_allows_anyway_does_not_go_through_the_opening() -> None:
    web = container(1, "a", egress=({"to": ("example.org",), "protocol": "tcp", "ports": ("443",), "purpose": "x"},))
    made = inventory([web, container(2, "b")], [])
    found = add_firewall(
        Plan((one(made, "a", Action.CONVERGE, converge=True),)), World({}, firewall=there(made)), proven_firewall(made)
    )
    assert [flow.says for flow in found.containers[0].through] == ["a → internet tcp/80"]


# What keeps it from going on, and what is only told.


def test_a_name_of_ours_that_somebody_else_uses_is_a_problem() -> None:
    seen = Configuration(Datacenter(aliases=(Alias("zt-small_a", "192.0.2.1", "mine"),)))
    plan = planned(small(), seen, dict.fromkeys("abc", Action.CREATE))
    assert plan.problems == ("alias zt-small_a of datacenter is 192.0.2.1 and not Zentoria's",)
    with pytest.raises(RefusedError, match="zt-small_a"):
        require_possible(plan)


def test_rules_of_others_are_told_and_left() -> None:
    plan = planned(small(), with_rules(there(small()), 402, Rule("in", "ACCEPT", proto="tcp", dport="22")))
    assert plan.empty
    assert plan.foreign_rules == ("rule IN ACCEPT -p tcp -dport 22 of 402",)


def test_a_firewall_that_was_not_read_is_not_applied() -> None:
    plan = planned(small(), None, {"a": Action.CREATE}, world={"firewall_unknown": "403 Sys.Audit"})
    assert by_name(plan, "a").firewall.empty
    with pytest.raises(RefusedError, match=r"could not be read, so nothing is applied: 403 Sys\.Audit"):
        require_possible(plan)


def test_objects_of_guests_alone_leave_the_datacenter_and_want_its_switch_on() -> None:
    made = small(firewall={"objects": "guest"})
    seen = there(made)
    assert planned(made, seen).empty
    off = dataclasses.replace(seen, datacenter=Datacenter({"enable": "0"}))
    plan = planned(made, off)
    assert plan.datacenter.empty and not plan.switch_on
    with pytest.raises(RefusedError, match="the datacenter's firewall is off"):
        require_possible(plan)


def test_objects_of_guests_open_sources_with_a_set_of_their_own() -> None:
    made = small(firewall={"objects": "guest"}, proxy=None)
    found = by_name(planned(made, there(made), a=None), "a")
    kinds = [type(step) for step in found.opening]
    assert kinds[0] is MakeIpSet and kinds[-1] is InsertRule and PutEntry in kinds
    assert {type(step) for step in found.closing} == {DropRule, DropIpSet}
    assert {step.where.vmid for step in found.closing} == {401}


def test_the_datacenters_switch_is_turned_on_where_it_is_ours() -> None:
    seen = there(small())
    off = dataclasses.replace(seen, datacenter=dataclasses.replace(seen.datacenter, options={}))
    plan = planned(small(), off)
    assert plan.switch_on and not plan.empty
    assert {(one.source, one.destination) for one in plan.cut} == {
        pair for number in (1, 2, 3) for pair in ((f"10.10.40.{number}", ""), ("", f"10.10.40.{number}"))
    }  # nothing was filtered before

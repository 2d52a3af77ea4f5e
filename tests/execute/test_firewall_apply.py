"""The shipped inventory's firewall against the lab's API: applied by identity, repaired, lost last, removed."""

import dataclasses
import functools
import itertools
import re
from pathlib import Path

import pytest

from tests.support.small_stack import only
from zentoria_infra.errors import ExitCode, RefusedError, ZentoriaError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.look.firewall_observe import observe_firewall
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.firewall.change.steps import UpdateRule, Where
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.config import Rule
from zentoria_infra.firewall.identity import identity
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.firewall import DesiredFirewall
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.limits import require_possible
from zentoria_infra.plan.model.change import Action
from zentoria_infra.plan.stages.types import CutConnections, GainFlows, LoseFlows, Start
from zentoria_infra.proxmox import Proxmox
from zentoria_infra.proxmox.reachable import Patience

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = "10.10.47.254"
SMALL = ("backend", "db", "redis", "logs", "proxy")


class NoInside:
    """A node without SSH."""

    missing = "there is no SSH to the node"

    def check(self, vmid: int) -> None:
        raise AssertionError("nobody looks inside without SSH")

    def apply(self, vmid: int, say: object, packaged: object = None) -> None:
        raise AssertionError("nobody works inside without SSH")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing filters here, so there is no cycle to wait for."""
    patience = Patience(cycle=0, after=1, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))


@functools.cache
def shipped() -> Inventory:
    return only(load(ROOT, site="lab"), SMALL)


def desired_firewall(inventory: Inventory) -> DesiredFirewall:
    everybody = [one.vmid for one in inventory.containers]
    return DesiredFirewall(compile_firewall(inventory), compile_firewall(inventory, everybody), parties_of(inventory))


def deployment(proxmox: Proxmox, inventory: Inventory | None = None) -> Deployment:
    inventory = inventory or shipped()
    return Deployment(proxmox, desired_containers(inventory), NoInside(), firewall=desired_firewall(inventory))


def bring_up(node, inventory: Inventory | None = None) -> None:
    found = deployment(node.client(), inventory)
    plan, stages = found.plan()
    require_possible(plan)
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(e.error) for e in result.failed]


def guest(vmid: int, rest: str = "") -> str:
    return f"/nodes/pve/lxc/{vmid}/firewall{rest}"


def position(node, vmid: int, word: str) -> int:
    """Where a rule with that identity is."""
    rules = node.root("GET", guest(vmid, "/rules"))
    return next(int(one["pos"]) for one in rules if identity(one.get("comment", "")) == word)


def node_rule(node) -> int:
    """Position of the rule by which the node lets containers reach what they need there."""
    rules = node.root("GET", "/cluster/firewall/rules")
    return next(int(one["pos"]) for one in rules if "zt/site:lab/node/" in one.get("comment", ""))


@pytest.fixture
def firewalled(node):
    """A node whose token may change the datacenter's firewall."""
    node.grant("/", "Sys.Audit,Sys.Modify")
    return node


def test_up_writes_what_was_compiled_and_a_second_run_nothing(firewalled) -> None:
    bring_up(firewalled)
    proxmox = firewalled.client()
    wanted = compile_firewall(shipped()).configuration
    configs = {one.vmid: firewalled.root("GET", f"/nodes/pve/lxc/{one.vmid}/config") for one in wanted.guests}
    configs = {vmid: {key: str(value) for key, value in one.items()} for vmid, one in configs.items()}
    there = observe_firewall(proxmox.firewall, wanted, configs)
    for seen, one in zip(there.guests, wanted.guests, strict=True):
        assert {key: seen.options[key] for key in one.options} == dict(one.options)
        assert {(rule.type, rule) for rule in seen.rules} == {(rule.type, rule) for rule in one.rules}
        assert seen.rules[-1] == one.rules[-1]
        assert [{(e.cidr, e.nomatch) for e in s.entries} for s in seen.ipsets] == [
            {(e.cidr, e.nomatch) for e in s.entries} for s in one.ipsets
        ]
        assert all(nic.firewall for nic in seen.nics)
    assert there.datacenter.options["enable"] == "1"
    assert {(a.name, a.cidr) for a in there.datacenter.aliases} == {(a.name, a.cidr) for a in wanted.datacenter.aliases}
    assert firewalled.root("GET", "/cluster/firewall/ipset/management")[0]["cidr"] == "127.0.0.1"
    again = deployment(firewalled.client())
    plan, stages = again.plan()
    assert plan.empty, [c.reason for c in plan.changed]
    assert stages == ()
    assert not plan.foreign_rules


def test_the_calls_of_a_second_plan_are_few(firewalled) -> None:
    bring_up(firewalled)
    proxmox = firewalled.client()
    deployment(proxmox).plan()
    assert proxmox.api_calls.by_verb().keys() == {"GET"}
    assert proxmox.api_calls.total <= 4 * len(SMALL) + 13


def test_default_deny_is_on_before_a_container_starts(firewalled) -> None:
    started: dict[int, tuple[object, object, int]] = {}
    start = firewalled.runtime.start

    def watched(vmid, config, log) -> None:
        files = firewalled.server.node.firewall
        own, shared = files.get(firewalled.scope(vmid)), files.get(firewalled.scope(0))
        started[vmid] = (own.options.get("enable"), shared.options.get("enable"), len(own.rules))
        start(vmid, config, log)

    firewalled.runtime.start = watched
    bring_up(firewalled)
    rules = {one.vmid: len(one.rules) for one in compile_firewall(shipped()).configuration.guests}
    assert started == {vmid: ("1", "1", count) for vmid, count in rules.items()}


DRIFT = {
    "a rule edited": lambda n: n.root(
        "PUT", guest(404, f"/rules/{position(n, 404, 'zt/row-7/backend/db/tcp')}"), dport="1:65535"
    ),
    "a rule disabled": lambda n: n.root(
        "PUT", guest(404, f"/rules/{position(n, 404, 'zt/row-7/backend/db/tcp')}"), enable=0
    ),
    "a rule removed": lambda n: n.root("DELETE", guest(404, f"/rules/{position(n, 404, 'zt/row-7/backend/db/tcp')}")),
    "the deny moved to the front": lambda n: n.root(
        "PUT", guest(404, f"/rules/{position(n, 404, 'zt/group/deny')}"), moveto=0
    ),
    "the deny removed": lambda n: n.root("DELETE", guest(404, f"/rules/{position(n, 404, 'zt/group/deny')}")),
    "a rule of ours made twice": lambda n: n.root(
        "POST", guest(404, "/rules"), type="in", action="ACCEPT", enable=1, comment="zt/row-7/backend/db/tcp mine"
    ),
    "a rule of a flow that is no more": lambda n: n.root(
        "POST", guest(404, "/rules"), type="in", action="ACCEPT", enable=1, comment="zt/row-99/n8n/db/tcp old"
    ),
    "an opening that was left": lambda n: n.root(
        "POST", guest(404, "/rules"), type="out", action="ACCEPT", enable=1, comment="zt/opening/db/tcp Packages"
    ),
    "the NIC's switch off": lambda n: n.root(
        "PUT", "/nodes/pve/lxc/404/config", net0=n.root("GET", "/nodes/pve/lxc/404/config")["net0"].replace(
            "firewall=1", "firewall=0")
    ),
    "the guest's switch off": lambda n: n.root("PUT", guest(404, "/options"), enable=0),
    "dhcp let through": lambda n: n.root("PUT", guest(404, "/options"), delete="dhcp"),
    "everything let out": lambda n: n.root("PUT", guest(404, "/options"), policy_out="ACCEPT"),
    "no filter of addresses": lambda n: n.root("PUT", guest(404, "/options"), ipfilter=0),
    "one more source address": lambda n: n.root("POST", guest(404, "/ipset/ipfilter-net0"), cidr="10.10.40.99"),
    "the set of source addresses gone": lambda n: n.root("DELETE", guest(404, "/ipset/ipfilter-net0"), force=1),
    "the datacenter's switch off": lambda n: n.root("PUT", "/cluster/firewall/options", enable=0),
    "an alias changed": lambda n: n.root("PUT", "/cluster/firewall/aliases/zt-lab_backend", cidr="10.10.40.77",
                                         comment="zt/site:lab/alias/backend"),
    "a rule of a group disabled": lambda n: n.root("PUT", "/cluster/firewall/groups/zt-lab_deny/0", enable=0),
    "an exception of the internet removed": lambda n: n.root(
        "DELETE", "/cluster/firewall/ipset/zt-lab_internet/10.0.0.0%2F8"
    ),
    "a rule of the node's gone": lambda n: n.root("DELETE", f"/cluster/firewall/rules/{node_rule(n)}"),
    "a rule of the node's disabled": lambda n: n.root("PUT", f"/cluster/firewall/rules/{node_rule(n)}", enable=0),
    "a rule of the node's widened": lambda n: n.root("PUT", f"/cluster/firewall/rules/{node_rule(n)}", dport="1:65535"),
    "a container out of the set that the node lets in": lambda n: n.root(
        "DELETE", "/cluster/firewall/ipset/zt-lab_guests/10.10.40.4"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRIFT)
def test_drift_is_seen_and_repaired(firewalled, kind: str) -> None:
    bring_up(firewalled)
    DRIFT[kind](firewalled)
    plan, _ = deployment(firewalled.client()).plan()
    assert not plan.empty
    assert {c.vmid for c in plan.changed} <= {404}
    bring_up(firewalled)
    plan, _ = deployment(firewalled.client()).plan()
    assert plan.empty, [c.reason for c in plan.changed]


def test_a_rule_by_hand_is_reported_and_left_alone(firewalled) -> None:
    bring_up(firewalled)
    firewalled.root("POST", guest(404, "/rules"), type="in", action="ACCEPT", enable=1, proto="tcp", dport="22")
    found = deployment(firewalled.client())
    plan, _ = found.plan()
    assert plan.empty
    assert any("404" in text and "22" in text for text in plan.foreign_rules)
    bring_up(firewalled)
    assert firewalled.root("GET", guest(404, "/rules"))[0]["dport"] == "22"


def test_an_object_of_somebody_elses_with_our_name_is_no_reason_to_go_on(firewalled) -> None:
    firewalled.root("POST", "/cluster/firewall/aliases", name="zt-lab_db", cidr="192.0.2.1", comment="mine")
    plan, _ = deployment(firewalled.client()).plan()
    with pytest.raises(RefusedError, match="zt-lab_db"):
        require_possible(plan)
    assert firewalled.root("GET", "/nodes/pve/lxc") == []


def without_flow(row: int) -> Inventory:
    inventory = shipped()
    return inventory.model_copy(update={"flows": tuple(one for one in inventory.flows if one.row != row)})


def test_a_lost_flow_goes_last_at_both_ends(firewalled) -> None:
    bring_up(firewalled)
    fewer = without_flow(8)
    found = deployment(firewalled.client(), fewer)
    plan, stages = found.plan()
    assert [c.vmid for c in plan.changed] == [401, 410]
    assert {type(stage) for stage in stages} <= {LoseFlows, CutConnections}
    assert found.run(stages).exit_code is ExitCode.OK
    words = {identity(one.get("comment", "")) for v in (401, 410) for one in firewalled.root("GET", guest(v, "/rules"))}
    assert "zt/row-8/backend/redis/tcp" not in words
    assert "zt/row-7/backend/db/tcp" in words
    # and back again: gained, before anything else
    plan, stages = deployment(firewalled.client()).plan()
    assert {type(stage) for stage in stages} == {GainFlows}
    assert [c.action for c in plan.changed] == [Action.CHANGE] * 2


def test_losses_come_after_everything_even_when_something_failed(firewalled) -> None:
    bring_up(firewalled)
    firewalled.root("POST", "/nodes/pve/lxc/410/status/stop")
    firewalled.runtime.broken = frozenset({410})
    found = deployment(firewalled.client(), without_flow(7))
    _, stages = found.plan()
    assert any(isinstance(stage, Start) for stage in stages)
    result = found.run(stages)
    assert result.exit_code is ExitCode.FAILED
    done = [one.stage for one in result.ended if one.error is None]
    assert {stage.vmid for stage in done if isinstance(stage, LoseFlows)} == {401, 404}
    assert not any(isinstance(stage, LoseFlows) for stage in [one.stage for one in result.ended][:1])


@pytest.mark.parametrize("fails_at", [1, 7, 23, 60])
def test_a_run_that_dies_anywhere_is_made_good_by_the_next(firewalled, monkeypatch, fails_at: int) -> None:
    count = itertools.count(1)
    carry_out = perform_firewall.FirewallPerformer._one

    def dies(self, step) -> None:
        if next(count) >= fails_at:
            raise ZentoriaError("carry on", got="the power is gone")
        carry_out(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(perform_firewall.FirewallPerformer, "_one", dies)
        found = deployment(firewalled.client())
        _, stages = found.plan()
        assert found.run(stages).exit_code is ExitCode.FAILED
    bring_up(firewalled)
    plan, _ = deployment(firewalled.client()).plan()
    assert plan.empty, [c.reason for c in plan.changed]


def guest_objects() -> Inventory:
    inventory = shipped()
    firewall = inventory.site.firewall.model_copy(update={"objects": "guest"})
    return inventory.model_copy(update={"site": inventory.site.model_copy(update={"firewall": firewall})})


def make_by_hand(node, told: str) -> None:
    """Make the rules that an error tells to make, as they stand there."""
    rules = re.findall(r"`IN ACCEPT -source (\S+) -dest (\S+) -p (\S+) -dport (\S+)`", told)
    assert [rule[1:] for rule in rules] == [(GATEWAY, "udp", "53"), (GATEWAY, "tcp", "53"), (GATEWAY, "tcp", "3128")]
    for source, dest, proto, dport in rules:
        form = {"source": source, "dest": dest, "proto": proto, "dport": dport}
        node.root("POST", "/cluster/firewall/rules", type="in", action="ACCEPT", enable=1, **form)


def test_objects_of_guests_alone_take_no_right_to_change_the_datacenter(node) -> None:
    node.grant("/", "Sys.Audit")
    plan, _ = deployment(node.client(), guest_objects()).plan()
    with pytest.raises(RefusedError, match="datacenter's firewall is off"):
        require_possible(plan)
    node.root("PUT", "/cluster/firewall/options", enable=1)
    plan, _ = deployment(node.client(), guest_objects()).plan()
    with pytest.raises(RefusedError, match="its rules are yours to make") as caught:
        require_possible(plan)
    make_by_hand(node, str(caught.value))
    bring_up(node, guest_objects())
    plan, _ = deployment(node.client(), guest_objects()).plan()
    assert plan.empty
    assert node.root("GET", "/cluster/firewall/aliases") == []
    assert node.root("GET", "/cluster/firewall/groups") == []


def test_a_firewall_that_cannot_be_read_is_not_applied(node) -> None:
    plan, _ = deployment(node.client()).plan()
    with pytest.raises(RefusedError, match=r"(?s)could not be read.*Sys\.Audit"):
        require_possible(plan)
    assert node.root("GET", "/nodes/pve/lxc") == []


def test_down_of_everything_takes_our_objects_along_and_leaves_the_switch(firewalled) -> None:
    firewalled.root("POST", "/cluster/firewall/aliases", name="mine", cidr="192.0.2.1")
    bring_up(firewalled)
    found = deployment(firewalled.client())
    stages, left = found.removal()
    assert left == ()
    assert found.run(stages).exit_code is ExitCode.OK
    assert [one["name"] for one in firewalled.root("GET", "/cluster/firewall/aliases")] == ["mine"]
    assert firewalled.root("GET", "/cluster/firewall/groups") == []
    assert [one["name"] for one in firewalled.root("GET", "/cluster/firewall/ipset")] == ["management"]
    assert firewalled.root("GET", "/cluster/firewall/options")["enable"] == 1


def tangle(node) -> None:
    """A stale rule of 404 lets in whom an alias names; once that is right again, it is the backend."""
    for vmid, more in ((404, {"type": "in", "source": "dc/zt-lab_backend"}), (401, {"type": "out"})):
        comment = "zt/row-99/backend/db/tcp old"
        node.root("POST", guest(vmid, "/rules"), action="ACCEPT", enable=1, proto="tcp", dport="23", comment=comment,
                  **more)  # fmt: skip
    node.root(
        "PUT", "/cluster/firewall/aliases/zt-lab_backend", cidr="10.10.40.77", comment="zt/site:lab/alias/backend"
    )


def test_a_container_is_closed_while_it_is_put_right_if_it_would_open_too_much(firewalled) -> None:
    bring_up(firewalled)
    tangle(firewalled)
    found = deployment(firewalled.client())
    plan, stages = found.plan()
    assert [one.vmid for one in plan if one.closed] == [404]
    assert [stage.says() for stage in stages if stage.vmid == 404] == ["close it meanwhile", "firewall (+3)"]
    assert found.run(stages).exit_code is ExitCode.OK
    plan, _ = deployment(firewalled.client()).plan()
    assert plan.empty, [c.reason for c in plan.changed]


def test_a_plan_for_one_container_looks_at_all_when_what_they_share_changes(firewalled) -> None:
    bring_up(firewalled)
    tangle(firewalled)
    plan, _ = deployment(firewalled.client()).plan({410})
    with pytest.raises(RefusedError, match=r"(?s)backend may send tcp/23 to db.*`zentoria up`"):
        require_possible(plan)


def test_a_plan_for_one_container_leaves_the_others_firewall_alone(firewalled) -> None:
    bring_up(firewalled)
    firewalled.root("PUT", guest(404, "/options"), enable=0)
    firewalled.root("PUT", guest(410, "/options"), enable=0)
    plan, stages = deployment(firewalled.client()).plan({404})
    assert {stage.vmid for stage in stages} == {404}
    assert [c.vmid for c in plan] == [404]


def test_a_rule_that_is_gone_cannot_be_put_to_sleep_and_need_not_be(firewalled) -> None:
    bring_up(firewalled)
    performer = perform_firewall.FirewallPerformer(firewalled.client(), {404: "pve"})
    gone = Rule("in", "ACCEPT", proto="tcp", dport="22", comment="zt/row-99/x/db/tcp old")
    asleep = dataclasses.replace(gone, enable=False)
    performer.carry_out([UpdateRule(Where(vmid=404), asleep, gone)], lambda text: None)
    with pytest.raises(ZentoriaError, match="there is no such rule"):
        performer.carry_out([UpdateRule(Where(vmid=404), gone, asleep)], lambda text: None)

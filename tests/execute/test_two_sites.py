"""Two sites on one cluster: each has its own objects in the datacenter, and neither touches the other's."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator

import pytest

from tests.execute.test_firewall_apply import deployment, desired_firewall, shipped
from zentoria_infra.errors import ExitCode
from zentoria_infra.execute.look.firewall_whole import observe_whole
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.firewall.identity import site_of
from zentoria_infra.firewall.proof.prove import prove
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.limits import require_possible
from zentoria_infra.proxmox.reachable import Patience


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing filters here, so there is no cycle to wait for."""
    patience = Patience(cycle=0, after=1, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))


def first() -> Inventory:
    """As shipped, some containers of it."""
    return shipped()


@functools.cache
def second(site: str = "other") -> Inventory:
    """A copy for another place: its own id, VMIDs, network and bridge addresses."""
    inventory = first()

    def moved(address: ipaddress.IPv4Address) -> ipaddress.IPv4Address:
        return address + (16 << 8)

    networks = tuple(
        one.model_copy(update={"cidr": ipaddress.IPv4Network("10.10.48.0/20"), "gateway": moved(one.gateway)})
        for one in inventory.networks
    )
    containers = tuple(
        one.model_copy(
            update={"vmid": one.vmid + 100, "address": moved(one.address), "mac": "BC:24:11:01" + one.mac[11:]}
        )
        for one in inventory.containers
    )
    update = {
        "id": site,
        "gateway": None,
        "proxy": inventory.site.proxy and inventory.site.proxy.replace(".47.", ".63."),
    }
    return inventory.model_copy(
        update={"site": inventory.site.model_copy(update=update), "networks": networks, "containers": containers}
    )


@pytest.fixture
def cluster(node):
    node.grant("/", "Sys.Audit,Sys.Modify")
    return node


def up(node, inventory: Inventory) -> None:
    made = deployment(node.client(), inventory)
    plan, stages = made.plan()
    require_possible(plan)
    result = made.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    again, _ = deployment(node.client(), inventory).plan()
    assert again.empty, [one.reason for one in again.changed]


def down(node, inventory: Inventory) -> None:
    made = deployment(node.client(), inventory)
    stages, left = made.removal()
    assert not left
    assert made.run(stages).exit_code is ExitCode.OK


def proven(node, inventory: Inventory) -> tuple[str, ...]:
    desired = desired_firewall(inventory)
    whole = observe_whole(node.client(), inventory)
    return tuple(map(str, prove(desired.compiled, desired.parties, whole.configuration).differences))


def objects(node) -> Iterator[tuple[str, str]]:
    """Site and name of each object of ours in the datacenter."""
    for kind, key in (("aliases", "name"), ("ipset", "name"), ("groups", "group"), ("rules", "comment")):
        for one in node.root("GET", f"/cluster/firewall/{kind}"):
            if str(one.get("comment", "")).startswith("zt/"):
                yield site_of(one["comment"]), one[key]


def sites(node) -> set[str]:
    return {site for site, _ in objects(node)}


ORDERS = {
    "one after the other": ("+1", "+2", "-2", "-1"),
    "the first one leaves first": ("+1", "+2", "-1", "-2"),
    "one comes back": ("+2", "+1", "-2", "+2", "-1"),
    "the second one first": ("+2", "+1", "-1", "+1", "-2"),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_each_is_proven_whatever_the_other_does(cluster, order: tuple[str, ...]) -> None:
    both = {"1": first(), "2": second()}
    there: set[str] = set()
    for step in order:
        (up if step[0] == "+" else down)(cluster, both[step[1]])
        there = there | {step[1]} if step[0] == "+" else there - {step[1]}
        assert sites(cluster) == {both[one].site.id for one in there}
        assert {one: proven(cluster, both[one]) for one in there} == dict.fromkeys(there, ())


def test_an_object_of_another_site_under_our_name_is_a_conflict_and_no_drift(cluster) -> None:
    up(cluster, first())
    site = first().site.id
    cluster.root("DELETE", f"/cluster/firewall/aliases/zt-{site}_db")
    cluster.root(
        "POST", "/cluster/firewall/aliases", name=f"zt-{site}_db", cidr="10.10.40.4", comment="zt/site:other/alias/db"
    )
    plan, _ = deployment(cluster.client(), first()).plan()
    (problem,) = plan.problems
    assert f"alias zt-{site}_db of datacenter is 10.10.40.4 and of the site 'other'" in problem
    assert not plan.datacenter.gained


def old_form(node, inventory: Inventory) -> None:
    """The datacenter as it was while names carried no site."""
    for one in inventory.containers:
        word = f"zt/alias/{one.name}"
        node.root("POST", "/cluster/firewall/aliases", name=f"zt-{one.name}", cidr=str(one.address), comment=word)
    node.root("POST", "/cluster/firewall/ipset", name="zt-internet", comment="zt/internet All but what is ours")
    node.root("POST", "/cluster/firewall/ipset/zt-internet", cidr="0.0.0.0/1", comment="zt/internet")
    node.root("POST", "/cluster/firewall/groups", group="zt-deny", comment="zt/group/deny What no rule allows")
    node.root("POST", "/cluster/firewall/groups/zt-deny", type="in", action="DROP", enable=1, comment="zt/deny/in What")


def test_objects_without_a_site_go_once_when_they_are_ours(cluster) -> None:
    old_form(cluster, first())
    up(cluster, first())
    assert sites(cluster) == {first().site.id}
    assert proven(cluster, first()) == ()


def test_objects_without_a_site_that_another_one_may_use_stay_and_are_told(cluster) -> None:
    old_form(cluster, second())
    up(cluster, first())
    assert {name for site, name in objects(cluster) if not site} >= {"zt-db", "zt-internet", "zt-deny"}
    plan, _ = deployment(cluster.client(), first()).plan()
    assert plan.empty
    assert any("alias zt-db names no site, and is not surely this one's" in text for text in plan.foreign_rules)
    down(cluster, first())
    assert sites(cluster) == {""}

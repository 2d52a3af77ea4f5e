"""What ``status`` says of the firewall, against the lab's API."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from tests.execute.test_firewall_apply import bring_up, deployment, guest, shipped
from zentoria_infra.errors import RefusedError, UnreachableError
from zentoria_infra.execute.look.status import ContainerStatus, read_status
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.plan.limits import require_possible
from zentoria_infra.plan.show import explain
from zentoria_infra.proxmox.reachable import Patience

CONFIG = "/nodes/pve/lxc/404/config"
SHUT = {"type": "in", "action": "DROP", "enable": 1, "comment": "zt/closed-0 Until its rules are right"}
LEFT = {"type": "out", "action": "ACCEPT", "enable": 1, "comment": "zt/opening/db/tcp Package sources"}


@pytest.fixture
def applied(node, monkeypatch: pytest.MonkeyPatch):
    """A node with the firewall on it; nothing filters there, so there is no cycle to wait for."""
    patience = Patience(cycle=0, after=1, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))
    node.grant("/", "Sys.Audit,Sys.Modify")
    bring_up(node)
    return node


def lines(node) -> dict[int, ContainerStatus]:
    return {one.vmid: one for one in read_status(shipped(), node.client())}


def net(node, **values: str) -> str:
    """The first NIC's configuration with other values."""
    found = dict(part.split("=", 1) for part in node.root("GET", CONFIG)["net0"].split(","))
    return ",".join(f"{key}={value}" for key, value in {**found, **values}.items())


CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "OFF": (lambda n: n.root("PUT", guest(404, "/options"), enable=0), "OFF"),
    "never on": (lambda n: n.root("PUT", guest(404, "/options"), delete="enable"), "OFF"),
    "one NIC": (lambda n: n.root("PUT", CONFIG, net0=net(n, firewall="0")), "OFF on net0"),
    "closed": (lambda n: n.root("POST", guest(404, "/rules"), **SHUT), "CLOSED"),
    "open": (lambda n: n.root("POST", guest(404, "/rules"), **LEFT), "PACKAGE SOURCES OPEN"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_container_with_another_firewall_is_told_apart(applied, case: str) -> None:
    assert {(one.firewall, one.good) for one in lines(applied).values()} == {("on", True)}
    change, expected = CASES[case]
    change(applied)
    found = lines(applied)
    assert (found[404].firewall, found[404].good) == (expected, False)
    assert found[404].as_data()["firewall"] == expected
    assert {one.firewall for vmid, one in found.items() if vmid != 404} == {"on"}


def test_off_in_the_datacenter_is_off_for_all(applied) -> None:
    applied.root("PUT", "/cluster/firewall/options", enable=0)
    applied.root("PUT", guest(404, "/options"), enable=0)
    assert {(one.firewall, one.good) for one in lines(applied).values()} == {("OFF in the datacenter", False)}


def test_a_stopped_container_has_its_firewall_too(applied) -> None:
    applied.root("POST", guest(404, "/rules"), **LEFT)
    applied.root("POST", "/nodes/pve/lxc/404/status/stop")
    assert (lines(applied)[404].status, lines(applied)[404].firewall) == ("stopped", "PACKAGE SOURCES OPEN")


def test_what_may_not_be_read_is_unknown_and_not_on(applied) -> None:
    (right,) = [one for one in applied.root("GET", "/access/acl") if one["path"] == "/"]
    applied.root("PUT", "/access/acl", path="/", roles=right["roleid"], users="zentoria@pve", delete=1)
    found = lines(applied)
    assert {one.good for one in found.values()} == {False}
    assert {one.firewall for one in found.values()} == {"unknown: the datacenter's firewall cannot be read"}


def test_containers_that_are_not_there_have_no_firewall(node) -> None:
    node.grant("/", "Sys.Audit")
    assert {(one.status, one.firewall) for one in lines(node).values()} == {("missing", "")}


def test_a_node_that_is_gone_is_an_error_and_no_status(applied) -> None:
    client = applied.client()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.firewall, "options", _gone)
        with pytest.raises(UnreachableError):
            read_status(shipped(), client)


def _gone(*args: object) -> None:
    raise UnreachableError("read the datacenter's firewall", got="no route to host")


def test_a_missing_container_and_a_hidden_one_are_told_apart(node) -> None:
    template = next(iter(node.runtime.templates()))
    node.root("POST", "/nodes/pve/lxc", vmid=404, ostemplate=f"local:vztmpl/{template}", rootfs="local:1")
    found = lines(node)
    assert found[404].status == "not ours: we may not see it"
    assert found[401].status == "missing"


def test_a_dead_firewall_daemon_is_told_and_nothing_is_carried_out(applied) -> None:
    """Proxmox's takes its rules away when it stops: all is open, whatever the files say."""
    applied.root("POST", "/nodes/pve/services/pve-firewall/stop")
    found = lines(applied)
    assert {(one.firewall, one.good) for one in found.values()} == {("OFF: pve-firewall is dead on pve", False)}
    plan, stages = deployment(applied.client()).plan()
    assert stages == ()
    assert any("pve-firewall does not run on node pve" in one for one in plan.problems)
    assert not any("No changes" in line for line in explain.lines(plan, stages))
    with pytest.raises(RefusedError, match="pve-firewall does not run"):
        require_possible(plan)
    applied.root("POST", "/nodes/pve/services/pve-firewall/start")
    assert {one.firewall for one in lines(applied).values()} == {"on"}
    assert deployment(applied.client()).plan()[0].problems == ()

"""The firewall of a node read whole, and proven: what was applied holds, and whatever others do to it is seen."""

import functools

import pytest

from tests.execute.test_firewall_apply import bring_up, guest, position, shipped
from zentoria_infra.errors import PermissionDeniedError
from zentoria_infra.execute.look.firewall_whole import observe_whole
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.parties import parties_of
from zentoria_infra.firewall.proof.prove import Kind, Proof, prove
from zentoria_infra.proxmox.reachable import Patience

TEMPLATE = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing filters here, so there is no cycle to wait for."""
    patience = Patience(cycle=0, after=1, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))


@pytest.fixture
def applied(node):
    """A node with the firewall on it."""
    node.grant("/", "Sys.Audit,Sys.Modify")
    bring_up(node)
    return node


def proven(node) -> Proof:
    whole = observe_whole(node.client(), shipped())
    return prove(compile_firewall(shipped()), parties_of(shipped()), whole.configuration)


def test_what_was_applied_is_proven(applied) -> None:
    assert proven(applied).differences == ()


def test_a_rule_by_hand_through_objects_that_are_not_ours_is_seen(applied) -> None:
    applied.root("POST", "/cluster/firewall/ipset", name="friends")
    applied.root("POST", "/cluster/firewall/ipset/friends", cidr="10.10.40.8")
    applied.root("POST", "/cluster/firewall/groups", group="handmade")
    applied.root(
        "POST", "/cluster/firewall/groups/handmade",
        type="in", action="ACCEPT", source="+friends", proto="tcp", dport="22", enable=1,
    )  # fmt: skip
    applied.root("POST", guest(404, "/rules"), type="group", action="handmade", enable=1)
    (one,) = proven(applied).differences
    assert (one.kind, one.source, one.destination, one.services) == (Kind.WEAKENED, "proxy", "db", "tcp/22")
    assert "group handmade" in one.explanation


def test_an_alias_of_a_guest_counts(applied) -> None:
    applied.root("POST", guest(404, "/aliases"), name="anybody", cidr="10.10.40.0/24")
    applied.root(
        "POST", guest(404, "/rules"), type="in", action="ACCEPT", source="anybody", proto="tcp", dport="23", enable=1
    )
    found = proven(applied).differences
    assert {one.services for one in found} == {"tcp/23"}
    assert "stranger" in {one.source for one in found if one.kind is Kind.EXTRA}


def test_a_disabled_rule_names_its_line(applied) -> None:
    word = "zt/row-7/backend/db/tcp"
    applied.root("PUT", guest(404, f"/rules/{position(applied, 404, word)}"), enable=0)
    (one,) = proven(applied).differences
    assert (one.kind, one.source, one.destination) == (Kind.MISSING, "backend", "db")
    assert "is disabled" in one.explanation and str(one.position).startswith("zones.yaml:")


def test_a_stranger_on_our_bridge_is_seen(applied) -> None:
    applied.root(
        "POST", "/nodes/pve/lxc", vmid=900, hostname="stray", ostemplate=TEMPLATE, rootfs="local:1", unprivileged=1,
        net0="name=eth0,bridge=vmbr40,ip=10.10.33.3/20", pool="zentoria",
    )  # fmt: skip
    (one,) = proven(applied).differences
    assert (one.kind, one.vmid) == (Kind.UNFILTERED, 900)


def test_containers_that_are_not_there_are_missing_and_their_rules_with_them(node) -> None:
    node.grant("/", "Sys.Audit")
    found = proven(node).differences
    assert {one.kind for one in found} >= {Kind.MISSING}
    assert any("there is no container 404 (db)" in one.explanation for one in found)


def test_what_may_not_be_read_is_no_proof(node) -> None:
    with pytest.raises(PermissionDeniedError, match=r"Sys\.Audit"):
        proven(node)

"""What is told to be missing is what fails: one privilege taken away at a time, every stage tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import need_shared
from zentoria_infra.errors import PermissionDeniedError, RefusedError
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.execute.run.perform import Performer
from zentoria_infra.execute.run.rights import lacking, missing_rights, missing_to_look, require_rights
from zentoria_infra.firewall.change.steps import DropRule, InsertRule, MakeGroup, MoveToEnd, PutAlias, Where
from zentoria_infra.firewall.config import Alias, Rule
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.change import AttributeChange, Via
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.stages.types import (
    AnyStage,
    Configure,
    Create,
    Destroy,
    GainFlows,
    LoseFlows,
    Resize,
    Restart,
    Start,
    SwitchOn,
)
from zentoria_infra.proxmox.reachable import Patience, turn_on
from zentoria_infra.proxmox.records import Permissions

RULE = Rule(type="in", action="ACCEPT", enable=True, comment="zt/x test")
OLD = Rule(type="in", action="ACCEPT", enable=True, comment="zt/old test")
SHARED = Where(0, "zt-old")
ROOT = Path(__file__).resolve().parents[2]
POOL = (
    "VM.Allocate", "VM.Audit", "VM.PowerMgmt", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Disk",
    "VM.Config.Network", "VM.Config.Options", "Pool.Audit",
)  # fmt: skip
GRANTS = {
    "/pool/zentoria": POOL,
    "/storage/local": ("Datastore.AllocateSpace",),
    "/sdn/zones/localnetwork/vmbr40": ("SDN.Use",),
    "/nodes/pve": ("Sys.Audit",),
    "/": ("Sys.Audit", "Sys.Modify"),
}
"""Each privilege that was measured on the real server (rights.md), on its path."""
TAKEN = [(path, name) for path, names in GRANTS.items() for name in names]
EVERYTHING = ("", "")
NOT_IN_STAGES = {("/nodes/pve", "Sys.Audit"), ("/pool/zentoria", "Pool.Audit")}
"""What no stage fails without: one shows the tasks of others, the other is told apart from stages."""


def _desired() -> dict[int, DesiredContainer]:
    found = {one.vmid: one for one in desired_containers(load(ROOT, site="lab"))}
    return {vmid: found[vmid] for vmid in (401, 404, 406, 410)}


def _change(key: str, after: str, before: str = "", via: Via = Via.CONFIG) -> AttributeChange:
    return AttributeChange(key, before, after, via=via)


def _stages(desired: dict[int, DesiredContainer], node: Any) -> list[AnyStage]:
    """Every kind of stage that goes through the API: 401 is made, 404 is stopped, 410 runs, 406 is destroyed."""
    net = node.root("GET", "/nodes/pve/lxc/410/config")["net0"]

    def one(kind: Callable[..., AnyStage], vmid: int, name: str, *more: object) -> AnyStage:
        return kind(vmid, desired[vmid].name if vmid else "datacenter", f"{vmid}:{name}", (), *more)

    return [
        one(Create, 401, "create", desired[401]),
        *(
            one(Configure, 410, f"configure-{key}", (_change(key, value),))
            for key, value in (
                ("cores", "3"), ("cpulimit", "1"), ("memory", "300"), ("swap", "1"), ("tags", "a;b"),
                ("description", node.root("GET", "/nodes/pve/lxc/410/config")["description"] + "x"),
                ("nameserver", "10.0.0.9"), ("searchdomain", "example.org"), ("hostname", "other"), ("onboot", "0"),
                ("startup", "order=9"), ("mp7", "local:1,mp=/x"), ("features", ""),
            )
        ),
        one(Configure, 410, "configure-net0", (_change("net0", net.replace("firewall=1", "firewall=0"), net),)),
        one(Configure, 410, "configure-net1", (_change("net1", "", "name=eth1,bridge=vmbr40"),)),
        one(Resize, 410, "resize", _change("rootfs", "9G", "4G", Via.RESIZE)),
        one(Restart, 410, "restart"),
        one(Start, 404, "start"),
        one(Destroy, 406, "destroy"),
        one(GainFlows, 410, "gain", (InsertRule(Where(410), RULE), PutAlias(Where(410), Alias("zt-x", "10.0.0.1")))),
        one(LoseFlows, 410, "lose", (DropRule(Where(410), OLD),)),
        one(GainFlows, 0, "datacenter", (MakeGroup("zt-group"), InsertRule(Where(0, "zt-group"), RULE))),
        one(LoseFlows, 0, "datacenter-lose", (MoveToEnd(SHARED, OLD), DropRule(SHARED, OLD))),
        one(SwitchOn, 0, "switch"),
    ]  # fmt: skip


def test_every_privilege_that_was_measured_is_taken_away_once() -> None:
    rows = [
        line.split("|")[1]
        for line in need_shared("proxmox", "rights.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    words = re.findall(r"(?:VM|Datastore|SDN|Pool|Sys)\.[A-Za-z.]+", " ".join(rows).replace(" / ", " VM.Config."))
    assert set(words) == {name for _, name in TAKEN}


@pytest.fixture
def world(node: Any) -> Any:
    """A node with three containers of ours; the user of the client has no rights."""
    desired = _desired()
    template = f"local:vztmpl/{next(iter(node.runtime.templates()))}"
    for vmid in (404, 406, 410):
        one = desired[vmid]
        node.root(
            "POST", "/nodes/pve/lxc", vmid=vmid, ostemplate=template, unprivileged=1, rootfs="local:4", pool="zentoria",
            description=one.options["description"], features="nesting=1", onboot=1,
            net0="name=eth0,bridge=vmbr40,firewall=1", net1="name=eth1,bridge=vmbr40",
            start=int(vmid != 404),
        )  # fmt: skip
    old = {"type": "in", "action": "ACCEPT", "enable": 1, "comment": OLD.comment}
    node.root("POST", "/nodes/pve/lxc/410/firewall/rules", **old)
    node.root("POST", "/cluster/firewall/groups", group=SHARED.group)
    node.root("POST", f"/cluster/firewall/groups/{SHARED.group}", **old)
    for row in node.root("GET", "/access/acl"):
        if row["ugid"] == "zentoria@pve":
            gone = {"path": row["path"], "roles": row["roleid"], "users": row["ugid"], "delete": 1}
            node.root("PUT", "/access/acl", **gone)
    return node


def _give(node: Any, taken: tuple[str, str]) -> None:
    for path, names in GRANTS.items():
        left = [name for name in names if (path, name) != taken]
        if left:
            node.grant(path, ",".join(left))


class Nothing:
    """What is inside containers is none of the API's business."""

    def apply(self, vmid: int, say: object, packaged: object = None) -> None:
        return None


@pytest.mark.parametrize("taken", [EVERYTHING, *TAKEN], ids=lambda taken: f"{taken[1]}{taken[0]}" or "all there")
def test_what_is_told_to_be_missing_is_what_fails(
    world: Any, taken: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(cycle=0)
    monkeypatch.setattr(perform_firewall, "turn_on", lambda proxmox, more: turn_on(proxmox, more, patience=patience))
    desired = _desired()
    stages = _stages(desired, world)
    _give(world, taken)
    proxmox = world.client()
    before = proxmox.api_calls.total
    held = proxmox.observe.permissions()
    assert proxmox.api_calls.total - before == 1
    told = {stage.id for stage, _ in lacking(held, stages, tuple(desired.values())) if stage}
    performer = Performer(proxmox, desired, Nothing())
    failed = set()
    for stage in stages:
        try:
            performer(stage, lambda text: None)
        except PermissionDeniedError:
            failed.add(stage.id)
    assert told == failed
    assert bool(told) == (taken not in (EVERYTHING, *NOT_IN_STAGES))


def test_a_plan_tells_what_it_would_not_see(world: Any) -> None:
    desired = tuple(_desired().values())
    _give(world, ("/pool/zentoria", "VM.Audit"))
    proxmox = world.client()
    assert [guest.vmid for guest in proxmox.observe.containers()] == []
    assert missing_to_look(proxmox.observe.permissions(), desired, firewall=True) == (
        "VM.Audit on /pool/zentoria, to see containers",
    )


def test_without_any_rights_everything_is_told_once(world: Any) -> None:
    desired = _desired()
    held = world.client().observe.permissions()
    told = missing_rights(held, _stages(desired, world), tuple(desired.values()))
    assert {line.partition(",")[0] for line in told} == {
        f"{name} on {path}" for path, name in TAKEN if path != "/nodes/pve"
    } | {"Datastore.Audit on /storage/local"}
    with pytest.raises(RefusedError, match=r"VM\.Config\.Memory on /pool/zentoria") as caught:
        require_rights(told, "zentoria@pve!up")
    assert "zentoria bootstrap" in caught.value.todo
    require_rights((), "zentoria@pve!up")


def test_rights_on_the_guest_itself_count() -> None:
    desired = _desired()
    stage = Start(410, "redis", "410:start", ())
    own = Permissions({"/vms/410": {"VM.Audit": True, "VM.PowerMgmt": True}})
    assert missing_rights(own, [stage], tuple(desired.values())) == ()
    other_pool = Permissions({"/vms/410": {"VM.Audit": True}, "/pool/zentoria": {"VM.PowerMgmt": True}})
    assert missing_rights(other_pool, [stage], tuple(desired.values())) == (
        "VM.PowerMgmt on /pool/zentoria, to start 410 (redis)",
    )


def test_a_vnet_has_a_zone_of_its_own() -> None:
    desired = _desired()
    stage = Create(401, "backend", "401:create", (), desired[401])
    held = {"/sdn/zones/lan/vmbr40": {"SDN.Use": True}}
    assert not any("SDN.Use" in line for line in missing_rights(Permissions(held), [stage], (desired[401],)))
    elsewhere = {"/sdn/zones/lan/vmbr41": {"SDN.Use": True}}
    assert any("SDN.Use" in line for line in missing_rights(Permissions(elsewhere), [stage], (desired[401],)))

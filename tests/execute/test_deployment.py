"""The shipped inventory against the lab's API with a token of least rights."""

import dataclasses
import threading
import time
from pathlib import Path

import pytest

from zentoria_infra.errors import ExitCode, RefusedError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.run.perform import create_parameters
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.limits import destroyed, require_possible
from zentoria_infra.plan.model.change import Action
from zentoria_infra.plan.stages.types import Configure, Resize
from zentoria_infra.proxmox import Proxmox

ROOT = Path(__file__).resolve().parents[2]


class NoInside:
    """A node without SSH."""

    missing = "there is no SSH to the node"

    def check(self, vmid: int) -> GuestReport:
        raise AssertionError("nobody looks inside without SSH")

    def apply(self, vmid: int, say: object, packaged: object = None) -> None:
        raise AssertionError("nobody works inside without SSH")


def deployment(proxmox: Proxmox, *, without: frozenset[str] = frozenset()) -> Deployment:
    """The lab's site, without what only SSH can set (keyctl of 412)."""
    desired = [c for c in desired_containers(load(ROOT, site="lab")) if not c.features - {"nesting"}]
    return Deployment(proxmox, [c for c in desired if c.name not in without], NoInside())


def bring_up(node) -> Deployment:
    found = deployment(node.client())
    plan, stages = found.plan()
    require_possible(plan)
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(e.error) for e in result.failed]
    return found


def test_up_makes_everything_and_a_second_run_changes_nothing(node) -> None:
    first = bring_up(node)
    proxmox = node.client()
    again = deployment(proxmox)
    plan, stages = again.plan(wait=True)
    assert [c.action for c in plan] == [Action.NONE] * len(first.desired)
    assert stages == ()
    assert proxmox.api_calls.by_verb().keys() == {"GET"}
    assert proxmox.api_calls.total <= 3 * len(first.desired)
    running = {guest["vmid"] for guest in node.root("GET", "/nodes/pve/lxc") if guest["status"] == "running"}
    assert running == {c.vmid for c in first.desired}


@pytest.mark.parametrize(
    ("break_it", "key"),
    [
        ({"memory": 300}, "memory"),
        ({"tags": "other"}, "tags"),
        ({"net0": "name=eth0,bridge=vmbr40,ip=10.10.40.250/20"}, "net0"),
        ({"delete": "nameserver"}, "nameserver"),
        ({"onboot": 0}, "onboot"),
        ({"cores": 1}, "cores"),
        ({"net1": "name=eth1,bridge=vmbr0,ip=manual"}, "net1"),
        ({"cpulimit": 1}, "cpulimit"),
    ],
)
def test_drift_is_seen_named_and_repaired(node, break_it, key) -> None:
    bring_up(node)
    node.root("PUT", "/nodes/pve/lxc/410/config", **break_it)
    found = deployment(node.client())
    plan, stages = found.plan()
    changed = {c.vmid: [a.key for a in c.attributes] for c in plan.changed}
    assert changed == {410: [key]}
    assert found.run(stages).exit_code is ExitCode.OK
    assert deployment(node.client()).plan()[0].empty


def test_what_waits_for_a_restart_and_is_not_wanted_is_taken_back_without_one(node) -> None:
    def database() -> Deployment:
        return Deployment(node.client(), [c for c in deployment(node.client()).desired if c.vmid == 404], NoInside())

    assert database().run(database().plan()[1]).exit_code is ExitCode.OK
    before = node.root("GET", "/nodes/pve/lxc/404/config")
    node.root("PUT", "/nodes/pve/lxc/404/config", nameserver="9.9.9.9", features="nesting=0", delete="mp0")
    found = database()
    plan, stages = found.plan()
    (container,) = plan
    assert container.action is Action.CHANGE
    assert [(type(stage), stage.says()) for stage in stages] == [(Configure, "take back mp0, nameserver, features")]
    assert found.run(stages).exit_code is ExitCode.OK
    after = node.root("GET", "/nodes/pve/lxc/404/config")
    assert {**after, "digest": ""} == {**before, "digest": ""}
    assert database().plan()[0].empty


def test_a_foreign_container_is_named_and_never_touched(node) -> None:
    node.root(
        "POST", "/nodes/pve/lxc", vmid=405, ostemplate=f"local:vztmpl/{next(iter(node.runtime.templates()))}",
        hostname="mine", unprivileged=1, rootfs="local:1",
    )  # fmt: skip
    before = node.root("GET", "/nodes/pve/lxc/405/config")
    found = deployment(node.client())
    plan, _ = found.plan()
    assert [c.vmid for c in plan.refused] == [405]
    with pytest.raises(RefusedError, match="container 405"):
        require_possible(plan)
    assert node.root("GET", "/nodes/pve/lxc/405/config") == before
    assert [guest["vmid"] for guest in node.root("GET", "/nodes/pve/lxc")] == [405]


def test_a_foreign_container_in_our_pool_is_left_alone_by_down(node) -> None:
    bring_up(node)
    node.root("PUT", "/nodes/pve/lxc/405/config", description="mine now", tags="mine")
    found = deployment(node.client())
    stages, left = found.removal()
    assert left == (405,)
    assert found.run(stages).exit_code is ExitCode.OK
    assert [guest["vmid"] for guest in node.root("GET", "/nodes/pve/lxc")] == [405]


def test_down_names_every_volume_that_is_lost(node) -> None:
    (database,) = [one for one in deployment(node.client()).desired if one.vmid == 404]
    found = Deployment(node.client(), [database], NoInside())
    assert found.run(found.plan()[1]).exit_code is ExitCode.OK
    node.root("PUT", "/nodes/pve/lxc/404/config", mp7="local:3,mp=/mine")
    node.root("POST", "/nodes/pve/lxc/404/status/reboot")
    node.root("PUT", "/nodes/pve/lxc/404/config", delete="mp7")  # waits for a restart
    stages, _ = Deployment(node.client(), [database], NoInside()).removal()
    size = database.volumes[0].size // 2**30
    assert list(destroyed(stages)) == [
        f"db (404) with its data: rootfs ({database.rootfs.size // 2**30}G), "
        f"mp0 ({database.volumes[0].path}, {size}G), mp7 (/mine, 3G)"
    ]


def test_down_refuses_what_is_protected_before_it_touches_anything(node) -> None:
    bring_up(node)
    node.root("PUT", "/nodes/pve/lxc/410/config", protection=1)
    count = len(node.root("GET", "/nodes/pve/lxc"))
    with pytest.raises(RefusedError, match="destroy container 410"):
        deployment(node.client()).removal()
    assert len(node.root("GET", "/nodes/pve/lxc")) == count


def test_what_is_missing_on_the_node_is_told_before_anything_is_made(node) -> None:
    inventory = load(ROOT, site="lab", overrides={"storages": {"volumes": "fast"}, "bridges": {"internal": "vmbr9"}})
    found = Deployment(node.client(), desired_containers(inventory), NoInside())
    plan, _ = found.plan()
    with pytest.raises(RefusedError) as caught:
        require_possible(plan)
    assert "no active storage 'fast'" in str(caught.value)
    assert "no bridge 'vmbr9': make it, or set another one under `bridges`" in str(caught.value)
    assert node.root("GET", "/nodes/pve/lxc") == []


def test_what_was_taken_over_between_plan_and_run_is_not_touched(node) -> None:
    bring_up(node)
    node.root("PUT", "/nodes/pve/lxc/410/config", memory=300)
    found = deployment(node.client())
    _, stages = found.plan()
    node.root("PUT", "/nodes/pve/lxc/410/config", description="mine now", tags="mine")
    result = found.run(stages)
    assert "not Zentoria's" in str(result.failed[0].error)
    assert node.root("GET", "/nodes/pve/lxc/410/config")["memory"] == 300


def test_a_change_by_hand_between_plan_and_run_is_kept_and_told(node) -> None:
    """The first change of a container goes with the digest of the look; no digest of ours is in its way."""
    bring_up(node)
    node.root("PUT", "/nodes/pve/lxc/410/config", memory=300)
    found = deployment(node.client())
    _, stages = found.plan()
    node.root("PUT", "/nodes/pve/lxc/410/config", memory=310)
    result = found.run(stages)
    assert result.exit_code is ExitCode.FAILED
    assert "change container 410" in str(result.failed[0].error)
    assert "planned anew" in str(result.failed[0].error)
    assert node.root("GET", "/nodes/pve/lxc/410/config")["memory"] == 310
    again = deployment(node.client())
    assert again.run(again.plan()[1]).exit_code is ExitCode.OK
    assert deployment(node.client()).plan()[0].empty


def test_the_digest_goes_with_the_first_change_only(node) -> None:
    """A container with several stages that each change its configuration, and one whose first is a resize."""
    inventory = load(
        ROOT,
        site="lab",
        overrides={"containers": {"embeddings": {"resources": {"memory": 777, "rootfs": 99}},
                                  "logs": {"resources": {"rootfs": 99}}}},
    )  # fmt: skip
    bring_up(node)
    wanted = [c for c in desired_containers(inventory) if not c.features - {"nesting"}]
    found = Deployment(node.client(), wanted, NoInside())
    _, stages = found.plan()
    digests = [(stage.id, bool(stage.digest)) for stage in stages if isinstance(stage, Configure | Resize)]
    assert sorted(digests) == [
        ("406:resize-rootfs", True), ("419:configure", True), ("419:resize-rootfs", False)
    ]  # fmt: skip
    node.root(
        "PUT",
        "/nodes/pve/lxc/406/config",
        description=node.root("GET", "/nodes/pve/lxc/406/config")["description"] + "!\n",
    )
    result = found.run(stages)
    assert [ended.stage.id for ended in result.failed] == ["406:resize-rootfs"]
    assert Deployment(node.client(), wanted, NoInside()).plan()[1][0].vmid == 406


def test_what_only_ssh_can_set_is_not_set_on_what_somebody_changed_meanwhile(node) -> None:
    wanted = [
        dataclasses.replace(c, features=frozenset({"nesting", "keyctl"})) if c.vmid == 410 else c
        for c in bring_up(node).desired
    ]
    found = Deployment(node.client(), wanted, NoInside())
    _, stages = found.plan()
    assert next(stage.id for stage in stages) == "410:pct-set"
    node.root("PUT", "/nodes/pve/lxc/410/config", memory=310)
    result = found.run(stages)
    assert "planned anew" in str(result.failed[0].error)
    assert "keyctl" not in node.root("GET", "/nodes/pve/lxc/410/config")["features"]


def test_a_run_waits_for_a_create_that_a_killed_run_left(node) -> None:
    """A pool token does not see the container before it is complete; it sees its own task."""
    found = deployment(node.client())
    one = next(c for c in found.desired if c.vmid == 410)
    node.runtime.slow = 1.5
    client = node.client()
    killed = threading.Thread(target=client.write.create, args=(410, create_parameters(one)))
    killed.start()
    time.sleep(0.5)
    plan, _ = found.plan(wait=True)
    killed.join()
    assert next(c for c in plan if c.vmid == 410).action is Action.START


def test_a_failed_container_stops_alone_and_the_next_run_goes_on(node) -> None:
    node.runtime.broken = frozenset({400})
    found = deployment(node.client())
    _, stages = found.plan()
    result = found.run(stages)
    assert result.exit_code is ExitCode.FAILED
    assert [(e.stage.vmid, e.stage.says()) for e in result.failed] == [(400, "start")]
    assert "startup for container failed" in str(result.failed[0].error)
    node.runtime.broken = frozenset()
    plan, stages = deployment(node.client()).plan()
    assert [(c.vmid, c.action) for c in plan.changed] == [(400, Action.START)]
    assert found.run(stages).exit_code is ExitCode.OK
    assert deployment(node.client()).plan()[0].empty


def test_what_is_there_and_hidden_from_us_is_told_by_down_and_never_entered(node) -> None:
    """A container outside of our pool: the token sees that the VMID is taken, and nothing else."""
    make = {"hostname": "mine", "unprivileged": 1, "rootfs": "local:1"}
    node.root(
        "POST", "/nodes/pve/lxc", vmid=405, ostemplate=f"local:vztmpl/{next(iter(node.runtime.templates()))}", **make
    )
    found = deployment(node.client())
    assert found.removal({405}) == ((), (405,))
    assert found.removal({404}) == ((), ())
    for vmid in (404, 405):
        with pytest.raises(RefusedError, match="does not exist or is not Zentoria's"):
            found.require_ours(vmid)

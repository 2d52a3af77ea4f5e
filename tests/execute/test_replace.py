"""A container that is replaced keeps its data volumes, whenever a run is killed."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.execute.test_deployment import NoInside
from tests.support.soak import sampled
from zentoria_infra.errors import ExitCode, RefusedError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.execute.run.events import Ended
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.limits import Allow, require_possible
from zentoria_infra.plan.model.change import Action
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.show.document import document
from zentoria_infra.plan.show.markdown import markdown
from zentoria_infra.plan.stages.types import AnyStage, Destroy, DropParking, MoveVolume

ROOT = Path(__file__).resolve().parents[2]
VMID, SPARE = 404, 405
DATA = b"what must not be lost"
STAGES = 11
"""Of a replacement of a container with one data volume and an unused one."""


def inventory() -> list[DesiredContainer]:
    found = desired_containers(load(ROOT, site="lab"))
    return [one for one in found if one.vmid == VMID]


def deployment(node, desired: list[DesiredContainer] | None = None) -> Deployment:
    return Deployment(node.client(), desired or inventory(), NoInside())


def config(node, vmid: int) -> dict[str, str]:
    return {key: str(value) for key, value in node.root("GET", f"/nodes/pve/lxc/{vmid}/config").items()}


def there(node) -> set[int]:
    return {int(guest["vmid"]) for guest in node.root("GET", "/nodes/pve/lxc")}


def volume_of(value: str) -> str:
    return value.partition(",")[0]


@pytest.fixture
def replaced(node):
    """A node with the database, data on its volume and on one that is not used any more."""
    found = deployment(node)
    assert found.run(found.plan()[1]).exit_code is ExitCode.OK
    node.root("POST", f"/nodes/pve/lxc/{VMID}/status/stop")
    node.root("PUT", f"/nodes/pve/lxc/{VMID}/config", mp7="local:1,mp=/old")
    node.root("PUT", f"/nodes/pve/lxc/{VMID}/config", delete="mp7")
    node.root("POST", f"/nodes/pve/lxc/{VMID}/status/start")
    for key in ("mp0", "unused0"):
        write(node, volume_of(config(node, VMID)[key]), DATA + key.encode())
    return node


def write(node, name: str, data: bytes) -> None:
    node.runtime._volume(name).write_bytes(data)


def require_whole(node, *, before: dict[str, str]) -> None:
    """All data is in its place, nothing else is there, and the next plan has nothing to do."""
    now = config(node, VMID)
    assert now["mp0"].partition(",")[2] == before["mp0"].partition(",")[2]
    for key in ("mp0", "unused0"):
        assert node.runtime._volume(volume_of(now[key])).read_bytes() == DATA + key.encode()
    assert there(node) == {VMID}
    assert set(node.runtime.volumes()) == {volume_of(now[key]) for key in ("rootfs", "mp0", "unused0")}
    assert node.runtime.status(VMID).running
    assert deployment(node).plan()[0].empty


def killed_after(number: int, found: Deployment, stages: tuple[AnyStage, ...]) -> None:
    """Run the first stages only, as a run that is killed then."""
    stop = threading.Event()
    ended: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Ended):
            ended.append(event.stage.id)
            if len(ended) == number:
                stop.set()

    found.run(stages, stop, listen)


def test_data_volumes_survive(replaced) -> None:
    before = config(replaced, VMID)
    rootfs = replaced.runtime._volume(volume_of(before["rootfs"]))
    rootfs.write_bytes(b"old root")
    found = deployment(replaced)
    plan, stages = found.plan(replace={VMID})
    (one,) = plan.changed
    assert one.action is Action.REPLACE
    assert one.reason.startswith("somebody asked for it; the data on mp0 (/var/lib/postgresql), unused0 is kept")
    assert [stage.id.partition(":")[2] for stage in stages] == [
        "parking", "stop", "park-mp0", "park-unused0", "destroy", "create", "bring-back-mp0", "bring-back-unused0",
        "configure", "parking-gone", "start",
    ]  # fmt: skip
    with pytest.raises(RefusedError, match="--allow replace"):
        require_possible(plan)
    require_possible(plan, {Allow.REPLACE})
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    require_whole(replaced, before=before)
    now = replaced.runtime._volume(volume_of(config(replaced, VMID)["rootfs"]))
    assert b"old root" not in now.read_bytes()[:20]


@pytest.mark.parametrize(
    ("number", "asked_again"),
    sampled(
        [*((number, False) for number in range(1, STAGES + 1)), *((number, True) for number in (1, 3, 4, 7, 9))],
        [(1, False), (5, False), (9, False), (11, False), (4, True)],
    ),
)
def test_a_killed_run_is_completed_by_the_next(replaced, number, asked_again) -> None:
    before = config(replaced, VMID)
    found = deployment(replaced)
    stages = found.plan(replace={VMID})[1]
    assert len(stages) == STAGES
    killed_after(number, found, stages)
    again = deployment(replaced)
    if number < STAGES - 1:  # until the last volume is back and the spare container is gone
        with pytest.raises(RefusedError, match="holds its data"):
            again.removal()
    still = {VMID} if asked_again else set()
    plan, stages = again.plan(wait=True, replace=still)
    require_possible(plan, {Allow.REPLACE})
    result = again.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    require_whole(replaced, before=before)


def test_data_that_waits_for_a_container_which_left_the_inventory_is_told_and_kept(replaced) -> None:
    """The run was killed when the old one was gone, and then its file went, or got another VMID."""
    found = deployment(replaced)
    killed_after(5, found, found.plan(replace={VMID})[1])
    assert there(replaced) == {SPARE}
    (other,) = (one for one in desired_containers(load(ROOT, site="lab")) if one.vmid == 410)
    without = deployment(replaced, [dataclasses.replace(other, needs=frozenset())])
    plan, stages = without.plan()
    (line,) = (line for line in explain.lines(plan, stages) if "orphan" in line)
    assert line.startswith(f"? orphan {SPARE} zentoria-parking-{VMID}, does not run, holds the data of {VMID} (rootfs")
    assert "mp0 (/var/lib/postgresql, " in line and f"put {VMID}'s file back" in line
    assert f"holds the data of {VMID}" in markdown(document(plan, stages))
    with pytest.raises(RefusedError, match=f"holds the data of container {VMID}"):
        without.removal(frozenset(), {SPARE})
    with pytest.raises(RefusedError, match=f"holds the data of container {VMID}"):
        require_possible(without.plan(prune=True)[0])
    again = deployment(replaced)
    assert again.run(again.plan(wait=True)[1]).exit_code is ExitCode.OK
    assert there(replaced) == {VMID} and config(replaced, VMID)["mp0"]


@pytest.mark.parametrize("node", ["8.4", "9.2"], indirect=True)
def test_another_kind_of_container_says_whose_the_files_are_then(replaced) -> None:
    before = config(replaced, VMID)
    desired = [dataclasses.replace(one, unprivileged=False, features=frozenset()) for one in inventory()]
    found = deployment(replaced, desired)
    plan, stages = found.plan()
    if replaced.server.node.release.major >= 9:
        assert [one for one in plan.problems if "lacks Sys.Modify on /" in one], "before anything is moved"
        replaced.grant("/", "Sys.Modify")
        plan, stages = found.plan()
    assert plan.problems == ()
    assert "unprivileged cannot be changed on a container; the data on mp0" in plan.changed[0].reason
    assert "until 100000 is taken away from their user and group ids" in plan.changed[0].reason
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    now = config(replaced, VMID)
    assert "unprivileged" not in now
    assert replaced.runtime._volume(volume_of(now["mp0"])).read_bytes() == DATA + b"mp0"
    assert now["mp0"].partition(",")[2] == before["mp0"].partition(",")[2]


def test_nothing_is_destroyed_while_it_holds_data(replaced) -> None:
    """Neither the container nor the one where its data is parked, whatever the plan believed."""
    found = deployment(replaced)
    _, stages = found.plan(replace={VMID})
    alone = [dataclasses.replace(one, after=()) for one in stages if isinstance(one, Destroy)]
    result = found.run(alone)
    assert "it still holds mp0, unused0" in str(result.failed[0].error)
    killed_after(4, found, stages)
    for one in stages:
        if isinstance(one, DropParking):
            result = found.run([dataclasses.replace(one, after=())])
            assert "it holds mp0, unused0" in str(result.failed[0].error)
    assert there(replaced) == {VMID, SPARE}


def test_a_spare_container_is_not_touched_unless_it_says_for_whom(replaced) -> None:
    found = deployment(replaced)
    _, stages = found.plan(replace={VMID})
    killed_after(1, found, stages)
    replaced.root("PUT", f"/nodes/pve/lxc/{SPARE}/config", description="mine now")
    (move, *_) = (dataclasses.replace(one, after=()) for one in stages if isinstance(one, MoveVolume))
    replaced.root("POST", f"/nodes/pve/lxc/{VMID}/status/stop")
    result = found.run([move])
    assert "does not say that it is for that" in str(result.failed[0].error)
    plan, stages = deployment(replaced).plan(replace={VMID})
    assert plan.changed[0].parking.vmid == SPARE + 1


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_run_that_is_killed_while_its_spare_container_is_made_leaves_none_behind(replaced, asked_again) -> None:
    before = config(replaced, VMID)
    found = deployment(replaced)
    making = found.plan(replace={VMID})[1][:1]
    replaced.runtime.slow = 2.0
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(found.run, making)  # nothing comes after that stage, as when it is killed meanwhile
        while SPARE not in there(replaced):
            time.sleep(0.01)
        again = deployment(replaced)
        plan, stages = again.plan(wait=True, replace={VMID} if asked_again else set())
        replaced.runtime.slow = 0.0
        require_possible(plan, {Allow.REPLACE})
        result = again.run(stages)
        killed.result(60)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    require_whole(replaced, before=before)


def test_what_proxmox_would_warn_of_is_not_asked_for(node) -> None:
    node.server.node.release = dataclasses.replace(node.server.node.release, release="9.1")
    found = deployment(node)
    assert found.run(found.plan()[1]).exit_code is ExitCode.OK
    again = deployment(node)
    assert again.run(again.plan(replace={VMID})[1]).exit_code is ExitCode.OK
    ended = [task.status for task in node.server.node.tasks.all() if task.upid.type == "vzcreate"]
    assert ended == ["OK"] * 3, "the container, the one that its data is parked on, and the new one"


def test_what_a_task_warned_of_is_kept_for_the_end_of_the_run(node) -> None:
    node.server.node.release = dataclasses.replace(node.server.node.release, release="9.1")
    client = node.client()
    values = {"ostemplate": inventory()[0].ostemplate, "rootfs": "local:1", "pool": "zentoria", "unprivileged": True}
    client.write.create(SPARE, values)
    assert client.warnings == (f"create container {SPARE}: Systemd 257 detected. You may need to enable nesting.",)

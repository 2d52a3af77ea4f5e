"""A data volume whose storage changes in the inventory: it is copied there, and nothing of it is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.execute.test_deployment import NoInside
from zentoria_infra.errors import ExitCode, RefusedError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.limits import Allow, require_possible
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.values import GIB

ROOT = Path(__file__).resolve().parents[2]
VMID = 404
OLD, NEW = f"local:{VMID}/vm-{VMID}-disk-1.raw", f"other:{VMID}/vm-{VMID}-disk-0.raw"
DATA = b"what must not be lost"


def deployment(node, storage: str) -> Deployment:
    (found,) = (one for one in desired_containers(load(ROOT, site="lab")) if one.vmid == VMID)
    return Deployment(node.client(), [on(found, storage)], NoInside())


def on(desired: DesiredContainer, storage: str) -> DesiredContainer:
    return dataclasses.replace(
        desired, volumes=tuple(dataclasses.replace(volume, storage=storage) for volume in desired.volumes)
    )


def config(node) -> dict[str, str]:
    return {key: str(value) for key, value in node.root("GET", f"/nodes/pve/lxc/{VMID}/config").items()}


@pytest.fixture
def made(node):
    """A node with the database on ``local``, and another storage."""
    node.root("POST", "/storage", storage="other", type="btrfs", path="/srv/other")
    node.grant("/storage/other", "Datastore.AllocateSpace")
    found = deployment(node, "local")
    assert found.run(found.plan()[1]).exit_code is ExitCode.OK
    node.runtime._volume(OLD).write_bytes(DATA)
    return node


def test_it_moves_with_all_that_is_on_it(made) -> None:
    before = config(made)
    found = deployment(made, "other")
    _, stages = found.plan()
    assert found.run(stages).exit_code is ExitCode.OK
    now = config(made)
    assert now["mp0"] == before["mp0"].replace(OLD, NEW)
    assert now["rootfs"] == before["rootfs"]
    assert made.runtime._volume(NEW).read_bytes() == DATA
    assert OLD not in made.runtime.volumes()
    assert not any(key.startswith("unused") for key in now)
    assert made.runtime.status(VMID).running
    assert deployment(made, "other").plan()[0].empty


@pytest.mark.parametrize(("replace", "protect"), [(False, False), (True, False), (False, True)])
def test_with_another_path_and_size_at_once_nothing_is_left_for_a_second_run(made, replace, protect) -> None:
    """Its service would begin anew at the other path, with the volume still at the old one, and the run say Done."""
    (found,) = deployment(made, "other").desired
    (volume,) = found.volumes
    there = dataclasses.replace(volume, path="/srv/postgresql", size=volume.size + GIB)
    options = {**found.options, "protection": str(int(protect))}
    wanted = dataclasses.replace(found, volumes=(there,), protect=protect, options=options)
    made.root("PUT", f"/nodes/pve/lxc/{VMID}/config", protection=int(protect))
    run = Deployment(made.client(), [wanted], NoInside())
    plan, stages = run.plan(replace={VMID} if replace else set())
    with pytest.raises(RefusedError, match="moves to /srv/postgresql"):
        require_possible(plan, {Allow.REPLACE})
    result = run.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    now = config(made)
    assert now["mp0"].startswith(NEW) and "mp=/srv/postgresql" in now["mp0"]
    assert made.runtime._volume(NEW).read_bytes()[: len(DATA)] == DATA
    assert made.runtime.status(VMID).running
    assert Deployment(made.client(), [wanted], NoInside()).plan()[0].empty


def test_one_that_cannot_be_copied_stays_and_the_next_run_moves_it(made) -> None:
    made.root("PUT", "/storage/other", content="images")
    found = deployment(made, "other")
    result = found.run(found.plan()[1])
    assert result.exit_code is ExitCode.FAILED
    assert "does not allow content type 'rootdir'" in str(result.failed[0].error)
    assert config(made)["mp0"].startswith(OLD)
    assert made.runtime._volume(OLD).read_bytes() == DATA
    made.root("PUT", "/storage/other", content="images,rootdir")
    again = deployment(made, "other")
    assert again.run(again.plan()[1]).exit_code is ExitCode.OK
    assert made.runtime._volume(NEW).read_bytes() == DATA
    assert made.runtime.status(VMID).running
    assert deployment(made, "other").plan()[0].empty

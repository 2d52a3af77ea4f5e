"""Containers of ours that the inventory does not have: told, kept from clashing, removed when somebody asks for it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.execute.test_deployment import NoInside, deployment
from tests.support.json_schema import mismatches
from zentoria_infra.errors import ExitCode, RefusedError
from zentoria_infra.execute.deployment import Deployment
from zentoria_infra.plan.limits import Allow, destroyed, require_possible, require_snapshots_allowed
from zentoria_infra.plan.model import ownership, parking
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.model.desired import DesiredContainer
from zentoria_infra.plan.model.observed import ObservedContainer, World
from zentoria_infra.plan.orphans import orphans_of
from zentoria_infra.plan.show import explain
from zentoria_infra.plan.show.document import document, shipped_schema
from zentoria_infra.plan.show.markdown import markdown
from zentoria_infra.plan.stages.types import AnyStage, Destroy

DOCS, REDIS = 418, 410
ADDRESS = "10.10.41.8"


def desired(*vmids: int) -> list[DesiredContainer]:
    alone = frozenset[int]()
    return [dataclasses.replace(one, needs=alone) for one in deployment(None).desired if one.vmid in vmids]


def moved_to(one: DesiredContainer, vmid: int) -> DesiredContainer:
    """The same under another VMID, as after its file was renamed."""
    text = ownership.description(one.hostname, "", one.site_id, vmid)
    return dataclasses.replace(one, vmid=vmid, options={**one.options, "description": text})


def site(node: Any, *wanted: DesiredContainer) -> Deployment:
    return Deployment(node.client(), wanted, NoInside())


def run(found: Deployment, **how: Any) -> tuple[Plan, tuple[AnyStage, ...]]:
    plan, stages = found.plan(**how)
    require_possible(plan)
    result = found.run(stages)
    assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
    return plan, stages


def there(node: Any) -> set[int]:
    return {int(guest["vmid"]) for guest in node.root("GET", "/nodes/pve/lxc")}


@pytest.fixture
def stack(node: Any) -> Any:
    run(site(node, *desired(DOCS, REDIS)))
    return node


def test_it_is_told_in_every_form_and_nothing_of_it_is_touched(stack: Any) -> None:
    found = site(stack, *desired(REDIS))
    plan, stages = found.plan()
    assert plan.empty and not stages and not plan.problems
    text = "\n".join(explain.lines(plan, stages))
    assert f"? orphan {DOCS} zentoria-docs, runs, has {ADDRESS}: not in the inventory; `zentoria down {DOCS}`" in text
    made = document(plan, stages)
    schema = dict(shipped_schema())
    told = json.loads(made.model_dump_json())
    assert mismatches(told, schema, schema) == []
    (one,) = told["orphans"]
    assert (one["vmid"], one["running"], one["addresses"], one["destroyed"]) == (DOCS, True, [ADDRESS], False)
    assert f"- {DOCS} zentoria-docs runs, has `{ADDRESS}`" in markdown(made).replace("\\", "")


def test_an_address_that_an_orphan_has_is_refused_until_it_is_gone(stack: Any) -> None:
    (docs,) = desired(DOCS)
    found = site(stack, *desired(REDIS), moved_to(docs, 518))
    with pytest.raises(RefusedError, match=rf"518 \(docs\) would get the address {ADDRESS}, which the orphan {DOCS}"):
        require_possible(found.plan()[0])
    plan, stages = found.plan(prune=True)
    first = next(one for one in stages if isinstance(one, Destroy))
    assert all(first.id in one.after for one in stages if one.vmid == 518)
    (asked,) = destroyed(stages)
    assert asked.startswith(f"zentoria-docs ({DOCS}), which the inventory does not have, with its data: rootfs (")
    assert f"- orphan {DOCS} zentoria-docs, runs, has {ADDRESS}: destroyed, with rootfs" in "\n".join(
        explain.lines(plan, stages)
    )
    run(found, prune=True)
    assert there(stack) == {REDIS, 518}
    assert found.plan()[0].orphans == ()


def test_an_address_that_another_guest_of_the_pool_has_is_refused(stack: Any) -> None:
    net = f"name=eth0,bridge=vmbr40,ip={ADDRESS.replace('.8', '.77')}/20"
    stack.root("POST", "/nodes/pve/lxc", vmid=900, ostemplate=f"local:vztmpl/{next(iter(stack.runtime.templates()))}",
               hostname="mine", unprivileged=1, rootfs="local:1", pool="zentoria", net0=net)  # fmt: skip
    (redis,) = desired(REDIS)
    nets = {"net0": {**redis.nets["net0"], "ip": "10.10.41.77/20"}}
    changed = dataclasses.replace(redis, nets=nets)
    plan, _ = site(stack, *desired(DOCS), changed).plan()
    with pytest.raises(RefusedError, match=r"410 \(redis\) would get the address 10.10.41.77, which container 900"):
        require_possible(plan)
    assert plan.orphans == ()  # it is nobody's but its owner's


def test_down_takes_one_by_its_vmid_and_no_other(stack: Any) -> None:
    found = site(stack, *desired(REDIS))
    stages, left = found.removal(frozenset(), {DOCS})
    assert [one.vmid for one in stages] == [DOCS] and left == ()
    assert found.run(stages).exit_code is ExitCode.OK
    assert there(stack) == {REDIS}
    for vmid in (DOCS, 900):
        with pytest.raises(RefusedError, match=f"destroy container {vmid}"):
            found.removal(frozenset(), {vmid})


def test_down_takes_one_that_has_no_tag_as_one_that_a_killed_run_has_made(stack: Any) -> None:
    stack.root("PUT", f"/nodes/pve/lxc/{DOCS}/config", delete="tags")
    found = site(stack, *desired(REDIS))
    assert [one.vmid for one in found.plan()[0].orphans] == [DOCS]
    assert [one.vmid for one in found.removal(frozenset(), {DOCS})[0]] == [DOCS]


def test_down_refuses_one_whose_data_is_parked(stack: Any) -> None:
    template = f"local:vztmpl/{next(iter(stack.runtime.templates()))}"
    options = {"hostname": parking.hostname(DOCS), "description": parking.description("docs", "lab", DOCS, {})}
    stack.root("POST", "/nodes/pve/lxc", vmid=424, ostemplate=template, pool="zentoria", unprivileged=1,
               rootfs="local:1", **options)  # fmt: skip
    with pytest.raises(RefusedError, match="container 424 holds its data"):
        site(stack, *desired(REDIS)).removal(frozenset(), {DOCS})


def test_down_of_all_leaves_an_orphan_and_says_so(stack: Any) -> None:
    found = site(stack, *desired(REDIS))
    stages, left = found.removal()
    assert [one.vmid for one in stages] == [REDIS] and left == (DOCS,)
    assert list(found.remains(left, whole=True)) == [
        f"container {DOCS} is not in the inventory: `zentoria down {DOCS}` destroys it; left as it is"
    ]


@pytest.mark.parametrize("how", ["down", "prune"])
def test_a_protected_one_is_refused(stack: Any, how: str) -> None:
    stack.root("PUT", f"/nodes/pve/lxc/{DOCS}/config", protection=1)
    found = site(stack, *desired(REDIS))
    with pytest.raises(RefusedError, match=rf"orphan {DOCS} \(zentoria-docs\) is protected"):
        if how == "down":
            found.removal(frozenset(), {DOCS})
        else:
            require_possible(found.plan(prune=True)[0])
    assert there(stack) == {DOCS, REDIS}


def test_somebody_who_takes_it_over_meanwhile_keeps_it(stack: Any) -> None:
    found = site(stack, *desired(REDIS))
    stages, _ = found.removal(frozenset(), {DOCS})
    stack.root("PUT", f"/nodes/pve/lxc/{DOCS}/config", description="mine now")
    assert found.run(stages).exit_code is not ExitCode.OK
    assert there(stack) == {DOCS, REDIS}


def test_a_run_for_a_part_does_not_take_the_rest_for_orphans(stack: Any) -> None:
    found = site(stack, *desired(DOCS, REDIS))
    assert found.plan({REDIS})[0].orphans == ()
    assert found.removal({REDIS})[1] == ()


def seen(vmid: int, text: str, kind: str = "lxc") -> ObservedContainer:
    return ObservedContainer(vmid, "pve", kind, "running", {"hostname": "x", "description": text})


@pytest.mark.parametrize(
    ("one", "orphaned"),
    [
        (seen(418, ownership.description("x", "", "lab", 418)), True),
        (seen(418, ownership.description("x", "", "other", 418)), False),
        (seen(900, ownership.description("x", "", "lab", 418)), False),
        (seen(424, parking.description("x", "lab", 418, {})), True),
        (seen(424, parking.description("x", "lab", 410, {})), False),
        (seen(424, parking.description("x", "other", 418, {})), False),
        (seen(418, "mine"), False),
        (seen(418, ownership.description("x", "", "lab", 418), "qemu"), False),
        (seen(410, ownership.description("x", "", "lab", 410)), False),
    ],
    ids=[
        "ours",
        "another site's",
        "a clone",
        "its data is parked",
        "parked for the inventory",
        "another site's parking container",
        "somebody's",
        "a machine",
        "in the inventory",
    ],
)
def test_whose_is_an_orphan(one: ObservedContainer, orphaned: bool) -> None:
    assert bool(orphans_of(World({}, others={one.vmid: one}), {410}, "lab")) is orphaned


def test_a_volume_of_others_and_a_snapshot_of_others_outlive_or_are_named(node: Any) -> None:
    """A volume that has our number and that another guest uses stays; a snapshot that somebody took is asked for."""
    node.root("POST", "/storage", storage="snap", type="btrfs", path="/srv/snap")
    node.grant("/storage/snap", "Datastore.AllocateSpace,Datastore.Audit")
    (docs,) = desired(DOCS)
    docs = dataclasses.replace(docs, rootfs=dataclasses.replace(docs.rootfs, storage="snap"))
    foreign = f"local:{DOCS}/vm-{DOCS}-disk-9.raw"
    node.runtime.allocate(foreign, 1 << 30)
    found = site(node, docs)
    run(found)
    node.root("POST", f"/nodes/pve/lxc/{DOCS}/snapshot", snapname="before-upgrade")
    stages, _ = found.removal()
    asked = "\n".join(destroyed(stages))
    assert "and the snapshots before-upgrade" in asked
    assert f"left, for {DOCS} does not speak of it: {foreign} (1G)" in asked
    with pytest.raises(RefusedError, match=r"docs \(418\): before-upgrade"):
        require_snapshots_allowed(stages, ())
    require_snapshots_allowed(stages, {Allow.SNAPSHOTS})
    assert found.run(stages).exit_code is ExitCode.OK
    assert there(node) == set()
    assert list(node.runtime.volumes()) == [foreign]


def test_a_volume_of_others_outlives_a_replacement(stack: Any) -> None:
    foreign = f"local:{DOCS}/vm-{DOCS}-disk-9.raw"
    stack.runtime.allocate(foreign, 1 << 30)
    found = site(stack, *desired(DOCS))
    plan, stages = found.plan({DOCS}, replace={DOCS})
    require_possible(plan, {Allow.REPLACE})
    assert found.run(stages).exit_code is ExitCode.OK
    assert foreign in stack.runtime.volumes()

"""One container of a group goes first."""

import dataclasses

from tests.support.stack import ROOT
from zentoria_infra.inventory.load import load
from zentoria_infra.plan.diff import make_plan
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.observed import World
from zentoria_infra.plan.stages.build import build_stages
from zentoria_infra.plan.stages.one_first import one_first
from zentoria_infra.plan.stages.types import LoseFlows

DESIRED = desired_containers(load(ROOT, site="lab"))


def stages_of(*vmids: int):
    chosen = tuple(one for one in DESIRED if one.vmid in vmids)
    return build_stages(make_plan(chosen, World({})), chosen)


def test_the_rest_waits_for_the_end_of_the_first() -> None:
    stages = stages_of(401, 404, 410)
    found = one_first(stages, DESIRED)
    assert {stage.id for stage in found} == {stage.id for stage in stages}
    first = min((one for one in DESIRED if one.vmid in (401, 404, 410)), key=lambda one: one.order).vmid
    assert found[0].vmid == first
    end = [stage.id for stage in found if stage.vmid == first][-1]
    for stage in found:
        assert (end in stage.after) == (stage.vmid != first)


def test_what_is_lost_stays_last_and_waits_for_nobody_new() -> None:
    stages = stages_of(401, 404)
    loss = LoseFlows(404, "db", "404:lose", tuple(stage.id for stage in stages), ())
    found = one_first((*stages, loss), DESIRED)
    assert found[-1] == loss


def test_one_alone_is_left_as_it_is() -> None:
    stages = stages_of(404)
    assert one_first(stages, DESIRED) == stages
    assert one_first((), DESIRED) == ()
    assert one_first([dataclasses.replace(one) for one in stages], DESIRED) == stages

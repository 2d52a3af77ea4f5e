"""Damaged and edited saved plans and state files: told in words, and never carried out."""

from __future__ import annotations

import functools
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.execute.test_firewall_apply import only
from tests.support.mutated_json import damaged, edited
from zentoria_infra.errors import RefusedError
from zentoria_infra.execute import offline
from zentoria_infra.execute.run.perform import create_parameters
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.diff import make_plan
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World
from zentoria_infra.plan.proof import proven_firewall
from zentoria_infra.plan.saved.saved_plan import SavedPlan, dump_saved, read_saved
from zentoria_infra.plan.saved.state_file import InvalidFileError, dump, read_state, state_of
from zentoria_infra.plan.show.document import document
from zentoria_infra.plan.stages.build import build_stages
from zentoria_infra.site.binding import Unkeyed, require_unmoved, saved_plan_for

ROOT = Path(__file__).resolve().parents[2]

QUICK = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@functools.cache
def inventory() -> Inventory:
    return only(load(ROOT, site="lab"), ("db", "redis", "logs"))


@functools.cache
def world() -> World:
    """All is there, but for one container; one has another memory."""
    desired = [one for one in desired_containers(inventory()) if one.name != "logs"]
    containers = {
        one.vmid: ObservedContainer(
            one.vmid, one.node, "lxc", "running",
            {key: str(value) for key, value in create_parameters(one).items() if key != "pool"}
            | {"tags": ";".join(sorted(one.tags)), "unprivileged": "1", "memory": "4711"},
            frozenset(), "d" * 40,
        )
        for one in desired
    }  # fmt: skip
    firewall = compile_firewall(inventory()).configuration
    report = GuestReport(
        vmid=404,
        mode="check",
        resources=(ResourceReport(id="file:/etc/motd", outcome="would-change", diff="-a\n+b\n"),),
    )
    return World(
        containers,
        guests=MappingProxyType({404: GuestCheck(report), 410: GuestCheck(unknown="it does not answer")}),
        firewall=firewall,
        firewall_digests={"404/rules": "e" * 40},
    )


@functools.cache
def saved() -> SavedPlan:
    desired = desired_containers(inventory())
    plan = make_plan(desired, world())
    told = document(plan, build_stages(plan, desired))
    return saved_plan_for(inventory(), desired, world(), told, Unkeyed())


@functools.cache
def content() -> bytes:
    return dump_saved(saved())


@functools.cache
def state() -> bytes:
    return dump(state_of(world(), desired_containers(inventory()), inventory().site.id, {404: "r"}))


def judged(file: bytes) -> str:
    """What becomes of a file: read and carried out as it is, or refused in words."""
    try:
        found = read_saved(file, "p.json")
    except InvalidFileError as error:
        assert str(error).startswith("read the saved plan on p.json: ")
        assert error.exit_code == 3
        return "invalid"
    try:
        require_unmoved(found, saved())
    except RefusedError as error:
        assert "has moved since" in error.got
        assert error.exit_code == 5
        return "refused"
    return "same"


def test_the_plan_as_it_was_saved_is_carried_out() -> None:
    assert judged(content()) == "same"
    assert read_saved(content(), "p").name == saved().name


@given(st.data())
@settings(max_examples=400, **QUICK)
def test_damaged_saved_plans(data: Any) -> None:
    found = data.draw(damaged(content()))
    if judged(found) == "same":
        assert dump_saved(read_saved(found, "p")) == content(), "only its white space differs"


@given(st.data())
@settings(max_examples=400, **QUICK)
def test_edited_saved_plans(data: Any) -> None:
    found = data.draw(edited(content()))
    if judged(found) == "same":
        assert dump_saved(read_saved(found, "p")) == content(), "nothing that is read differs"


@given(st.data())
@settings(max_examples=400, **QUICK)
def test_edited_saved_plans_with_a_seal_that_fits(data: Any) -> None:
    """Whoever edits a plan may seal it again: it is compared with what would be planned now."""
    try:
        found = SavedPlan.model_validate_json(data.draw(edited(content())), strict=True)
    except ValueError:
        return
    if judged(dump_saved(found)) == "same":
        assert done(found) == done(saved())


def done(one: SavedPlan) -> object:
    """All that decides what a run does; not where it is said, where a change comes from, or totals."""
    plan = one.plan.model_dump(mode="json", exclude={"totals": True, "unknown": True, "version": True})
    for change in [*plan["listing"], *(a for c in plan["containers"] for a in c["attributes"])]:
        change.pop("where", None)
        change.pop("origin", None)
    state = one.state.model_dump(mode="json")
    return plan, state, one.guests, one.inventory, one.tool, one.site, one.node, one.selected


@given(st.data())
@settings(max_examples=400, **QUICK)
def test_edited_or_damaged_state_files(data: Any) -> None:
    file = data.draw(edited(state()) | damaged(state()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline, "proven_firewall", lambda _: firewall())
        patch.setattr("zentoria_infra.execute.recipe.recipes", lambda *_: {404: "r"})
        try:
            offline.plan_offline(inventory(), read_state(file, "s.json"), "s.json")
        except (InvalidFileError, RefusedError) as error:
            assert "s.json" in str(error)


@functools.cache
def firewall() -> Any:
    return proven_firewall(inventory())

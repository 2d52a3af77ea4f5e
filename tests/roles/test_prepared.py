"""What a site's prepared template holds: what all containers have, and nothing of any."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.stack import ROOT
from zentoria_infra.execute.prepared import FromTemplate
from zentoria_infra.execute.recipe import SourceMaterials
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.roles.prepared import prepared, prepared_state

BASE = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
SIZE = 1000
MATERIALS = SourceMaterials(ROOT)


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load(ROOT, site="lab")


def of(inventory: Inventory, **site: object) -> str:
    changed = inventory.model_copy(update={"site": inventory.site.model_copy(update=site)})
    return prepared(changed, MATERIALS).volid(SIZE)


def test_it_has_what_all_containers_ask_for_and_its_name_is_the_hash_of_that(inventory: Inventory) -> None:
    found = prepared(inventory, MATERIALS)
    assert set(found.packages) == {
        "ca-certificates", "prometheus-node-exporter", "python3", "python3-venv", "tzdata", "zstd"
    }  # fmt: skip
    name = found.volid(SIZE)
    assert name.startswith("local:vztmpl/zentoria-debian-13-standard_13.1-2_amd64-")
    assert name.endswith(".tar.zst")
    assert name == of(inventory)
    others = {
        found.volid(SIZE + 1),
        of(inventory, template=BASE.replace("13.1-2", "13.2-1")),
        of(inventory, time_zone="Europe/Berlin"),
        of(inventory, admin_ssh_keys=("ssh-ed25519 AAAA",)),
    }
    assert len(others | {name}) == 5
    # a proxy is how packages come, and there may be a password in it
    assert of(inventory, proxy="http://me:secret@192.0.2.1:3128") == name


def test_nothing_of_one_container_is_in_it(inventory: Inventory) -> None:
    states = [prepared_state(inventory, one, MATERIALS) for one in inventory.containers]
    assert len({state.model_dump_json(exclude={"vmid", "hostname"}) for state in states}) == 1
    text = states[0].model_dump_json(exclude={"vmid", "hostname"})
    for one in inventory.containers:
        assert str(one.address) not in text
        assert f"zentoria-{one.name}" not in text
    assert not states[0].whole


def test_what_comes_with_it_does_not_start_before_the_agent_was_there(inventory: Inventory) -> None:
    (unit,) = [one for one in prepared_state(inventory, inventory.containers[0], MATERIALS).resources
               if one.kind == "unit" and not one.masked]  # fmt: skip
    assert (unit.name, unit.enabled, unit.running) == ("prometheus-node-exporter.service", True, False)
    files = {one.path: one.text for one in prepared_state(inventory, inventory.containers[0], MATERIALS).resources
             if one.kind == "file"}  # fmt: skip
    assert "ConditionPathExists=/var/lib/zentoria\n" in files[f"/etc/systemd/system/{unit.name}.d/00-prepared.conf"]


def test_a_container_is_made_from_it_where_it_is_and_needs_no_packages_then_if_it_has_them(
    inventory: Inventory,
) -> None:
    choose = FromTemplate(inventory)
    volid = choose.site.volid(SIZE)
    containers = desired_containers(inventory)
    for templates in ({}, {BASE: SIZE}, {BASE: SIZE + 1, volid: 2000}, {volid: 2000}):
        assert [choose(one, templates) for one in containers] == list(containers)
    found = [choose(one, {BASE: SIZE, volid: 2000}) for one in containers]
    assert {one.ostemplate for one in found} == {volid}
    assert sorted(one.name for one in found if not one.packaged) == ["ai", "db", "ocr", "proxy", "redis", "voice"]
    other = dataclasses.replace(containers[0], ostemplate="nas:vztmpl/mine.tar.zst")
    assert choose(other, {BASE: SIZE, volid: 2000}) == other

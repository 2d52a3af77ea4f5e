"""What a saved plan is bound by: hashes that tell every change that matters, and nothing of a secret."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import copy_project
from zentoria_infra.execute.recipe import SourceMaterials, recipes
from zentoria_infra.guest.state import File, GuestReport, GuestState, ResourceReport
from zentoria_infra.inventory.component_model import NpmComponent
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.from_inventory import desired_containers
from zentoria_infra.plan.model.observed import GuestCheck, World
from zentoria_infra.plan.saved.saved_plan import GuestHashes, dump_saved
from zentoria_infra.plan.show.document import PlanDocument
from zentoria_infra.site.binding import inventory_hash, saved_plan_for

ROOT = Path(__file__).resolve().parents[2]


def shipped(**overrides: Any) -> Inventory:
    return load(ROOT, site="lab", overrides=overrides)


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        ({"secrets_file": "/elsewhere/secrets.json"}, True),
        (
            {"proxmox": {"host": "192.0.2.7", "port": 443, "ca_file": "/elsewhere/ca.pem", "token_id": "me@pam!mine"}},
            True,
        ),
        ({"parallel": {"creates": 1}}, True),
        ({"proxy": "http://me:hunter2@10.10.47.254:3128"}, True),
        ({"proxy": "http://10.10.47.253:3128"}, False),
        ({"proxmox": {"pool": "other"}}, False),
        ({"containers": {"db": {"resources": {"memory": 777}}}}, False),
        ({"containers": {"db": {"purpose": "another one"}}}, False),
    ],
)
def test_the_inventory_s_hash_is_of_what_it_says_and_not_of_this_machine(overrides: dict[str, Any], same: bool) -> None:
    assert (inventory_hash(shipped(**overrides)) == inventory_hash(shipped())) == same


def test_the_same_project_elsewhere_has_the_same_hashes(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "elsewhere")
    container = root / "inventory/containers/404-db.yaml"
    container.write_text("# a remark\n\n" + container.read_text())
    here, there = shipped(), load(root, site="lab")
    assert inventory_hash(there) == inventory_hash(here)
    everybody = [one.vmid for one in here.containers]
    assert recipes(there, everybody) == recipes(here, everybody)


@pytest.mark.parametrize(
    ("file", "vmids"),
    [("templates/redis/redis.conf", [410]), ("services/backend/pyproject.toml", [401]),
     ("services/common/src/zentoria_common/logs.py", [401, 405, 409, 412, 413, 419]),
     ("services/backend/requirements.lock", [401]),
     ("templates/pgbouncer/pgbouncer.ini", [404])],
)  # fmt: skip
def test_a_recipe_changes_with_its_templates_and_services(tmp_path: Path, file: str, vmids: list[int]) -> None:
    root = copy_project(tmp_path / "p")
    before = recipes(load(root, site="lab"), range(400, 424))
    (root / file).write_text((root / file).read_text() + "\n# more\n")
    after = recipes(load(root, site="lab"), range(400, 424))
    assert [one for one in before if before[one] != after[one]] == vmids


class Keyed:
    missing = ""

    def __init__(self, password: str, key: bytes = b"k") -> None:
        self.password, self.key = password, key

    def state(self, vmid: int) -> GuestState:
        secret = File(id="file:/etc/x", path="/etc/x", text=self.password, secret=True)
        return GuestState(vmid=vmid, hostname="db", resources=(secret,))


def saved(keyed: Keyed, detail: str = "", seconds: float = 0.0) -> tuple[GuestHashes, bytes]:
    resource = ResourceReport(id="step:x", outcome="failed", detail="it failed", output=detail)
    report = GuestReport(vmid=404, mode="check", resources=(resource,), seconds=seconds)
    inventory = shipped()
    found = saved_plan_for(
        inventory, desired_containers(inventory), World({}, guests={404: GuestCheck(report)}),
        PlanDocument(changes=False, summary={}), keyed, only=[404],
    )  # fmt: skip
    (hashes,) = found.guests
    return hashes, dump_saved(found)


def test_the_state_of_a_guest_is_bound_without_its_secrets() -> None:
    first, content = saved(Keyed("hunter2"), "said hunter2", 1.0)
    assert b"hunter2" not in content
    assert saved(Keyed("hunter2"), "said hunter2", 2.0) == (first, content)
    assert saved(Keyed("hunter3"), "said hunter2")[0].desired != first.desired
    assert saved(Keyed("hunter2"), "said hunter3")[0].reported != first.reported
    assert saved(Keyed("hunter2", b"another"), "said hunter2")[0].desired != first.desired
    plain = hashlib.sha256(Keyed("hunter2").state(404).model_dump_json().encode()).hexdigest()
    assert plain not in content.decode(), "whoever has no key cannot try passwords out"


def test_an_archive_that_is_not_made_is_known_by_where_it_comes_from_and_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / "npm/tool/package-lock.json"
    lock.parent.mkdir(parents=True)
    lock.write_text("{}")
    component = NpmComponent(kind="npm", package="tool", version="1", lock="tool")
    first = SourceMaterials(tmp_path).archive(component, "tool")
    assert SourceMaterials(tmp_path).archive(component, "tool") == first
    other = component.model_copy(update={"version": "2"})
    assert SourceMaterials(tmp_path).archive(other, "tool").version != first.version
    lock.write_text('{"packages": {}}')
    assert SourceMaterials(tmp_path).archive(component, "tool").version != first.version

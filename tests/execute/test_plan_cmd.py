"""``zentoria plan`` against the lab's API: exit codes, formats, and drift told by the record of the last run."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click.testing
import pytest
from typer.testing import CliRunner

from tests.execute.test_firewall_apply import SMALL
from tests.support.json_schema import mismatches
from tests.support.small_stack import only
from zentoria_infra.cli import applying, main
from zentoria_infra.cli.applying import deployment_of
from zentoria_infra.cli.commands import plan as plan_cmd
from zentoria_infra.errors import ExitCode, UnreachableError
from zentoria_infra.execute.inside import GuestsInside
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.execute.run.engine import Result
from zentoria_infra.execute.run.events import Ended, Status
from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.model import Inventory
from zentoria_infra.plan.model.change import Plan
from zentoria_infra.plan.saved import applied
from zentoria_infra.plan.show.document import PlanDocument, shipped_schema
from zentoria_infra.plan.show.markdown import LIMIT
from zentoria_infra.plan.stages.types import Destroy
from zentoria_infra.proxmox import Proxmox
from zentoria_infra.proxmox.reachable import Patience
from zentoria_infra.site import applied_record
from zentoria_infra.site.site_state import local_state

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., click.testing.Result]


class World:
    """A site on the lab's API, without an inside, and its memory in a folder."""

    def __init__(self, node: Any, folder: Path) -> None:
        overrides = {"secrets_file": str(folder / "site" / "secrets.json")}
        self.node = node
        self.inventory: Inventory = only(load(ROOT, site="lab", overrides=overrides), SMALL)

    @contextmanager
    def connect(self, site: object) -> Iterator[Proxmox]:
        yield self.node.client()

    def up(self) -> Plan:
        """What `up` does, with the record that it leaves."""
        deployment = deployment_of(self.inventory, self.node.client())
        plan, stages = deployment.plan()
        result = deployment.run(stages)
        assert result.exit_code is ExitCode.OK, [str(one.error) for one in result.failed]
        state = local_state(self.inventory.site)
        state.put(applied.NAME, applied_record.after(deployment, plan, result, state.get(applied.NAME)))
        return plan


@pytest.fixture
def world(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    patience = Patience(cycle=0, after=1, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))
    node.root("POST", "/access/roles", roleid="ZentoriaFirewall", privs="Sys.Audit,Sys.Modify")
    node.root("PUT", "/access/acl", path="/", roles="ZentoriaFirewall", users="zentoria@pve", propagate=0)
    found = World(node, tmp_path)
    monkeypatch.setattr(plan_cmd, "connect", found.connect)
    monkeypatch.setattr(plan_cmd, "inventory_of", lambda *_: found.inventory)
    return found


def plan(*arguments: str) -> click.testing.Result:
    return CliRunner().invoke(main.app, ["plan", *arguments])


def listing(*arguments: str) -> dict[str, dict[str, Any]]:
    answer = plan("--json", *arguments)
    told = json.loads(answer.stdout)
    schema = dict(shipped_schema())
    assert mismatches(told, schema, schema) == []
    return {one["id"]: one for one in told["listing"]}


def test_exit_codes_and_formats_before_after_and_when_something_drifts(world: World) -> None:
    assert plan("--detailed-exitcode").exit_code == 2
    assert plan().exit_code == 0, "without the option, changes are no reason to fail"
    fresh = plan("--format", "md")
    assert fresh.stdout.startswith("## Zentoria plan: ") and f"in {len(SMALL)} containers" in fresh.stdout
    assert len(fresh.stdout.encode()) <= LIMIT
    world.up()
    clean = plan("--detailed-exitcode")
    assert clean.exit_code == 0, clean.output
    assert f"No changes: {len(SMALL)} containers are as the inventory says." in clean.stdout
    assert plan("--format", "md", "--detailed-exitcode").stdout.startswith("## Zentoria plan: no changes\n")
    assert PlanDocument.model_validate_json(plan("--json").stdout) == PlanDocument.model_validate_json(
        plan("--format", "json").stdout
    )
    world.node.root("PUT", "/nodes/pve/lxc/410/config", memory=300)
    assert plan("--detailed-exitcode").exit_code == 2


def test_what_somebody_changed_is_drift_and_what_the_inventory_changed_is_not(world: World) -> None:
    assert {one["origin"] for one in listing().values()} == {"unknown"}
    world.up()
    assert listing() == {}
    world.node.root("PUT", "/nodes/pve/lxc/410/config", memory=300, tags="zentoria")
    world.node.root("PUT", "/nodes/pve/lxc/404/firewall/options", dhcp=1)
    alias = next(one for one in world.node.root("GET", "/cluster/firewall/aliases") if one["name"] == "zt-lab_db")
    world.node.root("DELETE", f"/cluster/firewall/aliases/{alias['name']}")
    world.node.root("POST", "/nodes/pve/lxc/408/status/stop")
    db = world.inventory.by_name("db")
    more = db.model_copy(update={"resources": db.resources.model_copy(update={"memory": 4096})})
    rest = [one for one in world.inventory.containers if one is not db]
    world.inventory = world.inventory.model_copy(update={"containers": (*rest, more)})
    found = {name: one["origin"] for name, one in listing().items()}
    assert found == {
        "datacenter/firewall/alias:zt-lab_db": "drift",
        "404/config/memory": "intent",
        "404/firewall/option:dhcp": "drift",
        "408/status": "drift",
        "410/config/memory": "drift",
        "410/config/tags": "drift",
    }
    text = plan().stdout
    assert "memory: 300 → " in text.partition("Drift: changed outside Zentoria")[2]
    world.up()
    assert listing() == {}


def test_changes_name_lines_rights_and_disturbances(world: World) -> None:
    world.up()
    world.node.root("POST", "/nodes/pve/lxc/410/status/stop")  # so that it is in force, and does not wait for a restart
    world.node.root("PUT", "/nodes/pve/lxc/410/config", memory=300, nameserver="192.0.2.1")
    world.node.root("POST", "/nodes/pve/lxc/410/status/start")
    rule = next(
        one for one in world.node.root("GET", "/nodes/pve/lxc/404/firewall/rules") if "zt/row-7/" in one["comment"]
    )
    world.node.root("DELETE", f"/nodes/pve/lxc/404/firewall/rules/{rule['pos']}")
    found = listing()
    assert found["410/config/memory"]["where"].startswith("inventory/sites/lab.yaml:")
    assert found["410/config/memory"]["privileges"] == [{"path": "/pool/zentoria", "privilege": "VM.Config.Memory"}]
    assert found["410/config/nameserver"]["disturbs"] == "container"
    assert found["410/restart"]["action"] == "restart"
    (rule_change,) = [one for name, one in found.items() if name.startswith("404/firewall/")]
    assert rule_change["where"].startswith("zones.yaml:")
    assert rule_change["action"] == "create"


def test_what_could_not_be_seen_is_neither_no_change_nor_changes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.up()

    def unseen(*_: object) -> None:
        raise UnreachableError("look into redis", got="it takes connections and does not greet")

    monkeypatch.setattr(GuestsInside, "missing", "")
    monkeypatch.setattr(GuestsInside, "check", unseen)
    answer = plan("--detailed-exitcode")
    assert answer.exit_code == 1, answer.output
    assert "look again (what is inside is unknown: look into redis: it takes connections" in answer.stdout
    assert "It is not known whether there are changes" in answer.stderr
    assert plan().exit_code == 0
    world.node.root("PUT", "/nodes/pve/lxc/410/config", memory=300)
    assert plan("--detailed-exitcode").exit_code == 2, "there are some in any case"


def test_every_error_is_1_with_a_detailed_exit_code(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in (["--format", "xml"], ["--nosuch"], ["--json", "--format", "md"], ["surplus"]):
        assert plan("--detailed-exitcode", *bad).exit_code == 1, bad
        assert plan(*bad).exit_code == ExitCode.USAGE, bad
    world.node.root("POST", "/access/roles", roleid="Nothing", privs="")
    world.up()
    world.node.root("PUT", "/nodes/pve/lxc/410/config", description="mine")
    refused = plan("--detailed-exitcode")
    assert (refused.exit_code, plan().exit_code) == (1, ExitCode.REFUSED), refused.output

    def gone(*_: object) -> None:
        raise UnreachableError("look at the node", got="no route to host")

    monkeypatch.setattr(applying, "deployment_of", gone)
    answer = plan("--detailed-exitcode")
    assert answer.exit_code == 1
    assert "error: look at the node: no route to host" in answer.stderr
    assert isinstance(plan().exception, UnreachableError)


def test_a_record_that_cannot_be_read_leaves_the_plan_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.up()
    world.node.root("PUT", "/nodes/pve/lxc/410/config", memory=300)

    def broken(*_: object) -> tuple[None, str]:
        return None, "read the site's memory: the disk is full"

    monkeypatch.setattr(applied_record, "recorded", broken)
    told = json.loads(plan("--json").stdout)
    assert told["listing"][0]["origin"] == "unknown"
    assert {"vmid": 0, "container": "datacenter", "what": "what was last applied",
            "why": "read the site's memory: the disk is full"} in told["unknown"]  # fmt: skip


def test_a_container_that_failed_keeps_what_was_applied_before(world: World) -> None:
    plan_before = world.up()
    state = local_state(world.inventory.site)
    content = state.get(applied.NAME)
    deployment = deployment_of(world.inventory, world.node.client())
    stage = Destroy(410, "redis", "410:destroy", ())
    failed = Result((Ended(stage, Status.FAILED),))
    before = applied.parse(content)
    assert before is not None
    db = world.inventory.by_name("db")
    spoilt = applied.Applied({**before.containers, 404: {}, 410: {}}).dump()
    found = applied.parse(applied_record.after(deployment, plan_before, failed, spoilt))
    assert found is not None
    assert found.containers[db.vmid] == before.containers[db.vmid]
    assert found.containers[410] == {}


def test_what_was_taken_down_has_not_drifted(world: World) -> None:
    world.up()
    state = local_state(world.inventory.site)
    deployment = deployment_of(world.inventory, world.node.client())
    stages, _ = deployment.removal({410})
    result = deployment.run(stages)
    state.put(applied.NAME, applied_record.after_removal(state.get(applied.NAME), result))
    assert listing()["410/container"]["origin"] == "intent"
    world.node.root("POST", "/nodes/pve/lxc/404/status/stop")
    world.node.root("DELETE", "/nodes/pve/lxc/404")
    assert listing()["404/container"]["origin"] == "drift"


def test_a_mount_by_hand_goes_also_from_a_container_that_was_protected_by_hand(world: World) -> None:
    """Proxmox changes no drive of a protected container, so the protection goes first."""
    world.up()
    config = "/nodes/pve/lxc/410/config"
    world.node.root("PUT", config, mp5="local:1,mp=/srv/by-hand")
    world.node.root("POST", "/nodes/pve/lxc/410/status/stop")
    world.node.root("POST", "/nodes/pve/lxc/410/status/start")
    world.node.root("PUT", config, protection=1)
    assert {name: one["origin"] for name, one in listing().items()} == {
        "410/config/mp5": "drift", "410/config/protection": "drift", "410/restart": "drift",
    }  # fmt: skip
    world.up()
    assert listing() == {}
    after = world.node.root("GET", config)
    assert "mp5" not in after and "unused0" in after


def test_what_was_rolled_back_inside_has_not_drifted() -> None:
    record = applied.Applied({404: {"inside/release:x": "1", "config/memory": "2"}, 405: {"inside/release:x": "3"}})
    found = applied.parse(applied_record.after_rollback(record.dump(), 404))
    origins = applied.Origins(found, record.containers)
    assert origins.of(404, "inside/release:x").value == "intent"
    assert origins.of(404, "config/memory").value == "drift"
    assert origins.of(405, "inside/release:x").value == "drift"
    assert applied.parse(applied_record.after_rollback(None, 404)) == applied.Applied()

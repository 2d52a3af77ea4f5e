"""Saved plans through the command line, against the lab's API: carried out as they are, or refused with what moved."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

import zentoria_infra
from tests.support.json_schema import mismatches
from tests.support.stack import copy_project
from zentoria_infra.cli import main
from zentoria_infra.execute.run import perform_firewall
from zentoria_infra.plan.saved.saved_plan import dump_saved, read_saved
from zentoria_infra.plan.saved.state_file import shipped_schema
from zentoria_infra.proxmox.reachable import Patience


class Site:
    """A project of its own whose site ``t`` is the lab's API, without an inside."""

    def __init__(self, node: Any, folder: Path) -> None:
        self.node = node
        self.root = copy_project(folder / "project")
        self.folder = folder
        values = YAML(typ="safe").load(self.root / "inventory/sites/lab.yaml")
        values["proxmox"] |= {"port": node.server.port, "ca_file": str(node.ca)}
        values["secrets_file"] = str(folder / "secrets" / "secrets.json")
        values.setdefault("containers", {}).setdefault("ocr", {})["features"] = {"keyctl": False}  # needs SSH
        self.values = values
        self.write()

    def write(self) -> None:
        YAML(typ="safe").dump(self.values, self.root / "inventory/sites/t.yaml")

    def run(self, *arguments: str, code: int = 0) -> click.testing.Result:
        found = CliRunner().invoke(main.app, ["--root", str(self.root), "--site", "t", *arguments])
        assert found.exit_code == code or _exit_code(found) == code, (found.output, found.exception)
        return found

    def config(self, vmid: int) -> dict[str, Any]:
        return dict(self.node.root("GET", f"/nodes/pve/lxc/{vmid}/config"))

    def refused(self, file: Path) -> str:
        """What `up` says that it will not carry out."""
        before = self.world()
        found = self.run("up", str(file), "--yes", code=5)
        assert self.world() == before
        return str(found.exception)

    def world(self) -> str:
        guests = [guest["vmid"] for guest in self.node.root("GET", "/nodes/pve/lxc")]
        return json.dumps([self.config(vmid) for vmid in sorted(guests)], sort_keys=True)


def _exit_code(found: click.testing.Result) -> int | None:
    return getattr(found.exception, "exit_code", None)


def saved_again(file: Path, memory: str) -> Path:
    """A plan that somebody has edited and sealed again, so that it asks for another memory."""
    saved = read_saved(file.read_bytes(), "p")
    listing = tuple(
        one.model_copy(update={"after": memory}) if one.id == "404/config/memory" else one for one in saved.plan.listing
    )
    plan = saved.plan.model_copy(update={"listing": listing})
    found = file.with_name("forged.json")
    found.write_bytes(dump_saved(saved.model_copy(update={"plan": plan})))
    return found


@pytest.fixture
def site(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    patience = Patience(cycle=0, after=1, connect=2, pause=0.01)
    monkeypatch.setattr(perform_firewall, "turn_on", functools.partial(perform_firewall.turn_on, patience=patience))
    node.root("POST", "/access/roles", roleid="ZentoriaFirewall", privs="Sys.Audit,Sys.Modify")
    node.root("PUT", "/access/acl", path="/", roles="ZentoriaFirewall", users="zentoria@pve", propagate=0)
    monkeypatch.setenv("ZENTORIA_PVE_TOKEN", node.token)
    return Site(node, tmp_path)


def test_a_saved_plan_is_carried_out_or_refused_with_what_moved(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    file = site.folder / "p.json"
    site.run("plan", "--out", str(file))
    saved = read_saved(file.read_bytes(), "p")
    assert saved.plan.changes
    schema = dict(shipped_schema("saved.schema.json"))
    assert mismatches(json.loads(file.read_bytes()), schema, schema) == []
    site.run("plan", "--out", str(site.folder / "again.json"))
    assert (site.folder / "again.json").read_bytes() == file.read_bytes()

    site.run("up", str(file), "--yes")
    assert "No changes" in site.run("plan").stdout
    assert "it did not exist, and does now" in site.refused(file)

    site.values["containers"]["db"] = {"resources": {"memory": 777}}
    site.write()
    site.run("plan", "--out", str(file))

    root = site.node.root
    before, notes = site.config(404), site.config(410)["description"]
    root("PUT", "/nodes/pve/lxc/404/config", memory=2048)
    root("PUT", "/nodes/pve/lxc/410/config", description=f"{notes}my password is hunter2\n")
    root("POST", "/nodes/pve/lxc/406/status/stop")
    root("PUT", "/nodes/pve/lxc/404/firewall/options", dhcp=1)
    root("POST", "/nodes/pve/lxc/404/firewall/rules", type="in", action="ACCEPT", enable=1, proto="tcp", dport="22")
    root("POST", "/cluster/firewall/aliases", name="mine", cidr="192.0.2.1", comment="door code 4711")
    said = site.refused(file)
    for words in (
        f"container 404 (db): its configuration has changed since (memory {before['memory']} -> 2048)",
        "container 410 (redis): its configuration has changed since (description",
        "container 406 (logs): its status has changed since (running -> stopped)",
        "firewall of container 404 (db): its options have changed since (dhcp 0 -> 1)",
        "firewall of container 404 (db): a rule is new: in ACCEPT proto=tcp dport=22",
        "firewall of the datacenter: alias mine is new since",
    ):
        assert f"\n  - {words}" in said
    assert said.count("\n  - ") == 6, said
    assert "4711" not in said and "hunter2" not in said
    root("PUT", "/nodes/pve/lxc/404/config", memory=before["memory"])
    root("PUT", "/nodes/pve/lxc/410/config", description=notes)
    root("POST", "/nodes/pve/lxc/406/status/start")
    root("PUT", "/nodes/pve/lxc/404/firewall/options", dhcp=0)
    root("DELETE", "/nodes/pve/lxc/404/firewall/rules/0")
    root("DELETE", "/cluster/firewall/aliases/mine")

    template = site.root / "templates/redis/redis.conf"
    text = template.read_text()
    template.write_text(text + "# more\n")
    site.values["containers"]["db"] = {"resources": {"memory": 778}}
    site.write()
    with monkeypatch.context() as other:
        other.setattr(zentoria_infra, "__version__", "99.0")
        said = site.refused(file)
    assert f"made by version {saved.tool}, this is 99.0" in said
    assert "the inventory has changed since" in said
    assert "inside of container 410 (redis): what is wanted there has changed since" in said
    template.write_text(text)
    site.values["containers"]["db"] = {"resources": {"memory": 777}}
    site.write()

    for number, content in enumerate([b"", b"{}", file.read_bytes()[:-40], file.read_bytes().replace(b"777", b"778")]):
        bad = site.folder / f"{number}.json"
        bad.write_bytes(content)
        before = site.world()
        assert "read the saved plan on" in str(site.run("up", str(bad), "--yes", code=3).exception)
        assert site.world() == before
    forged = saved_again(file, memory="778")
    assert "the plan made now is another one (404/config/memory" in site.refused(forged)

    site.run("up", str(file), "--yes")
    assert site.config(404)["memory"] == 777
    assert "No changes" in site.run("plan").stdout


def test_a_state_file_of_a_node_plans_the_same_elsewhere(site: Site, tmp_path: Path) -> None:
    file = site.folder / "state.json"
    site.run("observe", "--out", str(file))
    assert site.run("observe", "--out", "-").stdout_bytes == file.read_bytes()
    here = json.loads(site.run("plan", "--json").stdout)
    there = json.loads(site.run("plan", "--offline", "--state", str(file), "--json").stdout)
    assert {one["id"] for one in there["listing"]} == {one["id"] for one in here["listing"]}
    site.run("up", "--yes")
    site.run("observe", "--out", str(file))
    assert "No changes" in site.run("plan", "--offline", "--state", str(file)).stdout
    shutil.copytree(site.root, tmp_path / "elsewhere")
    site.node.root("PUT", "/nodes/pve/lxc/404/config", memory=2048)
    site.run("observe", "--out", str(file))
    site.root = tmp_path / "elsewhere"
    answer = site.run("plan", "--offline", "--state", str(file), "--detailed-exitcode", code=2)
    assert "memory: 2048 →" in answer.stdout
    schema = dict(shipped_schema("state.schema.json"))
    assert mismatches(json.loads(file.read_bytes()), schema, schema) == []
    site.values["id"] = "another"
    site.write()
    site.run("plan", "--offline", "--state", str(file), code=5)

"""A service that the inventory has no more is gone from its container: units, files, releases; others' things stay."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.test_contributing import BLOCKS, PLACE, PLACES_LINE
from tests.support.stack import ROOT, Stack, copy_project

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(600)]

CONTAINER = "inventory/containers/424-clock.yaml"


def with_clock(folder: Path) -> Path:
    """A project in which container 418 has the service of CONTRIBUTING.md, with a folder of its own."""
    project = copy_project(folder / "project")
    shutil.copytree(ROOT / "zentoria_infra", project / "zentoria_infra", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in BLOCKS.items():
        if name != CONTAINER:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
    (project / "services/clock/src/zentoria_clock/__init__.py").touch()
    shutil.copy(ROOT / "services/backend/requirements.lock", project / "services/clock/requirements.lock")
    assert PLACE is not None
    catalog = project / "zentoria_infra/roles/catalog.py"
    catalog.write_text(catalog.read_text().replace(PLACES_LINE.rstrip(), f"{PLACES_LINE}    {PLACE[1]},"))
    service = re.sub(r"^  api:", "  clock:", BLOCKS[CONTAINER].partition("services:\n")[2], flags=re.MULTILINE)
    docs = project / "inventory/containers/418-docs.yaml"
    docs.write_text(docs.read_text().rstrip() + "\n\n" + service)
    return project


def test_a_service_is_added_and_removed_again(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = with_clock(tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(project))
        newer = Stack(stack.name, project)
        newer.zentoria("up", "--only", "docs", "--only", "logs", "--yes", check=True)

    def inside(*command: str) -> str:
        return stack.zentoria("exec", "docs", "--", *command).out.strip()

    assert inside("systemctl", "is-active", "zentoria-clock.service", "zentoria-clock.socket") == "active\nactive"
    inside("touch", "/etc/zentoria/clock/of-the-user")
    plan = stack.zentoria("plan", "--only", "docs", "--detailed-exitcode")
    assert plan.code == 2, plan.said()
    for gone in ("unit:zentoria-clock.service", "unit:zentoria-clock.socket", "release:clock", "user:zentoria"):
        assert f"inside: remove {gone}: nothing asks for it any more\n" in plan.out, plan.said()
    process = stack.popen("up", "--only", "docs", "--yes", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "started" and "converge" in str(event):
            break
    process.kill()
    process.communicate()
    stack.zentoria("up", "--yes", check=True)
    assert stack.zentoria("plan", "--detailed-exitcode").code == 0
    units = inside("systemctl", "list-unit-files", "--no-legend", "zentoria-clock*")
    assert units == "", units
    found = inside("find", "/etc", "/opt", "/usr/local", "-path", "*clock*").splitlines()
    assert sorted(found) == ["/etc/zentoria/clock", "/etc/zentoria/clock/of-the-user"], "what the user put there stays"
    assert "zentoria-clock" not in inside("ss", "-ltnp")
    inside("rm", "-r", "/etc/zentoria/clock")

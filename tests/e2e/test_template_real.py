"""The prepared template on real containers: built with packages of today, used, and not needed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.stack import Stack

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(600)]

SOURCES = "package sources open"


def template(stack: Stack) -> Path:
    (file,) = (stack.folder / "storage/template/cache").glob("zentoria-*.tar.zst")
    return file


def test_the_lab_made_the_stack_from_it(stack: Stack, cold) -> None:
    created = [one for one in cold.events if one["event"] == "ended" and one["stage"].startswith("create")]
    assert {one["stage"] for one in created} == {"create from the prepared template"}
    opened = {one["container"] for one in cold.events if one["event"] == "ended" and SOURCES in one["stage"]}
    assert opened == {"ai", "db", "ocr", "proxy", "redis", "voice"}


def test_it_is_built_in_a_container_that_goes_again_and_uploaded(stack: Stack, monkeypatch) -> None:
    """Nothing of that container is in it, and the next one from it is as any other."""
    assert "is there already" in stack.zentoria("template", "build", "--yes", check=True).out
    there = stack.zentoria("template", "build", "--yes", "--out", "/tmp", check=True)
    assert "nothing was written to /tmp; `--again`" in there.out
    busy = stack.zentoria("template", "build", "--again", "--yes", "--out", "/tmp")
    assert busy.code == 5, busy.said()
    assert "does not exist yet" in busy.err
    before = template(stack).stat().st_ino
    stack.zentoria("down", "docs", "--yes", check=True)
    password = (stack.folder / "secrets/root-password").read_text().strip()
    monkeypatch.setenv("ZENTORIA_PVE_ADMIN_SECRET", password)
    built = stack.zentoria("template", "build", "--again", "--yes", check=True)
    assert f"local:vztmpl/{template(stack).name} was built" in built.out
    assert template(stack).stat().st_ino != before
    listed = subprocess.run(
        ["tar", "--list", "--zstd", "--file", str(template(stack))], check=True, capture_output=True, text=True
    )
    files = set(listed.stdout.splitlines())
    assert {"./etc/machine-id", "./usr/bin/prometheus-node-exporter", "./dev/", "./proc/"} <= files
    own = ("./etc/hosts", "./etc/hostname", "./etc/ssh/ssh_host", "./var/lib/zentoria", "./etc/apt/apt.conf.d/80")
    assert [one for one in files if one.startswith(own)] == []
    up = stack.zentoria("up", "--yes", "--json", check=True)
    stages = [one["stage"] for one in up.events if one["event"] == "ended" and one["container"] == "docs"]
    assert stages[0] == "create from the prepared template"
    assert "converge" in stages
    assert stack.zentoria("exec", "docs", "--", "systemctl", "is-system-running", check=True).out.strip() == "running"
    own_id = {name: stack.zentoria("exec", name, "--", "cat", "/etc/machine-id").out for name in ("docs", "voice")}
    assert len(set(own_id.values())) == 2
    assert json.loads(stack.zentoria("plan", "--json", check=True).out)["changes"] is False


def test_without_it_a_container_begins_with_debians_own(stack: Stack) -> None:
    """Real installation stays proven, of a server and of what all containers have."""
    file = template(stack)
    aside = file.rename(stack.folder / file.name)
    stack.zentoria("down", "redis", "docs", "--yes", check=True)
    try:
        up = stack.zentoria("up", "--yes", "--json", check=True)
    finally:
        aside.rename(file)
    ended = [one for one in up.events if one["event"] == "ended"]
    assert {one["container"] for one in ended if one["stage"] == "create"} == {"redis", "docs"}
    assert {one["container"] for one in ended if SOURCES in one["stage"]} == {"redis", "docs"}
    assert stack.get("/api/v1/health").json()["status"] == "ok"

"""A real container goes back to its snapshot: by itself after a redeploy that fails its health gate, and when told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack, copy_project, no_lxc

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(600)]

NAME = "docs"
SETTINGS = "/etc/default/prometheus-node-exporter"


@pytest.fixture
def snapped(tmp_path: Path) -> Iterator[Stack]:
    """A lab of its own, with an inventory that puts containers on the storage that can snapshot."""
    if missing := no_lxc():
        pytest.skip(missing)
    project = copy_project(tmp_path / "project")
    site = project / "inventory/sites/lab.yaml"
    site.write_text(site.read_text().replace("  rootfs: local\n", "  rootfs: local-btrfs\n"))
    services = project / "inventory/site.yaml"
    health = "health: {port: 9100, path: /metrics"
    services.write_text(services.read_text().replace(health, f"{health}, timeout: 3"))
    stack = Stack(f"t-snap{os.environ.get('PYTEST_XDIST_WORKER', '').removeprefix('gw')}", project)
    stack.reset()
    # Debian's own template, as on a node that has no other: here all is really installed
    stack.start("--firewall-cycle", "2", "--pristine")
    yield stack
    stack.reset()


def inside(stack: Stack, *argv: str) -> str:
    return stack.zentoria("exec", NAME, "--", *argv, check=True).out.strip()


def snapshots(stack: Stack) -> list[str]:
    listed = json.loads(stack.zentoria("rollback", NAME, "--list", "--json", check=True).out)
    return [one["name"] for one in listed["snapshots"]]


def test_it_goes_back_after_a_failure_and_when_told(snapped: Stack) -> None:
    stack = snapped
    template = stack.project / "templates/base/environment"
    good = template.read_text()
    stack.zentoria("redeploy", NAME, check=True)
    inside(stack, "sh", "-c", "echo before > /root/written; sync")
    settings = inside(stack, "cat", SETTINGS)

    # It listens where nobody asks, and so fails its health gate.
    template.write_text(good + 'ARGS="--web.listen-address=127.0.0.1:9100"\n')
    failed = stack.zentoria("redeploy", NAME)
    assert failed.code == 1, failed.said()
    assert "health:node-exporter" in failed.err, failed.said()
    assert f"{NAME} is back on snapshot zentoria-" in failed.err
    assert inside(stack, "cat", SETTINGS) == settings
    assert inside(stack, "cat", "/root/written") == "before"
    assert snapshots(stack) == []
    runs = json.loads(stack.zentoria("history", "--json", check=True).out)["runs"]
    assert (runs[0]["outcome"], len(runs[0]["back"])) == ("failed", 1)

    # What ends well keeps its snapshot, and what is written after it is lost when somebody goes back.
    template.write_text(good + 'MORE="1"\n')
    done = stack.zentoria("redeploy", NAME, check=True)
    (kept,) = snapshots(stack)
    assert f"Snapshot {kept} is taken first of {NAME}." in done.err
    inside(stack, "sh", "-c", "echo after > /root/written; sync")
    assert stack.zentoria("rollback", NAME, "--snapshot").code == 5, "nobody confirms it"
    assert inside(stack, "cat", "/root/written") == "after"
    stack.zentoria("rollback", NAME, "--snapshot", "--yes", check=True)
    assert inside(stack, "systemctl", "is-active", "prometheus-node-exporter") == "active", "it has waited for it"
    assert inside(stack, "cat", "/root/written") == "before"
    assert inside(stack, "cat", SETTINGS) == settings
    stack.zentoria("redeploy", NAME, check=True)
    assert 'MORE="1"' in inside(stack, "cat", SETTINGS)
    assert stack.zentoria("plan", "--only", NAME, "--detailed-exitcode").code == 0

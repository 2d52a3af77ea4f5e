"""n8n in a real container: built from its lock, migrated, with a worker. The first build on a machine takes minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inventory.inventory_project import replace
from tests.support.stack import Stack, copy_project, no_lxc

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.soak, pytest.mark.timeout(3600)]

LAB = "inventory/sites/lab.yaml"
READY = """
import sys, urllib.request
for port in (5678, 5681):
    with urllib.request.urlopen(f"http://10.10.40.2:{port}/healthz/readiness", timeout=10) as answer:
        assert answer.status == 200
"""
PAGES = """
import urllib.request
def page(url):
    with urllib.request.urlopen("http://10.10.40.2:" + url, timeout=30) as answer:
        return answer.read().decode()
assert "/n8n/favicon.ico" in page("5678/")
assert "n8n_scaling_mode_queue_jobs_waiting" in page("5678/metrics")
"""
PATIENCE = 300.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if missing := no_lxc():
        pytest.skip(missing)
    project = copy_project(tmp_path_factory.mktemp("project"))
    for name in ("main", "worker"):
        replace(project, LAB, f"{name}: {{installed: false}}", f"{name}: {{installed: true}}")
    replace(project, LAB, "  n8n:\n    resources: {memory: 1024,", "  n8n:\n    resources: {memory: 2048,")
    found = Stack("t-n8n", Path(project))
    found.reset()
    found.start("--firewall-cycle", "2")
    yield found
    found.reset()


def inside(stack: Stack, *command: str) -> str:
    return stack.zentoria("exec", "n8n", "--", *command, check=True).out


def ready(stack: Stack) -> bool:
    return stack.zentoria("exec", "n8n", "--", "python3", "-c", READY).code == 0


def test_n8n_comes_up_with_a_worker_and_again_when_both_are_killed(stack: Stack) -> None:
    chosen = [word for name in ("db", "redis", "n8n") for word in ("--only", name)]
    stack.zentoria("up", "--yes", *chosen, timeout=3000, check=True)
    assert ready(stack)
    inside(stack, "python3", "-c", PAGES)
    assert stack.zentoria("plan", *chosen, "--detailed-exitcode").code == 0
    addresses = {line.split()[3].rpartition(":")[0] for line in inside(stack, "ss", "-ltnH").splitlines()}
    assert addresses == {"10.10.40.2", "127.0.0.1"}
    imported = inside(stack, "cmp", "/etc/zentoria/n8n/credentials.json", "/etc/zentoria/n8n/credentials.imported")
    assert not imported
    said = inside(stack, "journalctl", "--output=cat", "--unit=n8n", "--unit=n8n-worker")
    assert "Registered runner" in said and "api.n8n.io" not in said
    inside(stack, "systemctl", "kill", "--signal=KILL", "n8n", "n8n-worker")
    until = time.monotonic() + PATIENCE
    while not ready(stack):
        assert time.monotonic() < until, inside(stack, "journalctl", "--lines=50", "--unit=n8n", "--unit=n8n-worker")
        time.sleep(1)

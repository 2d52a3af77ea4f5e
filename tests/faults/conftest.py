"""Two servers behind a proxy that spoils calls, and the cells of the table at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.faults_table import Cells
from tests.faults.faults_worlds import FakePveBackend, LabBackend, World
from tests.proxmox.proxmox_pki import Pki, make_pki
from zentoria_infra.execute.run import in_force


@pytest.fixture(autouse=True)
def no_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing filters before these servers, so there is no cycle of pve-firewall to let pass."""
    monkeypatch.setattr(in_force, "by_time", lambda load, processors: 0.0)


@pytest.fixture
def fault_cells(request: pytest.FixtureRequest) -> Cells:
    """What the test saw; it goes with the test's report to tests/conftest.py."""
    return Cells(request.node.user_properties)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"), "pve1")


@pytest.fixture(scope="session", params=["lab", "fakepve"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[World]:
    """A server behind the proxy."""
    if request.param == "lab":
        made = World(LabBackend(tmp_path_factory.mktemp("faults-lab")), pki)
    else:
        made = World(FakePveBackend(), pki)
    yield made
    made.close()

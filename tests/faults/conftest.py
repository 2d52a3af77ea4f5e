"""Two servers behind a proxy that spoils calls, and the table at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faults_table import Table
from faults_worlds import FakePveBackend, LabBackend, World

from tests.proxmox.proxmox_pki import Pki, make_pki

_TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = Table()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if lines := list(config.stash[_TABLE].lines()):
        terminalreporter.section("every endpoint and every fault")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def faults_table(request: pytest.FixtureRequest) -> Table:
    return request.config.stash[_TABLE]


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

"""One lab with the whole stack for all tests here: the cold `up` is paid once, or by each worker that has such tests.

Under ``make test`` two do, at the same time (tests/conftest.py), each on a lab of its own.
"""

import os
from collections.abc import Iterator

import pytest

from tests.support.stack import Run, Stack, no_lxc


@pytest.fixture(scope="session")
def lab() -> Iterator[Stack]:
    """A running lab, removed at the end."""
    if missing := no_lxc():
        pytest.skip(missing)
    stack = Stack(f"t-e2e{os.environ.get('PYTEST_XDIST_WORKER', '').removeprefix('gw')}")
    stack.reset()
    stack.start("--firewall-cycle", "2")
    yield stack
    stack.reset()


@pytest.fixture(scope="session")
def cold(lab: Stack) -> Run:
    """The first `up` of the lab."""
    return lab.zentoria("up", "--yes", "--json", check=True)


@pytest.fixture
def stack(lab: Stack, cold: Run) -> Stack:
    """The stack, up."""
    return lab

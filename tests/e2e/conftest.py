"""One lab with the whole stack for all tests here: the cold `up` is paid once."""

from collections.abc import Iterator

import pytest

from tests.support.stack import Run, Stack, no_lxc


@pytest.fixture(scope="session")
def lab() -> Iterator[Stack]:
    """A running lab, removed at the end."""
    if missing := no_lxc():
        pytest.skip(missing)
    stack = Stack("t-e2e")
    stack.reset()
    stack.start()
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

"""How property tests run, which tests belong together, and what the end of a run shows."""

import gc
import os
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

from tests.support.needs import as_error
from tests.support.soak import PROFILE, tenth
from zentoria_infra.lab.api.auth import access

# Never against the clock of a busy machine, and in CI always with the same examples. A soak looks for new ones.
PATIENT = [hypothesis.HealthCheck.too_slow]
"""How fast examples come depends on what else the machine does."""
hypothesis.settings.register_profile("explore", deadline=None, suppress_health_check=PATIENT)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=PATIENT)
hypothesis.settings.register_profile(PROFILE, deadline=None, max_examples=500, derandomize=False)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "explore")

TOGETHER = {
    "tests/e2e/test_stack_up.py": "stack 1",
    "tests/e2e/": "stack 2",
    "tests/lab_lxc/": "containers",
    "tests/lab_daemon/": "containers",
    "tests/lab_firewall/": "containers",
    "tests/guest/": "containers",
    "tests/faults/test_whole_runs.py": "whole runs",
    "tests/browser/": "browser",
}
"""Slow tests that share what is costly to make: one worker runs them in order. The first prefix that fits counts.

The two stacks take about as long as each other, and each has a lab of its own.
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give out groups of tests with ``--dist loadgroup``, and what is in no group test by test.

    pytest-xdist's own groups are marks which it writes into node ids in a way that pytest has not had since 9.2: all
    marks would be passed over without a word.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((group for prefix, group in TOGETHER.items() if nodeid.startswith(prefix)), nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have property tests brief, unless this is a soak (``--hypothesis-profile soak``)."""
    if config.getoption("hypothesis_profile") != PROFILE:
        tenth(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, a test that is skipped for what set-up should have brought is an error."""
    report = yield
    if os.environ.get("CI"):
        as_error(item, report)
    return report


def pytest_collection_finish() -> None:
    """Make what hundreds of tests do each cheaper.

    What is loaded now stays until the end, so no collection of garbage need go through it. And a lab's password that a
    test made up needs no hash that is costly to guess.
    """
    gc.collect()
    gc.freeze()
    access._SCRYPT = (1 << 4, 8, 1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of faults. Its cells come with the reports of its tests, wherever these ran.

    It is here and not in tests/faults: a process that only hands tests to workers collects none, and so reads no
    conftest.py but this one.
    """
    reports = [one for several in terminalreporter.stats.values() for one in several]
    told = [pair for one in reports if getattr(one, "when", "") == "call" for pair in one.user_properties]
    if cells := [value for key, value in told if key == "fault"]:
        from tests.faults.faults_table import Table

        terminalreporter.section("every endpoint and every fault")
        for line in Table(cells).lines():
            terminalreporter.write_line(line)

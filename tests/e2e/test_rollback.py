"""The way back, on real containers: releases that were there before, and two runs at once."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.support.stack import RequestLoop, Stack, copy_project

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(900)]

HEALTH = "/api/v1/health"


def releases(stack: Stack) -> list[dict[str, object]]:
    found = json.loads(stack.zentoria("rollback", "backend", "--list", "--json", check=True).out)
    (kept,) = found["releases"].values()
    return kept


def current(stack: Stack) -> str:
    return next(str(one["version"]) for one in releases(stack) if one["current"])


def changed_project(folder: Path) -> Path:
    project = copy_project(folder)
    main = project / "services/backend/src/zentoria_backend/main.py"
    main.write_text(main.read_text() + "\n# a change that nobody notices\n")
    return project


def test_a_service_goes_back_to_the_release_before_and_the_plan_says_so(stack: Stack, tmp_path: Path) -> None:
    old = current(stack)
    newer = Stack(stack.name, changed_project(tmp_path / "project"))
    newer.zentoria("redeploy", "backend", check=True)
    new = current(stack)
    assert new != old
    with RequestLoop(stack, HEALTH) as load:
        run = stack.zentoria("rollback", "backend", check=True)
    assert f"backend: {new} -> {old}" in run.out
    assert load.bad == []
    assert current(stack) == old
    assert stack.get(HEALTH).status_code == 200
    plan = newer.zentoria("plan", "--detailed-exitcode")
    assert plan.code == 2, plan.said()
    assert re.search(rf"{old} -> {new} \(rolled back from {new} by \S+, ", plan.out), plan.said()
    newer.zentoria("up", "--yes", check=True)
    assert current(stack) == new
    stack.zentoria("up", "--yes", check=True)
    assert current(stack) == old
    assert stack.zentoria("plan", "--detailed-exitcode").code == 0


def test_what_has_no_releases_says_what_else_can_be_done(stack: Stack) -> None:
    run = stack.zentoria("rollback", "redis")
    assert run.code == 5, run.said()
    assert "Debian packages" in run.err and "git revert" in run.err


def test_two_runs_at_once(stack: Stack) -> None:
    """The second is told who is at work; when the first has been killed, the next takes over at once."""
    stack.zentoria("down", "419", "--yes", check=True)
    first = stack.popen("up", "--yes")
    try:
        until = time.monotonic() + 60
        while not json.loads(stack.zentoria("lock", "--json", check=True).out)["holder"]:
            assert time.monotonic() < until
        second = stack.zentoria("up", "--yes")
        assert second.code == 6, second.said()
        assert "another run is at work" in second.err and "since" in second.err
    finally:
        first.kill()
        first.communicate()
    third = stack.zentoria("up", "--yes", check=True)
    assert "Taking over from" in third.err, third.said()
    history = json.loads(stack.zentoria("history", "--json", check=True).out)
    assert [one["outcome"] for one in history["runs"][:2]] == ["ok", "died"]

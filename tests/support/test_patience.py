"""Limits in time that grow with the machine's slowness."""

from collections.abc import Iterator

import pytest

from tests.support import patience


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    patience.slowness.cache_clear()
    yield
    patience.slowness.cache_clear()


@pytest.mark.parametrize(
    ("starts", "limit"),
    [([0.01] * 5, 5.0), ([0.01, 0.01, 0.06, 0.03, 0.01], 10.0), ([0.01, 0.01, 0.01, 9.0, 0.01], 40.0)],
    ids=["idle", "busy", "almost stuck"],
)
def test_a_busy_machine_is_waited_for(monkeypatch: pytest.MonkeyPatch, starts: list[float], limit: float) -> None:
    times = iter(starts)
    monkeypatch.setattr(patience, "_start", lambda: next(times))
    assert patience.patience(5) == pytest.approx(limit)
    assert patience.patience(5) == pytest.approx(limit), "it is measured once"


def test_a_start_takes_its_time() -> None:
    assert patience._start() > 0
    assert 1 <= patience.slowness() <= patience.MOST

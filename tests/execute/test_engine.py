"""The engine: order, parallel work, failures, interrupts."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.errors import ExitCode, TaskError
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.events import Ended, Event, Started, Status
from zentoria_infra.plan.stages.types import AnyStage, CloseSources, Converge, CutConnections, GoBack, Start


def stage(name: str, *after: str) -> AnyStage:
    return Start(404, "db", name, after)


def run(stages: list[AnyStage], bad: frozenset[str] = frozenset()) -> tuple[engine.Result, list[Event]]:
    events: list[Event] = []

    def perform(one: AnyStage, say: object) -> None:
        if one.id in bad:
            raise TaskError(f"start {one.id}", got="no")

    return engine.run(stages, perform, events.append, workers=4), events


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[AnyStage], frozenset[str]]:
    size = draw(st.integers(1, 12))
    stages = []
    for number in range(size):
        after = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        stages.append(stage(str(number), *(str(one) for one in sorted(after))))
    return stages, frozenset(draw(st.sets(st.sampled_from([one.id for one in stages]))))


@given(graphs())
def test_every_stage_ends_once_in_order_and_failures_stop_only_what_needs_them(graph) -> None:
    stages, bad = graph
    result, events = run(stages, bad)
    status = {ended.stage.id: ended.status for ended in result.ended}
    assert len(result.ended) == len(stages) == len(status)
    for one in stages:
        if any(status[need] is not Status.DONE for need in one.after):
            assert status[one.id] is Status.SKIPPED
        else:
            assert status[one.id] is (Status.FAILED if one.id in bad else Status.DONE)
    seen: set[str] = set()
    for event in events:
        if isinstance(event, Started):
            assert set(event.stage.after) <= seen
        elif isinstance(event, Ended) and event.status is Status.DONE:
            seen.add(event.stage.id)
    assert result.exit_code is (ExitCode.FAILED if Status.FAILED in status.values() else ExitCode.OK)


def test_independent_stages_work_at_the_same_time() -> None:
    meet = threading.Barrier(3, timeout=20)
    result = engine.run([stage(name) for name in "abc"], lambda one, say: meet.wait() and None, lambda event: None)
    assert result.exit_code is ExitCode.OK


def test_an_interrupt_lets_work_end_and_begins_nothing_else() -> None:
    stop = threading.Event()
    performed = []

    def perform(one: AnyStage, say: object) -> None:
        performed.append(one.id)
        stop.set()

    result = engine.run([stage("a"), stage("b", "a"), stage("c", "b")], perform, lambda event: None, stop=stop)
    assert performed == ["a"]
    assert result.interrupted
    assert result.exit_code is ExitCode.INTERRUPTED
    assert {ended.stage.id: ended.status for ended in result.ended} == {
        "a": Status.DONE,
        "b": Status.STOPPED,
        "c": Status.STOPPED,
    }


@pytest.mark.parametrize(
    ("stops_at", "expected"),
    [
        ("work", ["work"]),
        ("lose", ["work", "lose", "cut"]),
    ],
)
def test_what_was_begun_is_finished_also_after_an_interrupt(stops_at: str, expected: list[str]) -> None:
    """Rules that are gone leave connections open, and the next run would not know of them."""
    stop = threading.Event()
    performed = []

    def perform(one: AnyStage, say: object) -> None:
        performed.append(one.id)
        if one.id == stops_at:
            stop.set()

    stages = [
        stage("work"),
        stage("lose", "work"),
        stage("other", "lose"),
        CutConnections(0, "datacenter", "cut", ("work", "lose", "other"), (), ("lose",)),
    ]
    result = engine.run(stages, perform, lambda event: None, stop=stop)
    assert performed == expected
    assert result.interrupted
    assert len(result.ended) == 4


def going_back(*after: str) -> AnyStage:
    return GoBack(404, "db", "back", after, "zentoria-20261125-223100", after_failure=True)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("", {"other": "done", "restart": "done", "converge": "done", "back": "not needed", "end": "done"}),
        ("other", {"other": "failed", "restart": "skipped", "converge": "skipped", "back": "not needed"}),
        ("restart", {"restart": "failed", "converge": "skipped", "back": "done", "end": "skipped"}),
        ("converge", {"restart": "done", "converge": "failed", "back": "done", "end": "skipped"}),
    ],
)
def test_the_way_back_is_taken_after_a_failure_and_only_then(bad: str, expected: dict[str, str]) -> None:
    """What was never done because something before it failed needs no way back."""
    stages = [
        stage("other"),
        stage("restart", "other"),
        stage("converge", "restart"),
        going_back("restart", "converge"),
        stage("end", "converge"),
    ]
    result, _ = run(stages, frozenset({bad}))
    found = {one.stage.id: one.status.value for one in result.ended}
    assert {key: found[key] for key in expected} == expected
    assert result.exit_code is (ExitCode.FAILED if bad else ExitCode.OK)


@pytest.mark.parametrize("fails", [True, False])
def test_an_interrupt_leaves_nothing_half_failed(fails: bool) -> None:
    stop = threading.Event()

    def perform(one: AnyStage, say: object) -> None:
        stop.set()
        if fails and one.id == "converge":
            raise TaskError("converge db", got="no")

    result = engine.run([stage("converge"), going_back("converge")], perform, lambda event: None, stop=stop)
    found = {one.stage.id: one.status for one in result.ended}
    assert found["back"] is (Status.DONE if fails else Status.SPARED)
    assert not result.interrupted


# Points on the way, and what finishes something.


def converging(name: str, *after: str) -> AnyStage:
    return Converge(404, "db", name, after)


def closing(after: str, *opened_by: str) -> AnyStage:
    return CloseSources(404, "db", "close", (after,), (), (), opened_by)


def test_who_waits_for_a_point_on_the_way_begins_while_that_stage_is_at_work() -> None:
    halfway, other = engine.Halfway(), threading.Event()
    seen: list[bool] = []

    def perform(one: AnyStage, say: object) -> None:
        if one.id == "other":
            other.set()
            return
        seen.append(other.wait(0))
        halfway.passed(one.halfway)
        seen.append(other.wait(20))

    stages = [converging("work"), stage("other", "404:packages")]
    engine.run(stages, perform, lambda event: None, halfway=halfway)
    assert seen == [False, True]


@pytest.mark.parametrize(("bad", "expected"), [("", Status.DONE), ("work", Status.SKIPPED)])
def test_a_point_that_nobody_tells_of_is_passed_with_the_end(bad: str, expected: Status) -> None:
    result, _ = run([converging("work"), stage("other", "404:packages")], frozenset({bad}))
    assert result.ended[-1].status is expected


def test_an_interrupt_begins_nothing_for_a_point_that_is_passed() -> None:
    stop, halfway = threading.Event(), engine.Halfway()

    def perform(one: AnyStage, say: object) -> None:
        stop.set()
        halfway.passed("404:packages")

    stages = [converging("work"), stage("other", "404:packages")]
    result = engine.run(stages, perform, lambda event: None, stop=stop, halfway=halfway)
    assert [one.status for one in result.ended] == [Status.DONE, Status.STOPPED]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [("start", Status.SKIPPED), ("open", Status.DONE), ("converge", Status.DONE), ("", Status.DONE)],
)
def test_what_finishes_something_is_done_once_that_has_begun(bad: str, expected: Status) -> None:
    stages = [stage("start"), stage("open", "start"), converging("converge", "open")]
    result, _ = run([*stages, closing("converge", "open", "converge")], frozenset({bad}))
    assert result.ended[-1].stage.id == "close"
    assert result.ended[-1].status is expected


def test_an_interrupt_takes_the_way_back_before_what_comes_after_it() -> None:
    stop = threading.Event()
    performed: list[str] = []

    def perform(one: AnyStage, say: object) -> None:
        stop.set()
        performed.append(one.id)
        if one.id == "converge":
            raise TaskError("converge db", got="no")

    close = CloseSources(404, "db", "close", ("converge", "back"), (), (), ("converge",))
    engine.run([converging("converge"), going_back("converge"), close], perform, lambda event: None, stop=stop)
    assert performed == ["converge", "back", "close"]

"""One run at a time: who waits, who takes over, who loses, and what the history says of each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer

from tests.support.patience import patience
from zentoria_infra.errors import ExitCode, RefusedError, UnreachableError, ZentoriaError
from zentoria_infra.execute.run.engine import Result
from zentoria_infra.execute.run.events import Ended, Status
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.stages.types import Converge, Create, Restart
from zentoria_infra.proxmox.shell.node_state import MissingProgramError, ProgramState
from zentoria_infra.proxmox.shell.pct import ExecResult
from zentoria_infra.site import history, processes
from zentoria_infra.site.run_lock import Lease, LockedError, LockLostError, described, held
from zentoria_infra.site.site_state import EitherRunner, FolderRunner, Holder, Run, StateError

QUICK = Lease(seconds=60, renew=0.05)


@pytest.fixture
def state(tmp_path: Path) -> ProgramState:
    return ProgramState("home", FolderRunner(tmp_path / "state"))


def only_run(state: ProgramState) -> Run:
    (run,) = state.runs().runs
    return run


def until(done: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + patience(seconds)
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def elsewhere(**values: Any) -> dict[str, Any]:
    """What a run on another machine says of itself."""
    return {"who": "bob@lap", "command": "zentoria up", "machine": "another", "pid": 1234, "started": 1, **values}


def test_the_lock_is_held_meanwhile_and_the_history_has_it_all(state: ProgramState) -> None:
    state.put("applied", b"before")
    with held(state, "zentoria up --yes", record={"version": "1"}, documents=["applied", "none"]) as lock:
        assert lock.documents == {"applied": b"before", "none": None}
        holder = state.holder()
        assert holder is not None
        assert holder.id == lock.id
        assert history.outcome_of(only_run(state)) == "running"
        lock.planned(history.planned({"summary": {"create": 2}, "containers": []}), {"summary": {}})
        lock.put("applied", b"after")
        assert (lock.get("applied"), lock.get("none"), state.get("applied")) == (b"after", None, b"before")
        lock.ended({"outcome": "failed"})
    assert state.holder() is None
    assert state.get("applied") == b"after"
    run = only_run(state)
    record = history.record_of(run)
    assert (record.who, record.command, record.version) == (processes.who(), "zentoria up --yes", "1")
    assert record.plan is not None
    assert record.plan.totals == {"create": 2}
    assert history.outcome_of(run) == "failed"
    assert state.runs(1, run.id[:4]).plan == {"summary": {}}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (ZentoriaError("x"), "failed"),
        (RefusedError("x"), "refused"),
        (KeyboardInterrupt(), "interrupted"),
        (typer.Exit(ExitCode.INTERRUPTED), "interrupted"),
        (typer.Exit(ExitCode.FAILED), "failed"),
        (typer.Exit(ExitCode.OK), "ok"),
        (SystemExit(130), "interrupted"),
        (RuntimeError("bug"), "failed"),
    ],
)
def test_how_the_block_is_left_says_how_the_run_ended(
    state: ProgramState, error: BaseException | None, outcome: str
) -> None:
    def go() -> None:
        with held(state, "zentoria up"):
            if error is not None:
                raise error

    if error is None:
        go()
    else:
        with pytest.raises(type(error)):
            go()
    assert history.outcome_of(only_run(state)) == outcome
    assert state.holder() is None


def test_the_second_is_told_who_what_since_when_and_from_where(state: ProgramState) -> None:
    with held(state, "zentoria up --yes"), pytest.raises(LockedError) as caught, held(state, "zentoria down"):
        raise AssertionError("it got in")
    assert caught.value.exit_code == ExitCode.LOCKED == 6
    text = str(caught.value)
    assert text.startswith("begin `zentoria down` on this machine: another run is at work: ")
    assert f"{processes.who()} with `zentoria up --yes` since 20" in text
    assert "--wait SECONDS" in text
    assert len(state.runs().runs) == 1, "one that did not get in has not run"
    from_afar = Holder("a" * 12, "2026-11-25T19:13:22Z", "192.0.2.7", {"who": "ada@desk", "command": "\x1b[2Jup"}, 9)
    assert described(from_afar) == (
        "ada@desk with `?[2Jup` since 2026-11-25 19:13:22 UTC, from 192.0.2.7 (run aaaaaaaaaaaa)"
    )


def test_it_waits_as_long_as_it_is_told_to(state: ProgramState) -> None:
    said: list[str] = []
    state.begin("b" * 12, elsewhere(), lease=60)
    threading.Timer(0.5, lambda: state.end("b" * 12, {})).start()
    with held(state, "zentoria up", wait=30, say=said.append):
        pass
    assert [text.partition(" since ")[0] for text in said] == ["Waiting up to 30 s: bob@lap with `zentoria up`"]
    state.begin("c" * 12, elsewhere(), lease=60)
    begun = time.monotonic()
    with pytest.raises(LockedError), held(state, "zentoria up", wait=0.2):
        pass
    assert time.monotonic() - begun < patience(10)


def test_an_expired_lock_is_taken_over_and_that_is_said(state: ProgramState) -> None:
    said: list[str] = []
    state.begin("b" * 12, elsewhere(), lease=0.05)
    time.sleep(0.1)
    with held(state, "zentoria up", say=said.append) as lock:
        assert lock.after is not None
    assert said[0].startswith("Taking over from bob@lap")
    assert "expired" in said[0]
    assert [history.outcome_of(run) for run in state.runs().runs] == ["ok", "died"]


def test_a_long_run_renews_its_lock(state: ProgramState, tmp_path: Path) -> None:
    def renewed() -> float:
        return float(json.loads((tmp_path / "state/home/lock.json").read_bytes())["renewed"])

    with held(state, "zentoria up", lease=QUICK):
        for _ in range(3):
            before = renewed()
            until(lambda before=before: renewed() > before)


def test_whoever_loses_the_lock_stops_and_writes_no_documents(state: ProgramState) -> None:
    said: list[str] = []
    stop = threading.Event()
    with held(state, "zentoria up", lease=QUICK, say=said.append) as lock:
        lock.watch(stop)
        lock.require()
        lock.put("applied", b"mine")
        state.break_lock()
        assert stop.wait(patience(20))
        with pytest.raises(LockLostError, match="somebody broke it") as caught:
            lock.require()
        assert caught.value.exit_code == ExitCode.LOCKED
        late = threading.Event()
        lock.watch(late)
        assert late.is_set()
        lock.ended({"outcome": "interrupted"})
    assert state.get("applied") is None
    assert len(said) == 1
    assert "nothing more is begun" in said[0]
    assert history.outcome_of(only_run(state)) == "interrupted"


def test_who_took_it_is_named(state: ProgramState) -> None:
    with held(state, "zentoria up", lease=QUICK) as lock:
        state.break_lock()
        state.begin("b" * 12, elsewhere(), lease=60)
        until(lambda: bool(lock.lost))
        assert lock.lost.startswith("bob@lap with `zentoria up`")
    holder = state.holder()
    assert holder is not None
    assert holder.id == "b" * 12, "the loser does not take it from the new one"


def test_one_that_lost_it_without_noticing_learns_it_at_the_end(state: ProgramState) -> None:
    said: list[str] = []
    with held(state, "zentoria up", say=said.append) as lock:
        lock.put("applied", b"mine")
        state.break_lock()
    assert state.get("applied") is None
    assert "at the end" in said[0]


class Cut(ProgramState):
    """A memory that cannot be reached for a while."""

    broken = False
    asked = 0

    def renew(self, run: str) -> None:
        self.asked += 1
        if self.broken:
            raise UnreachableError("renew", on="node pve", got="no route")
        super().renew(run)

    def end(self, run: str, record: Mapping[str, Any], documents: Mapping[str, bytes] | None = None) -> None:
        if self.broken:
            self.broken = False
            raise UnreachableError("end", on="node pve", got="cut")
        super().end(run, record, documents)


def test_a_short_cut_costs_no_lock_and_a_long_one_does(tmp_path: Path) -> None:
    state = Cut("home", FolderRunner(tmp_path))
    with held(state, "zentoria up", lease=Lease(seconds=3, renew=0.05)) as lock:
        state.broken = True
        asked = state.asked
        until(lambda: state.asked > asked + 3)
        state.broken = False
        asked = state.asked
        until(lambda: state.asked > asked + 3)
        assert not lock.lost
        state.broken = True
        until(lambda: bool(lock.lost))
        assert "could not be renewed within 3 s" in lock.lost
        assert "no route" in lock.lost
    assert history.outcome_of(only_run(state)) == "ok", "the end is tried twice"


def test_an_end_that_cannot_be_written_is_told_and_does_not_fail_the_run(
    state: ProgramState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StateError("end", on="node pve", got="disk full")

    said: list[str] = []
    monkeypatch.setattr(ProgramState, "end", broken)
    with held(state, "zentoria up", say=said.append):
        pass
    assert len(said) == 1
    assert "disk full" in said[0]


HOLDER = """
import sys
from pathlib import Path
from zentoria_infra.site.run_lock import held
from zentoria_infra.site.site_state import FolderRunner
from zentoria_infra.proxmox.shell.node_state import ProgramState
with held(ProgramState("home", FolderRunner(Path(sys.argv[1]))), "zentoria up"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_process_that_was_killed_here_is_taken_over_at_once(tmp_path: Path) -> None:
    state = ProgramState("home", FolderRunner(tmp_path))
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n", "the other process has failed: what it wrote is above"
        with pytest.raises(LockedError), held(state, "zentoria up"):
            pass
        process.send_signal(signal.SIGKILL)
        # Not waited for: a zombie has died as well.
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        with held(state, "zentoria up", say=said.append):
            pass
    assert "whose process has died" in said[0]
    assert [history.outcome_of(run) for run in state.runs().runs] == ["ok", "died"]


def test_who_may_live_is_not_called_dead() -> None:
    mine = processes.identity()
    assert not processes.is_dead(mine)
    with subprocess.Popen(["true"]) as gone:
        gone.wait(20)
    assert processes.is_dead({**mine, "pid": gone.pid})
    assert processes.is_dead({**mine, "started": mine["started"] - 1}), "another process has its number now"
    for change in (
        {"machine": "another", "pid": gone.pid},
        {"machine": "", "pid": gone.pid},
        {"pid": 1, "started": 1},
        {"pid": -gone.pid},
        {"pid": str(gone.pid)},
        {"pid": gone.pid, "started": 0},
        {"pid": gone.pid, "started": None},
    ):
        assert not processes.is_dead({**mine, **change}), change
    assert not processes.is_dead({})


def test_a_process_that_is_hidden_is_not_called_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc may be mounted so that other users' processes do not show (hidepid)."""
    mine = processes.identity()
    monkeypatch.setattr(processes, "_started", lambda pid: None)
    assert not processes.is_dead(mine)


class Node:
    """A node that answers as it is told to."""

    where = "node pve"

    def __init__(self, *answers: ExecResult | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def run(self, argv: Sequence[str], stdin: bytes, tried: str) -> ExecResult:
        self.asked += 1
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


SHOWN = ExecResult(0, b'{"zentoria-state": 1, "held": null}', b"")
MISSING = MissingProgramError("x", got="zentoria-state: command not found")


def test_without_the_program_on_the_node_it_is_kept_here_and_that_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    node = Node(MISSING)
    state = ProgramState("home", EitherRunner(node, FolderRunner(tmp_path), said.append))
    assert state.where == "node pve"
    assert state.get("applied") is None
    state.put("applied", b"x")
    assert (state.where, node.asked) == ("this machine", 1)
    assert len(said) == 1
    assert "command not found" in said[0]
    assert "zentoria bootstrap" in said[0]


def test_a_node_that_has_the_program_is_never_left_for_this_machine(tmp_path: Path) -> None:
    said: list[str] = []
    node = Node(SHOWN, MISSING, UnreachableError("x"))
    state = ProgramState("home", EitherRunner(node, FolderRunner(tmp_path), said.append))
    assert state.holder() is None
    with pytest.raises(MissingProgramError):
        state.put("applied", b"x")
    with pytest.raises(UnreachableError):
        state.put("applied", b"x")
    assert (said, list(tmp_path.iterdir())) == ([], [])


def test_a_node_that_cannot_be_reached_is_no_node_without_the_program(tmp_path: Path) -> None:
    state = ProgramState("home", EitherRunner(Node(UnreachableError("x")), FolderRunner(tmp_path), lambda text: None))
    with pytest.raises(UnreachableError), held(state, "zentoria up"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ExecResult(0, b"", b""), "exit code 0"),
        (ExecResult(1, b"Traceback", b"boom"), "boom"),
        (ExecResult(0, b'{"zentoria-state": 2}', b""), "protocol 2"),
        (ExecResult(66, b'{"zentoria-state": 1, "error": {"kind": "damaged", "text": "no lock"}}', b""), "--force"),
    ],
)
def test_answers_that_are_none_are_told(result: ExecResult, words: str) -> None:
    with pytest.raises(StateError) as caught:
        ProgramState("home", Node(result)).holder()
    assert words in str(caught.value)


def test_the_record_of_an_end_counts_and_names() -> None:
    create, restart = Create(404, "db", "404:create", (), None), Restart(403, "cache", "403:restart", ())
    inside, new = Converge(402, "queue", "402:converge", ()), Converge(404, "db", "404:converge", ())
    report = GuestReport(vmid=404, mode="apply", resources=(), restarted=("pg.service",), reloaded=("nginx.service",))
    error = ZentoriaError("restart container 403", got="no\n  much output", todo="x")
    result = Result(
        (
            Ended(create, Status.DONE),
            Ended(new, Status.DONE, report=report),
            Ended(inside, Status.DONE, report=report),
            Ended(restart, Status.FAILED, error=error),
        )
    )
    found = history.RunRecord.model_validate(history.ended(result))
    assert found.outcome == "failed"
    assert found.stages == {"done": 3, "failed": 1}
    assert [(one.container, one.error) for one in found.failures] == [("cache", "restart container 403: no")]
    assert (found.made, found.destroyed) == (("db",), ())
    assert (found.restarted, found.reloaded) == (("queue: pg.service",), ("queue: nginx.service",))


def test_records_of_other_versions_are_read_as_far_as_they_go() -> None:
    said = {"who": "ada@desk", "stages": "many", "plan": {"totals": 3}, "outcome": 7, "more": 1}
    run = Run("a" * 12, "2026-11-25T19:13:22Z", "2026-11-25T19:13:23Z", False, said)
    assert history.record_of(run) == history.RunRecord(who="ada@desk")
    assert history.outcome_of(run) == "unknown"


def test_the_revision_of_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def git(*words: str) -> str:
        named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", "-C", str(tmp_path), *named, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert "inventory" not in history.begun(tmp_path)
    git("init", "-q")
    (tmp_path / "zones.yaml").write_text("a: 1\n")
    git("add", ".")
    git("commit", "-qm", "x")
    commit = git("rev-parse", "HEAD")
    assert history.begun(tmp_path, "h")["inventory"] == {"hash": "h", "commit": commit}
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/site.yaml").write_text("b: 2\n")
    assert history.begun(tmp_path)["inventory"] == {"commit": commit, "dirty": True}

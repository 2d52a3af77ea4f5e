"""The program ``zentoria-state``: one lock, whoever asks at once; nothing is lost or misread, whatever lies about."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from zentoria_infra.node import state

PROGRAM = Path(state.__file__)
A, B, C = "a" * 12, "b" * 12, "c" * 12


class SetClock(state.Clock):
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.booted = "first boot"

    def utc(self) -> str:
        return f"2026-11-25T00:{int(self.now) // 60 % 60:02}:{int(self.now) % 60:02}Z"

    def seconds(self) -> float:
        return self.now

    def boot(self) -> str:
        return self.booted


class Node:
    """The program on one data folder, in this process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "home"
        self.clock = SetClock()

    def run(self, *argv: str, feed: bytes = b"{}") -> tuple[int, dict[str, Any]]:
        found = state.answer(["--site", "home", *argv], io.BytesIO(feed).read, str(self.root), self.clock)
        assert found[1]["zentoria-state"] == 1
        return found

    def ok(self, *argv: str, feed: bytes = b"{}") -> dict[str, Any]:
        code, found = self.run(*argv, feed=feed)
        assert code == 0, found
        return found

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ok("history")["runs"]
        return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power, and a busy disk takes its time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "data")


MEASURED = """
import os, resource, sys
code = os.spawnv(os.P_WAIT, sys.executable, sys.argv[1:])
sys.stderr.write(f"\\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
sys.exit(code if code >= 0 else 128 - code)
"""
"""Starts a program from a small one: what counts as its peak is at least what its parent had when it was started."""


def start(root: Path, *argv: str, measured: bool = False) -> subprocess.Popen[bytes]:
    """The program as sshd starts it; ``measured``: its peak of memory in KiB is the last line of standard error."""
    command = [sys.executable, "-I", "-S", str(PROGRAM), "--site", "home", *argv]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", MEASURED, *command] if measured else command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"ZENTORIA_STATE_ROOT": str(root), "SSH_CONNECTION": "192.0.2.7 50022 192.0.2.1 22"},
    )


def test_a_run_from_its_beginning_to_its_end(node: Node) -> None:
    begun = node.ok("begin", A, "--get", "applied", "--get", "other", feed=b'{"who": "ada@desk"}')
    assert begun["after"] is None
    assert begun["documents"] == {"applied": None, "other": None}
    assert node.runs()[0] | {"begun": ""} == {
        "id": A, "begun": "", "ended": None, "running": True, "record": {"who": "ada@desk"},
    }  # fmt: skip
    node.clock.now += 50
    node.ok("renew", A)
    node.clock.now += 50
    node.ok("note", A, feed=b'{"record": {"totals": 3}, "plan": [1, {"x": null}]}')
    wanted = base64.b64encode(bytes(range(256))).decode()
    end = {"record": {"outcome": "ok"}, "documents": {"applied": wanted}}
    node.ok("end", A, feed=json.dumps(end).encode())
    assert node.ok("show")["held"] is None
    assert node.ok("get", "applied", "other")["documents"] == {"applied": wanted, "other": None}
    told = node.ok("history", "--id", "aa")
    assert told["plan"] == [1, {"x": None}]
    assert told["runs"][0]["record"] == {"who": "ada@desk", "totals": 3, "outcome": "ok"}
    assert (told["runs"][0]["ended"], told["runs"][0]["running"]) == ("2026-11-25T00:18:20Z", False)


def test_the_second_is_told_who_holds_it_and_gets_nothing(node: Node) -> None:
    node.ok("begin", A, feed=b'{"who": "ada@desk"}')
    node.ok("put", "applied", feed=b"of before")
    code, found = node.run("begin", B, feed=b'{"who": "bob@lap"}')
    assert code == state.BUSY
    assert (found["held"]["id"], found["held"]["record"], found["held"]["left"]) == (A, {"who": "ada@desk"}, 60.0)
    assert [run["id"] for run in node.runs()] == [A]
    for argv in (("renew", B), ("end", B)):
        documents = {"record": {}, "documents": {"applied": base64.b64encode(b"of the loser").decode()}}
        assert node.run(*argv, feed=json.dumps(documents).encode())[0] == state.BUSY
    assert node.ok("get", "applied")["documents"]["applied"] == base64.b64encode(b"of before").decode()
    node.ok("renew", A)


def test_an_answer_that_was_lost_may_be_asked_for_again(node: Node) -> None:
    first = node.ok("begin", A, feed=b'{"who": "ada"}')
    node.clock.now += 30
    assert node.ok("begin", A, feed=b'{"who": "ada"}') == first
    assert node.ok("show")["held"]["left"] == 60.0
    node.ok("end", A, feed=b'{"record": {"outcome": "ok"}}')
    assert node.run("end", A, feed=b'{"record": {"outcome": "ok"}}') == (
        state.BUSY,
        {"zentoria-state": 1, "held": None},
    )
    assert len(node.runs()) == 1


def test_a_lock_expires_by_the_nodes_clock_and_a_renewal_after_that_counts_if_nobody_came(node: Node) -> None:
    node.ok("begin", A, "--lease", "60")
    node.clock.now += 59.9
    assert node.run("begin", B)[0] == state.BUSY
    node.clock.now += 0.1
    assert node.ok("show")["held"]["left"] == 0
    node.ok("renew", A)
    assert node.run("begin", B)[0] == state.BUSY
    node.clock.now += 60
    assert node.ok("begin", B)["after"]["id"] == A
    assert node.run("renew", A)[0] == state.BUSY
    assert {run["id"]: run["running"] for run in node.runs()} == {A: False, B: True}


def test_after_a_reboot_a_lock_has_its_lease_once_more(node: Node) -> None:
    node.clock.now = 1_000_000.0
    node.ok("begin", A, "--lease", "60")
    node.clock.now, node.clock.booted = 20.0, "second boot"
    assert node.run("begin", B)[1]["held"]["left"] == 40.0
    node.clock.now = 60.0
    node.ok("begin", B)


def test_without_names_for_boots_a_lock_from_before_still_expires(node: Node) -> None:
    node.clock.booted = ""
    node.clock.now = 1_000_000.0
    node.ok("begin", A, "--lease", "60")
    node.clock.now = 20.0
    assert node.run("begin", B)[1]["held"]["left"] <= 60.0


def test_a_dead_holders_lock_is_taken_over_only_from_that_holder(node: Node) -> None:
    node.ok("begin", A)
    assert node.run("begin", C, "--instead", B)[0] == state.BUSY
    assert node.ok("begin", B, "--instead", A)["after"]["id"] == A
    assert node.run("begin", C, "--instead", A)[0] == state.BUSY, "another was quicker"


def test_breaking(node: Node) -> None:
    assert node.ok("break")["held"] is None
    node.ok("begin", A)
    assert node.run("break", B)[0] == state.BUSY
    assert node.ok("break", A)["held"]["id"] == A
    assert node.run("renew", A) == (state.BUSY, {"zentoria-state": 1, "held": None})


def test_eight_real_processes_at_once_and_one_gets_the_lock(tmp_path: Path) -> None:
    ids = [f"{number:012x}" for number in range(8)]
    processes = [start(tmp_path, "begin", one) for one in ids]
    for process in processes:  # they are all up before the first can read its input
        assert process.stdin is not None
    answers = []
    for process in processes:
        out, err = process.communicate(b'{"who": "x"}', timeout=60)
        assert err == b""
        answers.append((process.returncode, json.loads(out)))
    winners = [one for one, (code, _) in zip(ids, answers, strict=True) if code == 0]
    assert len(winners) == 1
    losers = [found for code, found in answers if code == state.BUSY]
    assert {found["held"]["id"] for found in losers} == set(winners)
    assert {found["held"]["address"] for found in losers} == {"192.0.2.7"}
    assert len(losers) == 7


@pytest.mark.parametrize("round_", range(5))
def test_eight_threads_at_once_and_one_gets_the_lock(tmp_path: Path, round_: int) -> None:
    together = threading.Barrier(8)

    def begin(number: int) -> int:
        one = Node(tmp_path)
        together.wait(30)
        return one.run("begin", f"{round_}{number:011x}")[0]

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(begin, range(8)))
    assert sorted(codes) == [0] + [state.BUSY] * 7


def test_lines_of_many_at_once_are_all_in_the_history(tmp_path: Path) -> None:
    def note(number: int) -> None:
        one = Node(tmp_path)
        for turn in range(20):
            one.ok("note", f"{number:012x}", feed=json.dumps({"record": {f"turn-{turn}": "x" * 500}}).encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(8)))
    found = Node(tmp_path).ok("history")
    assert found["damaged"] == 0
    assert {len(run["record"]) for run in found["runs"]} == {20}
    assert len(found["runs"]) == 8


HOLD = """
import sys, time
sys.path.insert(0, {package!r})
from zentoria_infra.node import state
with state.Folder({root!r}, "home").guarded(write=True):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_is_killed_while_it_has_the_guard_stops_nobody(tmp_path: Path) -> None:
    node = Node(tmp_path)
    script = HOLD.format(package=str(PROGRAM.parents[2]), root=str(tmp_path))
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(node.run, "begin", A)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
            process.send_signal(signal.SIGKILL)
            assert waiting.result(30)[0] == 0


@pytest.mark.parametrize("rest", [b"", b"half of a new o"])
def test_a_write_that_was_killed_leaves_the_old_content(node: Node, rest: bytes) -> None:
    node.ok("put", "applied", feed=b"old")
    (node.folder / "documents/.applied.new").write_bytes(rest)
    assert node.ok("get", "applied")["documents"]["applied"] == base64.b64encode(b"old").decode()
    node.ok("put", "applied", feed=b"new")
    assert node.ok("get", "applied")["documents"]["applied"] == base64.b64encode(b"new").decode()
    assert [one.name for one in (node.folder / "documents").iterdir()] == ["applied"]


GARBAGE = (b"", b"\0" * 64, b"{}", b"[]", b"null", b'{"id": 1}', b'{"id": "aaaaaaaaaaaa", "record"', b"[" * 100_000)


@pytest.mark.parametrize("content", GARBAGE)
def test_a_lock_that_is_none_is_told_and_can_be_removed(node: Node, content: bytes) -> None:
    node.ok("begin", A)
    (node.folder / "lock.json").write_bytes(content)
    for argv in (("begin", B), ("renew", A), ("end", A), ("show",)):
        code, found = node.run(*argv)
        assert code == state.DAMAGED, argv
        assert "lock.json is no lock" in found["error"]["text"]
    assert node.runs()[0]["running"] is False
    assert node.ok("break")["held"] is None
    node.ok("begin", B)


@pytest.mark.parametrize("content", [one for one in GARBAGE if one])
def test_lines_of_the_history_that_are_none_are_counted_and_spoil_no_other(node: Node, content: bytes) -> None:
    node.ok("begin", A)
    with (node.folder / "history.jsonl").open("ab") as stream:
        stream.write(content)  # cut off: without an end of line
    node.ok("end", A, feed=b'{"record": {"outcome": "ok"}}')
    found = node.ok("history")
    assert found["damaged"] == 1
    assert [(run["id"], run["record"]) for run in found["runs"]] == [(A, {"outcome": "ok"})]


def test_history_and_plans_stay_bounded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "HISTORY_BYTES", 4000)
    monkeypatch.setattr(state, "PLANS", 3)
    for number in range(100):
        node.ok("begin", f"{number:012x}", feed=json.dumps({"text": "x" * 300}).encode())
        node.ok("note", f"{number:012x}", feed=b'{"record": {}, "plan": {}}')
        node.ok("end", f"{number:012x}")
    kept = sorted(one.name for one in node.folder.glob("history*"))
    assert kept == ["history.1.jsonl", "history.2.jsonl", "history.3.jsonl", "history.4.jsonl", "history.jsonl"]
    assert sum(one.stat().st_size for one in node.folder.glob("history*")) < 5 * 5000
    found = node.ok("history", "--count", "1000")
    assert [run["id"] for run in found["runs"]][:3] == [f"{number:012x}" for number in (99, 98, 97)]
    assert 20 < found["total"] < 60
    assert len(list((node.folder / "plans").iterdir())) == 3
    assert node.ok("history", "--id", f"{99:012x}")["plan"] == {}


def test_limits_are_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("DOCUMENT_BYTES", 10), ("DOCUMENTS", 2), ("RECORD_BYTES", 200), ("INPUT_BYTES", 500)):
        monkeypatch.setattr(state, name, most)
    node.ok("put", "one", feed=b"0123456789")
    node.ok("put", "two")
    node.ok("put", "one", feed=b"again")
    for argv, feed in (
        (("put", "one"), b"01234567890"),
        (("put", "three"), b""),
        (("note", A), json.dumps({"record": {"x": "y" * 200}}).encode()),
        (("put", "one"), b"x" * 501),
    ):
        assert node.run(*argv, feed=feed)[0] == state.DATA, argv
    assert node.ok("get", "one")["documents"]["one"] == base64.b64encode(b"again").decode()


def test_a_document_that_is_not_good_spoils_the_end_before_anything_is_written(node: Node) -> None:
    node.ok("begin", A)
    for name, text in (("ok", "no base64"), ("../up", ""), ("UP", ""), ("x" * 65, ""), ("ok", 3)):
        feed = json.dumps({"record": {}, "documents": {"first": "", name: text}}).encode()
        assert node.run("end", A, feed=feed)[0] == state.DATA, name
    assert node.ok("get", "first")["documents"]["first"] is None
    assert node.ok("show")["held"]["id"] == A


def test_files_are_private_whatever_the_umask(node: Node) -> None:
    before = os.umask(0)
    try:
        node.ok("begin", A)
        node.ok("note", A, feed=b'{"record": {}, "plan": 1}')
        node.ok("end", A, feed=b'{"record": {}, "documents": {"applied": ""}}')
    finally:
        os.umask(before)
    for path in (node.root, *node.root.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_look_writes_nothing(node: Node) -> None:
    for argv in (("show",), ("history",), ("get", "applied")):
        node.ok(*argv)
    assert not node.root.exists()


def test_sites_do_not_see_each_other(node: Node) -> None:
    node.ok("begin", A)
    other = state.answer(["--site", "cabin", "begin", B], io.BytesIO(b"{}").read, str(node.root), node.clock)
    assert other[0] == 0


def test_trouble_of_the_disk_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, found = state.answer(["--site", "home", "begin", A], io.BytesIO(b"{}").read, str(tmp_path / "file"))
    assert code == state.IO
    assert found["error"]["kind"] == "io"


WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "--site", "home", "../..", "/etc", "begin", "renew", "note", "end", "show", "break", "history", "get",
            "put", A, B, "--lease", "60", "0", "-1", "nan", "--instead", "--get", "applied", "--id", "--count", "--",
            "-h", "--help", "--sit", "a/b", ".guard", "lock.json",
        ]
    ),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
INPUT = st.one_of(
    st.binary(max_size=30),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"record": JSON, "documents": JSON, "plan": JSON}).map(
        lambda value: json.dumps(value).encode()
    ),
)


@given(st.lists(WORDS, max_size=7), INPUT, st.booleans())
@example(["begin", A], b'{"x": NaN}', True)
@example(["note", A], b'{"record": {}, "plan": 1e999}', True)
@example(["begin", A], b'{"x":' * 2000, True)
@example(["begin", A], b'{"x": "\\ud800"}', True)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words_and_any_input_get_an_answer_and_touch_only_the_folder(
    tmp_path: Path, words: list[str], feed: bytes, named: bool
) -> None:
    root = tmp_path / "data"
    argv = ["--site", "home", *words] if named else words
    code, found = state.answer(argv, io.BytesIO(feed).read, str(root))
    assert code in (0, state.USAGE, state.DATA, state.BUSY), (argv, feed, found)
    json.dumps(found).encode("ascii")
    assert [one.name for one in tmp_path.iterdir()] in ([], ["data"])
    if root.exists():
        known = {"home", ".guard", "lock.json", "history.jsonl", "plans", "documents"}
        for path in root.rglob("*"):
            assert path.name in known or path.parent.name in ("plans", "documents", "data"), path
        assert state.answer(["--site", "home", "history"], io.BytesIO().read, str(root))[1]["damaged"] == 0


def _peak(process: subprocess.Popen[bytes], feed: bytes) -> tuple[int, bytes, int]:
    """Exit code, answer, and how many KiB of memory the program had at most."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(feed)
    process.stdin.close()
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        out, said = process.stdout.read(), process.stderr.read()
    return process.returncode, out, int(said.splitlines()[-1])


@pytest.mark.parametrize("what", ["an answer", "a document", "JSON that is large in memory"])
def test_the_program_takes_no_more_of_the_nodes_memory_than_its_limit(node: Node, what: str) -> None:
    """Whoever has the key may ask for anything, several times at once; it runs as root of the node."""
    whole = b"x" * state.DOCUMENT_BYTES
    node.ok("begin", A)
    if what == "an answer":
        node.ok("put", "applied", feed=whole)
        code, out, peak = _peak(start(node.root, "get", "applied", *["applied"] * 1000, measured=True), b"")
        assert (code, len(out) > state.DOCUMENT_BYTES) == (0, True)
    elif what == "a document":
        feed = json.dumps({"record": {}, "documents": {"applied": base64.b64encode(whole).decode()}}).encode()
        code, out, peak = _peak(start(node.root, "end", A, measured=True), feed)
        assert code == 0, out
    else:
        bomb = b"[]," * ((state.INPUT_BYTES - 100) // 3)
        code, out, peak = _peak(start(node.root, "note", A, measured=True), b'{"record": {}, "plan": [' + bomb + b"0]}")
        assert (code, json.loads(out)["error"]["kind"]) == (state.DATA, "data")
    assert peak << 10 <= state.MEMORY_BYTES


def test_documents_have_a_limit_together(node: Node) -> None:
    whole = b"x" * state.DOCUMENT_BYTES
    names = [f"doc-{number}" for number in range(state.DOCUMENTS_BYTES // state.DOCUMENT_BYTES)]
    for name in names:
        node.ok("put", name, feed=whole)
    code, found = node.run("put", "more", feed=b"x")
    assert (code, "at most 67108864 are kept" in found["error"]["text"]) == (state.DATA, True)
    node.ok("begin", A)
    documents = {"record": {}, "documents": {"more": base64.b64encode(b"x").decode()}}
    assert node.run("end", A, feed=json.dumps(documents).encode())[0] == state.DATA
    node.ok("put", names[0], feed=whole[:-1])  # in place of itself
    node.ok("put", "more", feed=b"x")
    code, found = node.run("get", *names)
    assert (code, "are given at a time" in found["error"]["text"]) == (state.DATA, True)
    assert node.ok("get", "more", names[1][:-1])["documents"]["more"]
    assert len(node.ok("get", names[1])["documents"][names[1]]) > state.DOCUMENT_BYTES


def test_the_lock_says_no_more_than_the_history_keeps(node: Node) -> None:
    node.ok("begin", A, feed=b'{"who": "ada@desk"}')
    large = json.dumps({"who": "x" * state.RECORD_BYTES}).encode()
    assert node.run("begin", A, feed=large)[0] == state.DATA
    assert node.ok("show")["held"]["record"] == {"who": "ada@desk"}


def test_the_key_may_write_into_any_record_of_its_site_and_push_out_the_history(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of the README's table of what a stolen workstation can do."""
    node.ok("begin", A, feed=b'{"who": "ada@desk"}')
    node.ok("note", A, feed=b'{"record": {"who": "nobody"}}')
    assert node.ok("history")["runs"][0]["record"] == {"who": "nobody"}
    monkeypatch.setattr(state, "HISTORY_BYTES", 100)
    for _ in range(2 * state.HISTORY_FILES):
        node.ok("note", B, feed=json.dumps({"record": {"x": "y" * 200}}).encode())
    assert [one["id"] for one in node.ok("history")["runs"]] == [B]


def test_a_site_fills_at_most_150_mib() -> None:
    """What each of its files may have, and one of each that is being written."""
    history = (1 + state.HISTORY_FILES) * (state.HISTORY_BYTES + state.RECORD_BYTES)
    plans = state.PLANS_BYTES + state.PLAN_BYTES
    lock = 2 * (state.RECORD_BYTES + 1024)
    assert state.DOCUMENTS_BYTES + history + plans + lock <= 150 << 20
    assert state.DOCUMENT_BYTES <= state.DOCUMENTS_BYTES


def test_when_the_node_is_short_of_memory_the_program_ends_before_any_guest(tmp_path: Path) -> None:
    argv = [sys.executable, "-IS", state.__file__, "--site", "home", "put", "x"]
    environment = {state.ROOT_VARIABLE: str(tmp_path)}
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, env=environment, **streams) as process:
        assert process.stdin is not None
        score = Path(f"/proc/{process.pid}/oom_score_adj")
        until = time.monotonic() + 20
        while score.read_text() != "1000\n":
            assert time.monotonic() < until
            time.sleep(0.01)
        process.stdin.close()
        assert process.wait(20) == 0

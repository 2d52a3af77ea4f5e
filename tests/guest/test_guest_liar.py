"""Whoever is root in a guest may say anything in the agent's place: it is an error of that guest, and nothing more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from zentoria_infra.errors import GuestError
from zentoria_infra.guest import protocol, words
from zentoria_infra.guest.state import Directory, GuestState, Packages

STATE = GuestState(
    vmid=404,
    hostname="zentoria-db",
    resources=(Packages(id="package:a", names=("a",)), Directory(id="directory:/srv/a", path="/srv/a")),
)
FINE = {
    "vmid": 404,
    "mode": "check",
    "resources": [
        {"id": "package:a", "outcome": "unchanged"},
        {"id": "directory:/srv/a", "outcome": "would-change", "diff": "-a\n+b\n"},
    ],
}


class Said:
    """A channel on which these lines come."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.sent = bytearray()
        self.stderr = b""

    def write(self, data: bytes, /) -> None:
        self.sent += data

    def read_line(self, timeout: float | None = None) -> bytes:
        return next(self._lines, b"")

    def close(self) -> int:
        return 0


class NoBlobs:
    def path(self, sha256: str) -> Path:
        raise AssertionError(f"{sha256} is sent, and nobody asked for it")


def hear(*said: object, mode: protocol.Mode = "check") -> tuple[Said, object, list[object]]:
    lines = (one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in said)
    channel, heard = Said(iter(lines)), []
    report = protocol.converge(channel, STATE, NoBlobs(), mode, heard.append, b"k" * 32)
    return channel, report, heard


def test_an_honest_report_is_taken() -> None:
    _, report, heard = hear({"need": []}, {"event": "start", "id": "package:a"}, {"report": FINE})
    assert [one.outcome for one in report.resources] == ["unchanged", "would-change"]
    assert report.resources[1].diff == "-a\n+b\n"
    assert heard == [{"event": "start", "id": "package:a"}]


def changed(**values: object) -> dict[str, object]:
    return {"report": {**FINE, **values}}


def one(**values: object) -> dict[str, object]:
    return changed(resources=[{**FINE["resources"][0], **values}, FINE["resources"][1]])


LIES = {
    "need is a number": {"need": 7},
    "need is no hash": {"need": ["../../etc/shadow"]},
    "need of what is not in the state": {"need": [hashlib.sha256(b"x").hexdigest()]},
    "need of very much": {"need": ["0" * 64] * 20_000},
    "an event of another kind": {"event": "done", "id": "x"},
    "an event with more": {"event": "start", "id": "x", "then": "y"},
    "an event that is a list": {"event": []},
    "no message": {"hello": "world"},
    "a list": [1, 2, 3],
    "a number": 7,
    "nothing": None,
    "not JSON": b"Welcome to Debian\n",
    "not UTF-8": b'{"event": "\xff\xfe"}\n',
    "deep": b"[" * 200_000 + b"\n",
    "deep report": b'{"report": ' + b"[" * 200_000 + b"\n",
    "a huge number": b'{"report": ' + b"9" * 10_000 + b"}\n",
    "a long line": b'{"error": "' + b"x" * (17 << 20) + b'"}\n',
    "a report that is text": {"report": "fine"},
    "another container's": changed(vmid=999),
    "another mode": changed(mode="apply"),
    "an unknown thing": one(id="package:b"),
    "a thing twice": one(id="directory:/srv/a"),
    "a thing that is missing": changed(resources=FINE["resources"][:1]),
    "a failure of nothing": changed(failed="package:z"),
    "an outcome that is none": one(outcome="excellent"),
    "negative bytes": one(beneath=-1),
    "a detail that is a list": one(detail=["x"]),
    "an error that is a list": {"error": ["x"]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_is_an_error_of_that_guest(lie: object) -> None:
    with pytest.raises(GuestError) as caught:
        hear(lie, {"report": FINE})
    assert "container 404" in str(caught.value) and caught.value.todo
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("text", ["\x1b[2J\x1b[1;1H", "\x9b31m", "a\rb", "\x1b]0;x\x07", "\u202e", "\u2028"])
def test_nothing_that_a_terminal_acts_on_comes_through(text: str) -> None:
    lie = changed(resources=[
        {"id": "package:a", "outcome": "changed", "detail": text, "before": f"x{text}\nNo changes."},
        {"id": "directory:/srv/a", "outcome": "changed", "diff": f"-{text}\n+b", "command": text, "output": text},
    ], reloaded=[text])  # fmt: skip
    _, report, heard = hear({"event": "progress", "id": text, "text": f"{text}\n+ 404: all is well"}, lie)
    shown = report.model_dump_json() + str(heard)
    assert text not in shown and "No changes" in report.resources[0].before
    assert report.resources[0].before.isprintable()
    assert report.resources[1].diff.count("\n") == 1
    with pytest.raises(GuestError) as caught:
        hear({"error": text, "output": text})
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


def test_blobs_are_sent_once() -> None:
    with pytest.raises(GuestError, match="twice"):
        hear({"need": []}, {"need": []}, {"report": FINE})


def test_who_talks_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(protocol.time, "monotonic", clock)
    forever = iter(lambda: b'{"event": "progress", "id": "x", "text": "still at it"}\n', None)
    heard: list[object] = []
    with pytest.raises(GuestError, match="no report after 900 s, though it talks"):
        protocol.converge(Said(forever), STATE, NoBlobs(), "check", heard.append)
    assert 800 < len(heard) < 1000


def test_each_guest_has_a_key_of_its_own() -> None:
    channel, *_ = hear({"report": FINE})
    request = json.loads(bytes(channel.sent).split(b"\n")[-1])
    assert request["key"] == protocol.key_of(b"k" * 32, 404) != protocol.key_of(b"k" * 32, 405)
    assert (b"k" * 32).hex() not in channel.sent.decode(errors="replace")
    assert protocol.key_of(b"", 404) == ""


def test_long_texts_are_cut() -> None:
    _, report, _ = hear(changed(resources=[{**FINE["resources"][0], "diff": "x" * (9 << 20)}, FINE["resources"][1]]))
    assert len(report.resources[0].diff) <= 256 << 10
    assert words.LINE_BYTES > 9 << 20

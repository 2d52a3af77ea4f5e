"""Plays a recording of the real server against ours and tells the differences."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer, Client, Lab

SHARED = Path(__file__).resolve().parents[3] / "shared" / "proxmox"
_UPID = re.compile(r"UPID:[^/]+:")


def load(name: str) -> list[dict[str, Any]]:
    """A recording; skips the test when the reference data is not beside the checkout."""
    path = SHARED / "recorded" / name
    if not path.exists():
        pytest.skip(f"no reference data: {path} is not there")
    return json.loads(path.read_text())


def message(body: Any) -> str:
    return body.get("message", "") if isinstance(body, dict) else ""


@dataclasses.dataclass
class Outcome:
    """``compared`` counts the exchanges that were sent and compared; ``differences`` is index -> what differs."""

    compared: int = 0
    skipped: int = 0
    differences: dict[int, str] = dataclasses.field(default_factory=dict)
    answers: dict[int, Answer] = dataclasses.field(default_factory=dict)


class Replay:
    """Sends the requests of a recording; knows which of our UPIDs, digests and secrets stand for theirs."""

    def __init__(self, lab: Lab, clients: dict[str, Client]) -> None:
        self.lab = lab
        self.clients = clients
        self.upids: dict[str, str] = {}
        self.digests: dict[str, str] = {}

    def translate(self, value: Any) -> Any:
        return self.digests.get(value, value) if isinstance(value, str) else value

    def path(self, path: str) -> str | None:
        """Our path for theirs; None when it names a task of theirs that we did not start."""
        found = _UPID.search(path)
        if not found:
            return path
        ours = self.upids.get(found[0])
        return path.replace(found[0], ours) if ours else None

    def send(self, entry: dict[str, Any], identity: str) -> Answer | None:
        path = self.path(entry["path"])
        if path is None:
            return None
        data = {name: self.translate(value) for name, value in (entry["data"] or {}).items()}
        return self.clients[identity].call(entry["method"], path, data)

    def learn(self, entry: dict[str, Any], answer: Answer) -> None:
        theirs, ours = entry["body"], answer.body
        if not isinstance(theirs, dict) or not isinstance(ours, dict):
            return
        a, b = theirs.get("data"), ours.get("data")
        if isinstance(a, str) and a.startswith("UPID:") and isinstance(b, str) and b.startswith("UPID:"):
            self.upids[a] = b
            self.lab.root.task(answer)
        for one, other in [(a, b)] if isinstance(a, dict) else zip(a, b, strict=False) if isinstance(a, list) else []:
            if isinstance(one, dict) and isinstance(other, dict) and "digest" in one and "digest" in other:
                self.digests[one["digest"]] = other["digest"]

    def run(
        self,
        entries: list[dict[str, Any]],
        identities: Mapping[int, str] | None = None,
        skip: Mapping[int, str] | None = None,
    ) -> Outcome:
        """Send everything that ``skip`` does not name. Polls that saw a task running are left out."""
        outcome = Outcome()
        for index, entry in enumerate(entries):
            if (skip and index in skip) or _still_running(entry):
                outcome.skipped += 1
                continue
            identity = entry.get("identity") or (identities or {}).get(index, "root token")
            answer = self.send(entry, identity)
            if answer is None:
                outcome.differences[index] = "a task that we do not have"
                continue
            outcome.compared += 1
            outcome.answers[index] = answer
            self.learn(entry, answer)
            if difference := compare(entry, answer):
                outcome.differences[index] = difference
            if task := entry.get("task"):
                ours = self.lab.root.task(answer)
                if ours != task["status"]["exitstatus"]:
                    outcome.differences[index] = f"task: {task['status']['exitstatus']!r}, ours {ours!r}"
        return outcome


def _still_running(entry: dict[str, Any]) -> bool:
    data = entry["body"].get("data") if isinstance(entry["body"], dict) else None
    return "/tasks/" in entry["path"] and isinstance(data, dict) and data.get("status") == "running"


def compare(entry: dict[str, Any], answer: Answer) -> str:
    """What differs in status, reason, error keys and texts, message, and the end of a task."""
    theirs = entry["body"]
    if answer.status != entry["status"]:
        return f"status {entry['status']} {entry['reason']!r}, ours {answer.status} {answer.reason!r} {answer.errors}"
    if entry["status"] != 200 and answer.reason != entry["reason"].strip():
        return f"reason {entry['reason']!r}, ours {answer.reason!r}"
    if message(theirs) != message(answer.body):
        return f"message {message(theirs)!r}, ours {message(answer.body)!r}"
    their_errors = theirs.get("errors") if isinstance(theirs, dict) else None
    if their_errors != answer.errors:
        return f"errors {their_errors}, ours {answer.errors}"
    their_data = theirs.get("data") if isinstance(theirs, dict) else None
    if isinstance(their_data, dict) and "exitstatus" in their_data and their_data["exitstatus"] != answer.data.get(
        "exitstatus"
    ):
        return f"exitstatus {their_data['exitstatus']!r}, ours {answer.data.get('exitstatus')!r}"
    return ""

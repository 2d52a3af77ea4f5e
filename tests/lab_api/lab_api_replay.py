"""Plays a recording of the real server against ours and tells the differences."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.lab_api.lab_api_harness import TEMPLATES, Answer, Client, Lab
from tests.support.needs import need_shared
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.null_runtime import NullRuntime
from zentoria_infra.lab.runtime import Log

_UPID = re.compile(r"UPID:[^/]+:")


def load(name: str) -> list[dict[str, Any]]:
    """A recording; skips the test when the reference data is not beside the checkout."""
    return json.loads(need_shared("proxmox", "recorded", name).read_text())


def message(body: Any) -> str:
    return body.get("message", "") if isinstance(body, dict) else ""


class GatedRuntime(NullRuntime):
    """Allocating and stopping wait while the gate is shut, so that a task runs for as long as a test wants."""

    def __init__(self, layout: LabLayout) -> None:
        super().__init__(layout, templates=TEMPLATES)
        self.gate = threading.Event()
        self.gate.set()

    def allocate(self, volume: str, size: int) -> None:
        assert self.gate.wait(30)
        super().allocate(volume, size)

    def stop(self, vmid: int, log: Log) -> None:
        assert self.gate.wait(30)
        super().stop(vmid, log)


@dataclasses.dataclass
class Outcome:
    """``compared`` counts the exchanges that were sent and compared; ``differences`` is index -> what differs.

    ``polls`` saw a task of theirs running and are left out; ``unserved`` asked for an endpoint that we do not have.
    """

    compared: int = 0
    polls: int = 0
    unserved: list[int] = dataclasses.field(default_factory=list)
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
        for one, other in [(a, b)] if isinstance(a, dict) else zip(a, b, strict=False) if isinstance(a, list) else []:
            if isinstance(one, dict) and isinstance(other, dict) and "digest" in one and "digest" in other:
                self.digests[one["digest"]] = other["digest"]

    def served(self, entry: dict[str, Any]) -> bool:
        return self.lab.server.router.find(entry["method"], entry["path"].strip("/").split("/")) is not None

    def run(
        self,
        entries: list[dict[str, Any]],
        identities: Mapping[int, str] | None = None,
        held: Mapping[int, int] | None = None,
        before: Mapping[int, Callable[[], None]] | None = None,
    ) -> Outcome:
        """Send everything. The task that ``held``'s key starts goes on until the exchange that is its value."""
        outcome = Outcome()
        pending: Answer | None = None
        for index, entry in enumerate(entries):
            if before and index in before:
                before[index]()
            if _still_running(entry):
                outcome.polls += 1
                continue
            if entry["status"] != 501 and not self.served(entry):
                outcome.unserved.append(index)
                continue
            if pending is not None and held and index in held.values():
                self.lab.runtime.gate.set()
                self.lab.root.task(pending)
            if holds := held is not None and index in held:
                self.lab.runtime.gate.clear()
            identity = entry.get("identity") or (identities or {}).get(index, "root token")
            answer = self.send(entry, identity)
            if answer is None:
                outcome.unserved.append(index)
                continue
            outcome.compared += 1
            outcome.answers[index] = answer
            self.learn(entry, answer)
            started = isinstance(answer.data, str) and answer.data.startswith("UPID:")
            if holds:
                pending = answer
            elif started:
                self.lab.root.task(answer)
            if difference := compare(entry, answer):
                outcome.differences[index] = difference
            if (task := entry.get("task")) and started:
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
    if (
        isinstance(their_data, dict)
        and "exitstatus" in their_data
        and their_data["exitstatus"] != answer.data.get("exitstatus")
    ):
        return f"exitstatus {their_data['exitstatus']!r}, ours {answer.data.get('exitstatus')!r}"
    return ""

"""Tasks: waited for, judged by their exit status, quoted when they fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from zentoria_infra.errors import TaskError
from zentoria_infra.proxmox import tasks

UPID = "UPID:pve1:00000106:00082FFA:6B034859:vzcreate:404:zentoria@pve!up:"


class Node:
    """A node with one task that ends after some looks."""

    def __init__(self, looks: int, exit_status: str | None, log: list[str]) -> None:
        self.looks = looks
        self.exit_status = exit_status
        self.log = log
        self.now = 0.0
        self.waits: list[float] = []

    def read(self, template: str, params: Mapping[str, Any] | None = None, /, **path: object) -> Any:
        assert path == {"node": "pve1", "upid": UPID}
        if template.endswith("/log"):
            return [{"n": number, "t": line} for number, line in enumerate(self.log, 1)]
        self.looks -= 1
        if self.looks > 0:
            return {"status": "running"}
        return {"status": "stopped"} | ({"exitstatus": self.exit_status} if self.exit_status is not None else {})

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def wait(self, **options: Any) -> tuple[str, ...]:
        return tasks.await_task(
            self.read,
            UPID,
            tried="create container 404",
            on="node pve1",
            sleep=self.sleep,
            clock=lambda: self.now,
            **options,
        )


LOG = ["extracting", "WARN: Systemd 257 detected.", "WARN: old", "a WARN: no", "TASK WARNINGS: 2"]


@pytest.mark.parametrize(
    ("exit_status", "log", "warnings"),
    [
        ("OK", LOG, ()),
        ("WARNINGS: 2", LOG, ("Systemd 257 detected.", "old")),
        ("WARNINGS: 3", ["TASK WARNINGS: 3"], ("WARNINGS: 3",)),
    ],
)
def test_ends_well(exit_status: str, log: list[str], warnings: tuple[str, ...]) -> None:
    node = Node(12, exit_status, log)
    news: list[tasks.TaskNews] = []
    assert node.wait(progress=news.append) == warnings
    assert node.waits[0] <= 0.1
    assert node.waits == sorted(node.waits)
    assert max(node.waits) <= tasks.Pace().longest
    assert [one.running for one in news] == [True] * 11 + [False]


@pytest.mark.parametrize("exit_status", ["unexpected status", "WARNINGS: many", "ok", "", None])
def test_anything_else_is_a_failure(exit_status: str | None) -> None:
    with pytest.raises(TaskError):
        Node(1, exit_status, []).wait()


def test_failure_quotes_exit_status_and_the_end_of_the_log() -> None:
    log = [f"line {number}" for number in range(300)] + ["TASK ERROR: no space left on device"]
    with pytest.raises(TaskError) as caught:
        Node(3, "no space left on device", log).wait()
    text = str(caught.value)
    assert text.startswith("create container 404 on node pve1: no space left on device")
    assert "line 299" in text
    assert "line 284" not in text
    assert text.count("no space left") == 1
    assert "storage is full" in caught.value.todo


@pytest.mark.parametrize(
    ("exit_status", "kind"),
    [
        ("can't lock file '/run/lock/lxc/pve-config-404.lock' - got timeout", tasks.TaskLockBusyError),
        ("CT is locked (backup)", TaskError),
    ],
)
def test_busy_lock_is_told_from_a_held_one(exit_status: str, kind: type[TaskError]) -> None:
    with pytest.raises(TaskError) as caught:
        Node(1, exit_status, []).wait()
    assert type(caught.value) is kind


def test_deadline() -> None:
    node = Node(10_000, "OK", [])
    with pytest.raises(tasks.TaskTimeoutError, match=UPID.replace("!", ".")):
        node.wait(pace=tasks.Pace(deadline=30))
    assert 30 <= node.now < 33


@pytest.mark.parametrize("answer", [None, "", "UPID", UPID + "x", 5])
def test_what_is_no_task(answer: object) -> None:
    assert not tasks.is_upid(answer)
    if isinstance(answer, str):
        with pytest.raises(TaskError, match="not a task id"):
            tasks.node_of(answer)


def test_upids_of_users_and_tokens() -> None:
    assert tasks.is_upid(UPID)
    assert tasks.is_upid("UPID:pve-2.x:000000F1:00082F74:6B034858:srvreload:networking:root@pam:")
    assert tasks.node_of("UPID:pve-2.x:000000F1:00082F74:6B034858:aptupdate::root@pam:") == "pve-2.x"

"""Accounts from the workstation: which program runs, as whom, and what is told; the link at the end of `up`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.roles.roles_support import inventory
from zentoria_infra.cli import first_run
from zentoria_infra.cli.commands import users
from zentoria_infra.errors import GuestError
from zentoria_infra.execute.service_program import program_of

LINK = "https://localhost:8443/auth/setup?token=abc"


class FakeProxmox:
    """Answers every command the same, and remembers what was asked."""

    def __init__(self, stdout: bytes = b"", code: int = 0, stderr: bytes = b"") -> None:
        self.asked: list[tuple[list[str], bytes | None]] = []
        self._result = SimpleNamespace(stdout=stdout, stderr=stderr, exit=code)
        self.pct = self

    def exec(self, vmid: int, argv: Sequence[str], stdin: bytes | None = None, timeout: float | None = None) -> Any:
        self.asked.append(([str(vmid), *argv], stdin))
        return self._result


def program(proxmox: FakeProxmox) -> Any:
    return program_of(inventory(), proxmox, "auth", tried="try")  # type: ignore[arg-type] # a fake


def test_the_program_runs_as_the_service_with_its_settings() -> None:
    proxmox = FakeProxmox(b'{"items": []}')
    assert program(proxmox).json("users", "list", tried="try") == {"items": []}
    ((argv, stdin),) = proxmox.asked
    assert (argv[0], argv[1], stdin) == ("409", "systemd-run", None)
    assert "--uid=zentoria" in argv
    assert "--property=EnvironmentFile=/etc/zentoria/auth/environment" in argv
    assert argv[-4:] == ["/opt/zentoria/auth/current/bin/zentoria-auth", "users", "list", "--json"]


@pytest.mark.parametrize(
    ("proxmox", "said"),
    [
        (FakeProxmox(code=1, stderr=b"zentoria-auth: there is no account x@example.com\n"), "there is no account"),
        (FakeProxmox(code=78), "it ended with 78"),
        (FakeProxmox(b"Segmentation fault"), "gave no JSON"),
        (FakeProxmox(b"[]"), "gave no JSON"),
    ],
)
def test_what_went_wrong_is_told(proxmox: FakeProxmox, said: str) -> None:
    with pytest.raises(GuestError, match=said):
        program(proxmox).json("users", "list", tried="list the accounts")


def test_what_the_program_refuses_is_told_without_advice_for_one_that_is_ill() -> None:
    said = b"zentoria-auth: users create: there is an account with that address already\n"
    with pytest.raises(GuestError) as refused:
        program(FakeProxmox(code=1, stderr=said)).json("users", "create", "x@example.com", tried="make an account")
    assert str(refused.value) == "make an account: there is an account with that address already"
    with pytest.raises(GuestError, match="zentoria status"):
        program(FakeProxmox(code=1, stderr=b"zentoria-auth: no database\n")).json("users", "list", tried="try")


@pytest.mark.parametrize(("items", "out", "err"), [
    ('{"id": 12, "email": "ada@example.org", "role": "owner", "name": "Ada"}',
     "  12  ada@example.org  owner   enabled   Ada\n", ""),
    ("", "", "There are none yet: `zentoria users setup-link`"),
])  # fmt: skip
def test_accounts_are_listed_with_the_number_that_the_trail_has_for_them(
    items: str, out: str, err: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    auth = program(FakeProxmox(f'{{"items": [{items}]}}'.encode()))
    monkeypatch.setattr(users, "_auth", lambda *_: contextlib.nullcontext(auth))
    users.list_(context=None)  # type: ignore[arg-type] # what it is for is replaced
    told = capsys.readouterr()
    assert told.out == out
    assert told.err.startswith(err)


@dataclasses.dataclass
class FakeLock:
    """A site's memory."""

    document: bytes | None = None

    def get(self, name: str) -> bytes | None:
        return self.document

    def put(self, name: str, content: bytes) -> None:
        self.document = content


def run_end(
    answer: FakeProxmox, document: bytes | None = None, changed: Sequence[int] = (), only: Sequence[int] | None = None
) -> FakeLock:
    lock = FakeLock(document)
    at_work: Any = SimpleNamespace(lock=lock, proxmox=answer)
    result: Any = SimpleNamespace(ended=[SimpleNamespace(stage=SimpleNamespace(vmid=vmid)) for vmid in changed])
    first_run.tell(inventory(), at_work, result, only)
    return lock


def test_the_link_is_printed_until_there_is_an_owner(capsys: pytest.CaptureFixture[str]) -> None:
    without = FakeProxmox(f'{{"url": "{LINK}", "expires_at": "2026-11-29T21:00:00Z"}}'.encode())
    lock = run_end(without, changed=[409])
    assert f"\n  {LINK}\n" in capsys.readouterr().out
    run_end(without, lock.document)  # nothing was done, and there was none the last time
    assert LINK in capsys.readouterr().out
    owned = FakeProxmox(code=3, stderr=b"there is an owner\n")
    lock = run_end(owned, lock.document)
    assert capsys.readouterr().out == ""
    asked = len(owned.asked)
    run_end(owned, lock.document)
    run_end(owned, lock.document, changed=[401, 408])
    assert len(owned.asked) == asked  # nobody is asked again
    run_end(owned, lock.document, changed=[404])  # until the data may be other ones
    assert len(owned.asked) == asked + 1


def test_a_run_for_other_containers_asks_nobody() -> None:
    proxmox = FakeProxmox()
    run_end(proxmox, changed=[404], only=[404, 410])
    assert proxmox.asked == []


def test_a_service_that_cannot_say_is_no_failure_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    lock = run_end(FakeProxmox(code=1, stderr=b"no database\n"), changed=[409])
    told = capsys.readouterr()
    assert told.out == ""
    assert "The link for the first account is not known: no database; `zentoria users setup-link`." in told.err
    assert lock.document is None

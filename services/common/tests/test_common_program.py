"""The console script: commands of a service's own, and what it refuses to begin with."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses

import pytest
from fastapi import FastAPI
from zentoria_common.health.probe import ProbeError
from zentoria_common.program import Command, Program
from zentoria_common.settings import CommonSettings


@dataclasses.dataclass(frozen=True)
class Secrets:
    """None."""


class Told:
    """A probe that answers as told."""

    name = "told"

    def __init__(self, error: ProbeError | None, hang: bool = False) -> None:
        self.error, self.hang, self.closed = error, hang, False

    async def ask(self) -> dict[str, str]:
        if self.hang:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return {}

    async def close(self) -> None:
        self.closed = True


class Served(Exception):
    """The program came as far as its application."""


def app(settings: CommonSettings, secrets: Secrets) -> FastAPI:
    raise Served


def program(*probes: Told) -> Program[CommonSettings, Secrets]:
    async def say(settings: CommonSettings, secrets: Secrets, options: argparse.Namespace) -> int:
        print(options.word * settings.max_json_bytes)
        return 3

    return Program(
        "zentoria-x", "x", "1", CommonSettings, Secrets, lambda *_: (), app, lambda _: {},
        commands=(Command("say", "says it", lambda parser: parser.add_argument("word") and None, say),),
        required=lambda *_: probes,
    )  # fmt: skip


def test_a_command_has_the_settings_and_gives_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZENTORIA_MAX_JSON_BYTES", "2")
    with pytest.raises(SystemExit) as ended:
        program().run(["say", "ha"])
    assert ended.value.code == 3
    assert capsys.readouterr().out == "haha\n"


def test_what_waiting_does_not_mend_ends_it_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = Told(ProbeError("schema", "zentoria_core is at 0001, this release needs 0002", fatal=True))
    other = Told(None)
    with pytest.raises(SystemExit) as ended:
        program(wrong, other).run([])
    assert ended.value.code == 1
    line = "zentoria-x: refuses to serve: zentoria_core is at 0001, this release needs 0002\n"
    assert capsys.readouterr().err == line
    assert wrong.closed
    assert other.closed


@pytest.mark.parametrize("probe", [Told(ProbeError("connection refused")), Told(None), Told(None, hang=True)])
def test_what_does_not_answer_is_no_reason_to_refuse(probe: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENTORIA_DEPENDENCY_TIMEOUT", "0.05")
    with pytest.raises(Served):
        program(probe).run([])

"""``zentoria-backend audit``, as the workstation runs it in the guest."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from typing import Any

import pytest
from gateway_kit import World
from zentoria_backend.audit import command
from zentoria_backend.main import PROGRAM
from zentoria_schema.audit_chain import verify

ROWS = 37


@pytest.fixture(scope="module")
def trail(world: World) -> None:
    for number in range(ROWS):
        world.admin.execute(
            "select append_audit(%s, %s, 'thing', %s, null, null, '{\"n\": \"Zürich\"}', %s, 'service:test', null)",
            [
                number % 3 + 1,
                f"test.{'odd' if number % 2 else 'even'}",
                str(number),
                "notice" if number % 5 else "warning",
            ],
        )


async def run(world: World, *arguments: str, **changes: Any) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return await command.run(world.settings(**changes), world.secrets, parser.parse_args(arguments))


async def lines(world: World, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert await run(world, *arguments) == 0
    written = capsys.readouterr()
    assert written.err == ""
    return written.out.splitlines()


@pytest.mark.asyncio
@pytest.mark.usefixtures("trail")
async def test_an_export_verifies(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    exported = await lines(world, capsys, "export")
    verdict = verify(exported)
    assert (verdict.rows, verdict.broken) == (ROWS, None)
    exported[3] = exported[3].replace("Zürich", "Zurich").replace("Z\\u00fcrich", "Zurich")
    assert verify(exported).broken is not None


@pytest.mark.asyncio
@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (("tail",), range(ROWS - 19, ROWS + 1)),
        (("tail", "--limit", "3"), range(ROWS - 2, ROWS + 1)),
        (("search", "--limit", "5", "--after", "10"), range(11, 16)),
        (("search", "--limit", "5", "--before", "10"), range(5, 10)),
        (("search", "--limit", "4", "--action", "test.odd"), range(ROWS - 7, ROWS, 2)),
        (("search", "--user", "2", "--limit", "2"), (32, 35)),
        (("search", "--severity", "warning", "--after", "0"), range(1, ROWS + 1, 5)),
        (("export", "--after", "30", "--before", "33"), (31, 32)),
        (("search", "--since", "2999-01-01T00:00:00Z"), ()),
        (("export", "--until", "2000-01-01"), ()),
    ],
)
async def test_rows_that_fit(
    world: World, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], ids: Any
) -> None:
    assert [int(json.loads(line)["id"]) for line in await lines(world, capsys, *arguments)] == list(ids)


@pytest.mark.parametrize(
    "arguments", [(), ("search", "--user", "x"), ("search", "--since", "noon"), ("export", "--after", "-1")]
)
def test_bad_arguments_are_a_usage_error(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.asyncio
async def test_a_database_that_is_away_is_one_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(world, "tail", database_port=1) == 1
    written = capsys.readouterr()
    assert "{" not in written.out  # the log is not told to go elsewhere here
    assert written.err.splitlines()[-1] == "audit: the database at 127.0.0.1 port 1 does not answer"


@pytest.mark.asyncio
@pytest.mark.usefixtures("trail")
async def test_tail_follows(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    task = asyncio.create_task(run(world, "tail", "--limit", "1", "--follow"))
    text = ""
    while "test.late" not in text:
        await asyncio.sleep(0.05)
        text += capsys.readouterr().out
        if text and "test.late" not in text and world.last_audit() == ROWS:
            world.admin.execute(
                "select append_audit(1, 'test.late', null, null, null, null, '{}', 'info', 'service:test', null)"
            )
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert [json.loads(line)["action"] for line in text.splitlines()] == ["test.even", "test.late"]


def test_the_program_has_it() -> None:
    assert [each.name for each in PROGRAM.commands] == ["audit"]

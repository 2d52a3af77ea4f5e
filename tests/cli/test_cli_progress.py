"""What a run looks like: the live table's lines, and how it asks before it begins."""

import io
import json
import types

import pytest
import rich.console
import typer

from zentoria_infra.cli import applying, output, progress
from zentoria_infra.errors import RefusedError, ZentoriaError
from zentoria_infra.execute.run import engine
from zentoria_infra.execute.run.events import Ended, Progress, Started, Status
from zentoria_infra.plan.stages.types import CloseSources, Converge


def table_of(width: int, says: str) -> list[str]:
    stage = Converge(419, "embeddings", "419:converge", ())
    table = progress.LiveTable([stage])
    table(Started(stage))
    table(Progress(stage, says))
    console = rich.console.Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_stage_with_many_words_leaves_room_for_name_and_time(width: int) -> None:
    head, line = table_of(width, "apt-get install " + "a-package-with-a-long-name " * 9)
    assert head.split() == ["container", "stage", "elapsed"]
    assert line.startswith("419 embeddings  converge: apt-get install")
    assert line.endswith(" s")
    assert len(line) <= width


def test_a_few_words_are_shown_whole() -> None:
    assert "converge: apt-get update  " in table_of(80, "apt-get update")[1]


def test_what_puts_away_after_a_failure_does_not_hide_it() -> None:
    bad = Converge(419, "embeddings", "419:converge", ())
    after = CloseSources(419, "embeddings", "419:close-sources", (bad.id,), (), (), (bad.id,))
    table = progress.LiveTable([bad, after])
    for event in (Started(bad), Ended(bad, Status.FAILED, 1.0, ZentoriaError("converge", got="no"))):
        table(event)
    for event in (Started(after), Progress(after, "prove it"), Ended(after, Status.DONE, 1.0)):
        table(event)
    console = rich.console.Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(table)
    assert "converge FAILED" in captured.get()


def test_nothing_to_do_is_an_empty_table() -> None:
    console = rich.console.Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(progress.LiveTable([]))
    assert captured.get().split() == ["container", "stage", "elapsed"]


class Terminal:
    """Standard input of somebody who is there."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", [False, typer.Abort], ids=["no", "ctrl-c or end of input"])
def test_what_is_not_confirmed_is_not_begun(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    def asked(*_: object, **__: object) -> bool:
        if isinstance(answer, type):
            raise typer.Abort
        return bool(answer)

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(typer, "confirm", asked)
    with pytest.raises(RefusedError, match="nothing was changed") as caught:
        output.confirm("Go on?", yes=False)
    assert caught.value.exit_code == 5
    output.confirm("Go on?", yes=True)


@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_what_proxmox_warned_of_is_shown_though_it_went_well(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    warned = "create container 404: Systemd 257 detected. You may need to enable nesting."
    proxmox = types.SimpleNamespace(warnings=(warned,), api_calls=types.SimpleNamespace(total=3), ssh_round_trips=0)
    applying.finish(engine.Result((), interrupted=False), proxmox, as_json=as_json)
    out, err = capsys.readouterr()
    if as_json:
        assert json.loads(out)["warnings"] == [warned]
    else:
        assert f"Proxmox warned: {warned}\n" in err

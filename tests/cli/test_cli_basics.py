"""The command line without a node: help, completion, usage, and errors that are words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.testing

from zentoria_infra.cli import context, main
from zentoria_infra.cli.commands import inventory

ROOT = Path(__file__).resolve().parents[2]
ZENTORIA = Path(sys.executable).with_name("zentoria")


def zentoria(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ZENTORIA_")}
    return subprocess.run(
        [str(ZENTORIA), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**kept, "HOME": "/nonexistent", **environment},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_every_command_explains_itself() -> None:
    shell = typer.testing.CliRunner()
    commands = [str(one) for one in typer.main.get_command(main.app).commands]
    assert {"plan", "up", "down", "bootstrap", "rollback", "history", "ci"} <= set(commands)
    for command in commands:
        run = shell.invoke(main.app, [command, "--help"])
        assert run.exit_code == 0, run.output
        assert len(run.output) > 200
    assert zentoria("plan", "--help").returncode == 0


def test_names_are_completed_from_the_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "inventory" / "containers")
    assert context.complete_container("b") == ["backend", "backup"]
    assert "lab" in context.complete_site("")
    monkeypatch.chdir("/")
    assert context.complete_container("") == []


def test_ctrl_c_before_any_stage_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inventory, "inventory_of", interrupted)
    run = typer.testing.CliRunner().invoke(main.app, ["validate"])
    assert run.exit_code == 130
    assert "run the same command again" in run.output


@pytest.mark.parametrize(
    "module", ["zentoria_infra.cli.main", "typer", "zentoria_infra.cli.commands.history", "pydantic"]
)
def test_ctrl_c_while_the_command_is_being_loaded(module: str) -> None:
    """Loading takes a second on a busy machine; the signal comes when ``module`` is looked for."""
    script = f"""
import os, signal, sys
from zentoria_infra.cli import entry

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["zentoria", "history"]
entry.run()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 130, run.stderr
    assert run.stderr == "Interrupted; nothing was begun.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["frobnicate"], 2, "No such command"),
        (["up", "--frobnicate"], 2, "No such option"),
        (["exec", "db", "--"], 2, "which command?"),
        (["redeploy", "nobody", "--site", "home"], 5, "the inventory has none of that name"),
        (["--site", "nowhere", "plan"], 3, "nowhere"),
        (["--site", "home", "plan"], 4, "token"),
        (["--site", "lab:nosuch", "plan"], 1, "no such lab"),
    ],
)
def test_wrong_use_is_told_in_words(arguments: list[str], code: int, words: str) -> None:
    run = zentoria(*arguments)
    assert run.returncode == code, (run.stdout, run.stderr)
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_outside_a_project_it_says_where_to_go(tmp_path: Path) -> None:
    run = zentoria("validate", cwd=tmp_path)
    assert run.returncode == 3
    assert "no zones.yaml" in run.stderr
    assert "--root" in run.stderr


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ".config/zentoria/home"
    folder.mkdir(parents=True)
    (folder / "token").write_text("canary-secret")
    (folder / "token").chmod(0o644)
    run = zentoria("--site", "home", "plan", HOME=str(tmp_path))
    assert run.returncode == 4
    assert "others may read it" in run.stderr
    assert "chmod 600" in run.stderr
    assert "canary-secret" not in run.stderr


def test_a_terminal_that_lacks_characters_is_no_error() -> None:
    def plan(encoding: str) -> bytes:
        run = subprocess.run(
            [str(ZENTORIA), "--root", str(ROOT), "--site", "home", "plan", "--offline"],
            capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
            env={**os.environ, "PYTHONIOENCODING": encoding, "HOME": "/nonexistent"},
        )  # fmt: skip
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout

    whole = plan("utf-8").decode()
    assert not whole.isascii()
    for encoding in ("ascii", "latin-1:strict"):
        assert plan(encoding) == whole.encode(encoding.partition(":")[0], "replace")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_says_the_same_in_every_encoding(encoding: str) -> None:
    code = "from zentoria_infra.cli import output; output.document({'a': 'ü → ✓'}); output.json_line({'a': 'ü → ✓'})"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, timeout=60, check=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    document, _, line = run.stdout.decode(encoding).strip().rpartition("\n")
    assert json.loads(document) == json.loads(line) == {"a": "ü → ✓"}

"""The start of the command: what is loaded for what, and lists of commands that are whole without loading them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from zentoria_infra.cli import main
from zentoria_infra.cli.lazy import LazyCommand

ROOT = Path(__file__).resolve().parents[2]

_HEAVY = {"paramiko", "requests", "proxmoxer", "cryptography", "packaging", "psutil", "aiohttp", "rich", "tenacity"}
_LIST = """
import atexit, sys
from zentoria_infra.cli.entry import run
atexit.register(lambda: print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr))
run()
"""


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["--version"], {"pydantic", "jinja2", "yaml"}),
        (["validate"], {"jinja2"}),
        (["plan", "--offline"], set()),
        (["plan", "--offline", "--json"], set()),
    ],
)
def test_what_asks_no_node_loads_nothing_that_could(words: list[str], more: set[str], tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", _LIST, *words], capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment,
        check=True,
    )  # fmt: skip
    loaded = set(run.stderr.split())
    assert "typer" in loaded
    assert loaded & (_HEAVY | more) == set()


def lazy() -> list[LazyCommand]:
    group = typer.main.get_command(main.app)
    assert isinstance(group, typer.core.TyperGroup)
    return [one for one in group.commands.values() if isinstance(one, LazyCommand)]


@pytest.mark.parametrize("command", lazy(), ids=lambda one: str(one.name))
def test_a_command_is_listed_as_it_explains_itself(command: LazyCommand) -> None:
    """Whoever changes the first paragraph of a command's docstring changes its line in cli/main.py as well."""
    real = command.loaded
    assert real.name == command.name
    assert command.help == " ".join(real.help.partition("\n\n")[0].split())


def complete(line: str, home: Path) -> list[str]:
    """What the shell is told at the tab key."""
    words = line.split(" ")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "_ZENTORIA_COMPLETE": "complete_bash", "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    run = subprocess.run(
        [Path(sys.executable).with_name("zentoria")], capture_output=True, text=True, timeout=60, cwd=ROOT,
        env=environment, check=False,
    )  # fmt: skip
    return run.stdout.split()


def test_the_tab_key_knows_commands_options_and_values(tmp_path: Path) -> None:
    assert complete("zentoria re", tmp_path) == ["redeploy", "render"]
    assert complete("zentoria firewall tr", tmp_path) == ["trace"]
    assert complete("zentoria plan --off", tmp_path) == ["--offline"]
    assert complete("zentoria plan --only back", tmp_path) == ["backend", "backup"]
    assert complete("zentoria plan --zone d", tmp_path) == ["data", "dmz"]

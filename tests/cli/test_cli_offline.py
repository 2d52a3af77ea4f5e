"""``plan --offline``: without network, keys and a lab, nothing made anywhere, the same bytes on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.json_schema import mismatches
from tests.support.stack import copy_project
from zentoria_infra.cli import main
from zentoria_infra.plan.show.document import shipped_schema

_WITHOUT_NETWORK = """
import socket, sys

def forbidden(*arguments, **more):
    raise AssertionError(f"a socket was asked for: {arguments}")

socket.socket.__init__ = socket.create_connection = socket.getaddrinfo = forbidden
sys.argv = ["zentoria", *sys.argv[1:]]
from zentoria_infra.cli.entry import run
run()
"""


def offline(root: Path, home: Path, *arguments: str, seed: int = 0) -> subprocess.CompletedProcess[str]:
    """Run ``plan --offline`` where there is no network, no key and no lab, in a time zone and order of its own."""
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONHASHSEED": str(seed),
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT_NETWORK, "plan", "--offline", *arguments],
        capture_output=True, text=True, timeout=120, cwd=root, env=environment, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_same_bytes_on_every_machine_and_nothing_made(tmp_path: Path, form: str) -> None:
    one, other = copy_project(tmp_path / "one"), copy_project(tmp_path / "a longer/place")
    before = {path.relative_to(one) for path in one.rglob("*")}
    runs = [
        offline(root, tmp_path / f"home{seed}", "--format", form, seed=seed) for root, seed in ((one, 1), (other, 2))
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stderr == runs[1].stderr == ""
    assert str(tmp_path) not in runs[0].stdout
    assert [*(tmp_path / "home1").iterdir()] == [] == [*(tmp_path / "home2").iterdir()]
    assert {path.relative_to(one) for path in one.rglob("*")} == before


def test_what_cannot_be_known_is_said_with_why(tmp_path: Path) -> None:
    run = offline(copy_project(tmp_path / "p"), tmp_path / "home", "--json", "--detailed-exitcode")
    assert run.returncode == 2, run.stderr
    told = json.loads(run.stdout)
    schema = dict(shipped_schema())
    assert mismatches(told, schema, schema) == []
    unknown = {one["what"]: one["why"] for one in told["unknown"]}
    assert unknown["what exists"].startswith("planned from the inventory alone, as if nothing existed")
    assert "whether the datacenter's firewall is on" in unknown
    assert {one["action"] for one in told["containers"]} == {"create"}
    assert any(one["firewall"]["gained"] for one in told["containers"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "p.json"], 2, "only a plan that asked the node can be carried out"),
        (["--out", "p.json", "--detailed-exitcode"], 1, "only a plan that asked"),
        (["--state", "nosuch.json"], 3, "read the state file on nosuch.json: No such file"),
        (["--state", "zones.yaml"], 3, "read the state file on zones.yaml: Invalid JSON"),
        (["--state", "."], 3, "read the state file on .: Is a directory"),
    ],
)
def test_wrong_use_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("zones.yaml").write_text("networks: {}\n")
    run = CliRunner().invoke(main.app, ["plan", "--offline", *arguments])
    assert getattr(run.exception, "exit_code", run.exit_code) == code
    assert words in " ".join(f"{run.output}{run.exception}".replace("│", " ").split())
    assert not Path("p.json").exists()

"""``zentoria secret``: what services declare, what is there, and supplying one. No secret is ever printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zentoria_infra.cli.main import app
from zentoria_infra.errors import InventoryError, RefusedError

PATH = "zentoria/oauth/google_client_secret"
VALUE = "Canary-from-google"


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HOME", str(tmp_path))
    return ["--site", "home"]


def test_a_secret_is_supplied_once_and_never_shown(words: list[str], tmp_path: Path) -> None:
    runner = CliRunner()
    before = json.loads(runner.invoke(app, ["secret", "list", "--json", *words]).stdout)["secrets"]
    row = next(one for one in before if one["path"] == PATH)
    assert row == {"path": PATH, "there": False, "services": ["auth.api"]}
    assert not list(tmp_path.rglob("secrets.json"))
    done = runner.invoke(app, ["secret", "set", PATH, *words], input=f"{VALUE}\n")
    assert done.exit_code == 0, done.output
    (kept,) = tmp_path.rglob("secrets.json")
    assert json.loads(kept.read_text())["secrets"] == {PATH: VALUE}
    assert kept.stat().st_mode & 0o777 == 0o600
    again = runner.invoke(app, ["secret", "set", PATH, *words], input="another\n")
    assert again.exit_code != 0
    assert json.loads(kept.read_text())["secrets"] == {PATH: VALUE}
    other = runner.invoke(app, ["secret", "set", "--replace", PATH, *words], input="another\n")
    assert other.exit_code == 0
    assert json.loads(kept.read_text())["secrets"] == {PATH: "another"}
    listed = runner.invoke(app, ["secret", "list", *words])
    assert f"{PATH}     " in listed.stdout and "there" in listed.stdout
    assert VALUE not in done.output + again.output + other.output + listed.output


@pytest.mark.parametrize(
    ("path", "given", "error"),
    [
        ("zentoria/oauth/gogle_client_secret", VALUE, InventoryError),
        (PATH, "", RefusedError),
        (PATH, "\n", RefusedError),
        (PATH, "x" * 70_000, RefusedError),
    ],
)
def test_what_nobody_declares_and_nothing_are_refused(
    words: list[str], tmp_path: Path, path: str, given: str, error: type[Exception]
) -> None:
    done = CliRunner().invoke(app, ["secret", "set", path, *words], input=given)
    assert isinstance(done.exception, error), done.output
    assert not list(tmp_path.rglob("secrets.json"))

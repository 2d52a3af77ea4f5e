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


def test_a_signing_key_is_renewed_and_the_one_before_stays(words: list[str], tmp_path: Path) -> None:
    runner = CliRunner()

    def kept() -> dict[str, str]:
        (file,) = tmp_path.rglob("secrets.json")
        found: dict[str, str] = json.loads(file.read_text())["secrets"]
        return found

    jwt, before, identity = "zentoria/jwt/secret_key", "zentoria/jwt/previous_key", "zentoria/identity/backend"
    assert runner.invoke(app, ["secret", "renew", jwt, *words]).exit_code == 0
    first = kept()
    assert first.keys() == {jwt}  # there was none before
    done = runner.invoke(app, ["secret", "renew", jwt, *words])
    assert "it goes to auth.api at the next `zentoria up`" in done.output
    assert kept()[before] == first[jwt] != kept()[jwt]
    assert all("BEGIN PRIVATE KEY" in one for one in kept().values())
    assert runner.invoke(app, ["secret", "renew", identity, *words]).exit_code == 0
    one = kept()[identity]
    assert runner.invoke(app, ["secret", "renew", identity, *words]).exit_code == 0
    assert kept().keys() == {jwt, before, identity}
    assert kept()[identity] != one
    assert "PRIVATE" not in done.output


@pytest.mark.parametrize("path", [PATH, "zentoria/db/backend_password", "zentoria/identity/nobody", "../x"])
def test_nothing_but_a_key_pair_is_renewed(words: list[str], tmp_path: Path, path: str) -> None:
    done = CliRunner().invoke(app, ["secret", "renew", path, *words])
    assert isinstance(done.exception, RefusedError), done.output
    assert "zentoria/identity/auth, zentoria/identity/backend, zentoria/identity/embeddings, " in str(done.exception)
    assert not list(tmp_path.rglob("secrets.json"))

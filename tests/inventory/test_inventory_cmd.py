"""``zentoria validate`` and ``zentoria inventory schema``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.inventory.inventory_project import REPOSITORY, copy_project, replace
from zentoria_infra.cli.commands import inventory
from zentoria_infra.errors import InventoryError

DB = "inventory/containers/404-db.yaml"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.delenv("ZENTORIA_SITE", raising=False)
    made = typer.Typer()
    made.command()(inventory.validate)
    made.add_typer(inventory.inventory_app, name="inventory")
    return made


def test_a_valid_inventory_is_counted(app: typer.Typer) -> None:
    answer = CliRunner().invoke(app, ["validate", "--root", str(REPOSITORY), "--site", "home"])
    assert answer.exit_code == 0
    for words in ("valid", "17 containers", "6 zones", "35 flows of the matrix", "12 derived flows"):
        assert words in answer.output


def test_json_of_a_valid_inventory(app: typer.Typer) -> None:
    answer = CliRunner().invoke(app, ["validate", "--root", str(REPOSITORY), "--site", "home", "--json"])
    assert answer.exit_code == 0
    found = json.loads(answer.output)
    assert (found["valid"], found["site"], found["problems"], found["containers"]) == (True, "home", [], 17)


def test_problems_as_error_and_as_json(app: typer.Typer, tmp_path: Path) -> None:
    root = copy_project(tmp_path)
    replace(root, DB, "zone: data", "zone: dta")
    replace(root, DB, "protect: true", "protect: maybe\nextra: 1")
    arguments = ["validate", "--root", str(root), "--site", "home"]
    answer = CliRunner().invoke(app, arguments)
    assert isinstance(answer.exception, InventoryError) and answer.exception.exit_code == 3
    answer = CliRunner().invoke(app, [*arguments, "--json"])
    assert answer.exit_code == 3
    assert json.loads(answer.output) == {
        "valid": False,
        "problems": [
            {"file": DB, "line": 9, "column": 10, "message": "'protect' must be true or false, not 'maybe'"},
            {"file": DB, "line": 10, "column": 1, "message": "unknown key 'extra'"},
        ],
    }


@pytest.mark.parametrize("name", ["container", "site", "overlay", "zones"])
def test_schema_is_printed(app: typer.Typer, name: str) -> None:
    answer = CliRunner().invoke(app, ["inventory", "schema", name])
    assert answer.exit_code == 0
    assert json.loads(answer.output)["$schema"].startswith("https://json-schema.org/")


def test_an_unknown_schema_is_a_usage_error(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["inventory", "schema", "zone"]).exit_code == 2

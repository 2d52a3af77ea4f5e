"""``zentoria audit verify`` needs nothing but the file; what the other commands ask is quoted by psql."""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from zentoria_schema import audit_chain

from tests.cli.test_cli_users import FakeProxmox
from tests.roles.roles_support import inventory
from zentoria_infra.cli.commands import audit
from zentoria_infra.cli.main import app
from zentoria_infra.errors import GuestError, RefusedError
from zentoria_infra.execute.service_program import program_of


def trail(count: int) -> list[dict[str, str | None]]:
    rows: list[dict[str, str | None]] = []
    before = audit_chain.START
    for number in range(1, count + 1):
        row: dict[str, str | None] = {name: None for name in audit_chain.FIELDS}
        row |= {"id": str(number), "timestamp": "2026-11-29T20:00:00.000000Z", "action": "auth.sign_in",
                "details": "{}", "severity": "info", "actor": "session:1"}  # fmt: skip
        row |= {"prev_hash": before, "hash": audit_chain.digest(before, row)}
        before = str(row["hash"])
        rows.append(row)
    return rows


def written(folder: Path, rows: list[dict[str, str | None]]) -> Path:
    path = folder / "trail.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def verify(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", "verify", *arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_a_whole_trail_holds(tmp_path: Path) -> None:
    rows = trail(5)
    code, said = verify(str(written(tmp_path, rows)))
    assert code == 0
    assert said == f"5 rows hold. The last one, 5, has the hash {rows[-1]['hash']}\n"
    code, said = verify(str(written(tmp_path, rows)), "--hash", str(rows[2]["hash"]), "--json")
    assert (code, json.loads(said)["rows"]) == (0, 5)


@pytest.mark.parametrize("what", ["changed", "left out", "added", "turned round", "no json"])
def test_whatever_was_done_to_it_is_named_with_its_line(tmp_path: Path, what: str) -> None:
    rows = trail(5)
    if what == "changed":
        rows[2]["action"] = "auth.nothing"
    elif what == "left out":
        del rows[2]
    elif what == "added":
        rows.insert(2, dict(rows[2]))
    elif what == "turned round":
        rows[2], rows[3] = rows[3], rows[2]
    path = written(tmp_path, rows)
    if what == "no json":
        path.write_text(path.read_text().replace('"id": "3"', '"id" "3"'))
    code, said = verify(str(path))
    assert code == 1
    line = 4 if what == "added" else 3
    assert said.startswith(f"error: {path}:{line}: ")


def test_an_end_that_is_cut_off_is_told_by_a_hash_from_before(tmp_path: Path) -> None:
    rows = trail(5)
    code, said = verify(str(written(tmp_path, rows[:3])), "--hash", str(rows[4]["hash"]))
    assert code == 1
    assert "the end of the trail is missing" in said


def test_an_export_asks_page_after_page_and_ends_though_rows_keep_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 3)
    rows = trail(6)
    pages = [rows[:3], rows[3:5], rows[5:]]

    class Paged(FakeProxmox):
        def exec(self, vmid: int, argv: Sequence[str], stdin: bytes | None = None, timeout: float | None = None) -> Any:
            page = pages[len(self.asked)]
            self._result.stdout = "".join(f"{json.dumps(row)}\n" for row in page).encode()
            return super().exec(vmid, argv, stdin, timeout)

    proxmox = Paged()
    gateway = program_of(inventory(), proxmox, "backend", tried="x")  # type: ignore[arg-type] # a fake
    path = tmp_path / "trail.jsonl"
    assert audit._written(gateway, path) == 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [argv[-1] for argv, _ in proxmox.asked] == ["0", "3"]
    assert verify(str(path))[0] == 0


def test_an_export_that_breaks_off_leaves_no_file_that_would_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 1)

    class Breaks(FakeProxmox):
        def exec(self, vmid: int, argv: Sequence[str], stdin: bytes | None = None, timeout: float | None = None) -> Any:
            self._result.exit = len(self.asked)
            self._result.stdout = f"{json.dumps(trail(1)[0])}\n".encode()
            return super().exec(vmid, argv, stdin, timeout)

    gateway = program_of(inventory(), Breaks(), "backend", tried="x")  # type: ignore[arg-type] # a fake
    path = tmp_path / "trail.jsonl"
    with pytest.raises(GuestError):
        audit._written(gateway, path)
    assert not path.exists()
    path.write_text("somebody's")
    with pytest.raises(RefusedError, match="File exists"):
        audit._written(gateway, path)
    assert path.read_text() == "somebody's"


def test_what_a_user_types_is_one_argument() -> None:
    assert audit._options({"action": "x y; --follow", "user": None, "limit": 5}) == [
        "--action=x y; --follow",
        "--limit=5",
    ]


def test_a_row_is_printed_on_one_line_whatever_is_in_it() -> None:
    row = trail(1)[0] | {"resource_id": "a\nb\x1b[31mc", "user_id": "7"}
    line = "  ".join(audit._fields(row))
    assert line == "2026-11-29T20:00:00.000000Z  info      session:1  7  -  auth.sign_in  -  a?b?[31mc"


@pytest.mark.parametrize(
    ("option", "said"),
    [("--since=1h", "is no time"), ("--until=yesterday", "is no time"), ("--severity=bad", "is none: info")],
)
def test_what_is_no_time_or_severity_is_told_before_anybody_is_asked(option: str, said: str) -> None:
    done = CliRunner().invoke(app, ["audit", "search", option], catch_exceptions=False)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())

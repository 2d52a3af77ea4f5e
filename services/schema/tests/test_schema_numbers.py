"""Migrations follow each other by the numbers of their files: `zentoria plan` reads nothing else of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import zentoria_schema
from alembic.script import ScriptDirectory
from zentoria_schema import head


@pytest.mark.parametrize(("database", "folder"), head.DATABASES.items())
def test_files_are_numbered_as_they_follow(database: str, folder: str) -> None:
    scripts = list(ScriptDirectory.from_config(head.config(database)).walk_revisions())[::-1]
    files = sorted((Path(zentoria_schema.__file__).parent / "migrations" / folder / "versions").glob("*.py"))
    assert [one.revision for one in scripts] == [f"{number:04}" for number in range(1, len(scripts) + 1)]
    assert [path.name[:5] for path in files] == [f"{one.revision}_" for one in scripts]
    assert database == f"zentoria_{folder}"
    assert head.expected(database) == scripts[-1].revision

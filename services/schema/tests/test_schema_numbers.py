"""Migrations follow each other by the numbers of their files: `zentoria plan` reads nothing else of them."""

from __future__ import annotations

import subprocess
import sys
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
    assert head.known(database) == {one.revision for one in scripts}


def test_who_only_asks_for_the_head_does_not_load_alembic() -> None:
    script = "import sys; from zentoria_schema import core, head; head.trouble('zentoria_core', '0000'); "
    script += "sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)

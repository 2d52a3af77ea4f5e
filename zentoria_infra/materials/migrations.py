"""Which migration is the newest of each database, told by the names of their files: nothing of the service is run.

A database ``zentoria_core`` has its migrations in ``migrations/core/versions`` of the service's package, one a file, as
``0003_file_tags.py``. They follow each other by their numbers; a test of the service holds it to that.
"""

from __future__ import annotations

import re
from pathlib import Path

from zentoria_infra.materials.artifacts.cache import ArtifactError

_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.py")


def newest_migrations(service: Path) -> dict[str, str]:
    """The newest migration by the database's name.

    Args:
        service: folder of the service, as ``services/schema``.

    Raises:
        ArtifactError: there are none.
    """
    found: dict[str, str] = {}
    for path in sorted(service.glob("src/*/migrations/*/versions/*.py")):
        if match := _FILE.fullmatch(path.name):
            found[f"zentoria_{path.parents[1].name}"] = match[1]
    if not found:
        raise ArtifactError(
            "find the migrations",
            on=str(service),
            got="there is no migrations/<database>/versions/<number>_<name>.py in its package",
            todo="get the project's files again: git status",
        )
    return found

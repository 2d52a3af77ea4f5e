"""The shipped inventory in a folder of its own, to be changed and read."""

from __future__ import annotations

import shutil
from pathlib import Path

from zentoria_infra.inventory.load import load
from zentoria_infra.inventory.problems import InvalidInventoryError

REPOSITORY = Path(__file__).resolve().parents[2]


def copy_project(folder: Path) -> Path:
    """A copy of the shipped zones.yaml and inventory/."""
    shutil.copy(REPOSITORY / "zones.yaml", folder / "zones.yaml")
    shutil.copytree(REPOSITORY / "inventory", folder / "inventory")
    return folder


def replace(root: Path, file: str, old: str, new: str) -> None:
    """Change one place of one file; the old text must be there."""
    path = root / file
    text = path.read_text()
    assert old in text, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new, 1))


def problems(root: Path, **options: object) -> list[str]:
    """What is wrong, as lines; empty when nothing is."""
    try:
        load(root, **options)  # type: ignore[arg-type]  # tests pass what they like
    except InvalidInventoryError as error:
        return [str(item) for item in error.problems]
    return []

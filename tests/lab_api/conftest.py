"""An API server on a free port, over a runtime without guests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab_api.lab_api_harness import Lab


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Start a lab in the test's own folder; options go to the server."""
    labs: list[Lab] = []

    def make(**options: Any) -> Lab:
        labs.append(Lab(options.pop("root", tmp_path / "lab"), **options))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """A lab with nothing in it."""
    return make_lab()

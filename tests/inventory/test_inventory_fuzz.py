"""Spoilt inventories: words with file and line, or a plan; never a traceback, and never a change anywhere.

80 of them, and 2,000 more in a soak.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.inventory.inventory_project import REPOSITORY, copy_project
from tests.inventory.spoilt_inventories import Edit, edits, spoilt
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.execute.offline import plan_offline
from zentoria_infra.inventory import load as loading
from zentoria_infra.inventory.problems import InvalidInventoryError, Problem
from zentoria_infra.inventory.yaml.positions import Node, read_yaml
from zentoria_infra.plan.show.document import document

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = ("socket.connect", "socket.bind", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.system",
           "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink",
           "os.truncate", "shutil.")  # fmt: skip


class _Watch:
    """Notes whatever this process would change outside of itself, while it is on (PEP 578)."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event.startswith(_EVENTS) or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
            self.seen.append(f"{event} {arguments}")

    @contextmanager
    def nothing_changes(self) -> Iterator[None]:
        self.on, self.seen = True, []
        try:
            yield
        finally:
            self.on = False
        assert self.seen == []


WATCH = _Watch()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_project(tmp_path_factory.mktemp("project"))
    (root / "templates").symlink_to(REPOSITORY / "templates")
    return root


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are as shipped are parsed once; those of the site are changed by the loader, and so are not kept."""
    kept: dict[tuple[str, bytes], Node] = {}

    def read(path: Path, label: str, problems: list[Problem]) -> Node | None:
        key = (label, path.read_bytes())
        if key in kept:
            return kept[key]
        before = len(problems)
        node = read_yaml(path, label, problems)
        if node is not None and len(problems) == before and not label.startswith("inventory/site"):
            kept[key] = node
        return node

    monkeypatch.setattr(loading, "read_yaml", read)


def outcome(root: Path, changes: list[Edit]) -> str:
    """What comes of an inventory that was spoilt; the files are as shipped afterwards."""
    texts = spoilt(changes)
    try:
        for file, text in texts.items():
            (root / file).write_text(text, errors="surrogatepass")
        with WATCH.nothing_changes():
            return _used(root)
    finally:
        for file in texts:
            (root / file).write_bytes((REPOSITORY / file).read_bytes())


def _used(root: Path) -> str:
    try:
        inventory = loading.load(root, "lab")
    except InvalidInventoryError as error:
        assert error.problems
        for item in error.problems:
            assert item.message and "Traceback" not in str(item)
            assert item.line or not (root / item.file).is_file() or _whole(item), str(item)
        return "invalid"
    try:
        found, stages, basis = plan_offline(inventory)
        assert document(found, stages, basis).model_dump_json()
    except ZentoriaError as error:
        assert error.tried and "Traceback" not in str(error)
        return type(error).__name__
    return "planned"


def _whole(item: Problem) -> bool:
    """Problems that are of a file and of no line in it."""
    return any(words in item.message for words in ("the file is", "character #x", "there is no such file", "not YAML"))


def _fuzz(root: Path, examples: int, number: int = 0) -> Counter[str]:
    """Other examples for another number; always the same for the same."""
    print(f"seed {number}")
    counts: Counter[str] = Counter()

    @seed(number)
    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(edits)
    def run(changes: list[Edit]) -> None:
        counts[outcome(root, changes)] += 1

    run()
    return counts


def test_spoilt_inventories_end_in_words_and_change_nothing(project: Path) -> None:
    counts = _fuzz(project, 80)
    assert counts["invalid"] > 20, counts


@pytest.mark.soak
@pytest.mark.parametrize("quarter", range(1, 5))
def test_two_thousand_spoilt_inventories(project: Path, quarter: int) -> None:
    """In four parts, which can run beside each other; other ones each time, from a seed that is printed."""
    counts = _fuzz(project, 500, quarter << 32 | secrets.randbits(32))
    print(dict(counts))
    assert sum(counts.values()) >= 500
    assert counts["invalid"] > 250 and counts["planned"] > 12, counts


def test_the_watch_sees_what_it_is_for(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), WATCH.nothing_changes():
        (tmp_path / "x").write_text("x")
    with pytest.raises(AssertionError), WATCH.nothing_changes():
        (tmp_path / "y").mkdir()

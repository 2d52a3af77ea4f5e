"""Each rendered file, judged by the tool that knows it best; where that is not on this machine, by a parser.

No file is passed over in silence: it was checked by a tool, or only parsed, or there is nothing here that knows it.
"""

from __future__ import annotations

import dataclasses
import enum
import fnmatch
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from zentoria_infra.render.parsers import PARSERS
from zentoria_infra.render.tools import TOOLS, UNCHECKABLE, Question, Tool, find, postgres_of
from zentoria_infra.render.tree import RenderedFile, Tree


class Level(enum.StrEnum):
    """How much is known of a file. The order of the members is that of lists."""

    FAILED = "failed"
    TOOL = "checked"
    PARSED = "parsed only"
    NONE = "no tool here"


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """One file and what came out.

    Args:
        file: the file.
        level: how much is known of it.
        by: the tool or the parser that judged it; empty when there is none.
        wants: the tool that would say more, and is not here; empty when nothing would.
        said: what is wrong, in the judge's words.
    """

    file: RenderedFile
    level: Level
    by: str = ""
    wants: str = ""
    said: str = ""


def check_tree(tree: Tree, tools: Sequence[Tool] = TOOLS) -> tuple[Checked, ...]:
    """Check every file of a tree; in the tree's order. Writes in a temporary folder only, which it removes.

    Files with the same content that are judged one by one are judged once.

    Args:
        tree: what was rendered.
        tools: those that are known.
    """
    guests: dict[str, list[RenderedFile]] = {}
    for file in tree.files:
        guests.setdefault(file.guest, []).append(file)
    with tempfile.TemporaryDirectory(prefix="zentoria-") as name, _Checker(tools, Path(name)) as checker:
        found = {id(one.file): one for files in guests.values() for one in checker.guest(files)}
    return tuple(found[id(file)] for file in tree.files)


class _Checker:
    def __init__(self, tools: Sequence[Tool], folder: Path) -> None:
        self._tools = tools
        self._folder = folder
        self._number = 0
        self._unfit: dict[tuple[str, str], str] = {}
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}

    def __enter__(self) -> _Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self._known.clear()

    def guest(self, files: Sequence[RenderedFile]) -> list[Checked]:
        """Check the files of one guest."""
        judged: dict[int, Checked] = {}
        for tool, some in self._jobs(files):
            program, wants = self._program(tool, [one.path for one in some])
            said = "" if wants else self._ask(tool, program, files, some)
            for one in some:
                if wants:
                    judged[id(one)] = _parsed(one, wants)
                else:
                    level = Level.FAILED if said else Level.TOOL
                    judged[id(one)] = Checked(one, level, tool.title, said=said)
        return [judged.get(id(one)) or _parsed(one, _missing(one.path)) for one in files]

    def _jobs(self, files: Sequence[RenderedFile]) -> Iterator[tuple[Tool, list[RenderedFile]]]:
        left = list(files)
        for tool in self._tools:
            mine = [one for one in left if tool.takes(one.path, one.text)]
            if not mine or (tool.needs and tool.needs not in {one.path for one in files}):
                continue
            left = [one for one in left if one not in mine]
            if tool.whole:
                yield tool, mine
            else:
                yield from ((tool, [one]) for one in mine)

    def _program(self, tool: Tool, paths: Sequence[str]) -> tuple[str, str]:
        """The tool's program and, when it cannot judge them, what would be needed."""
        version = postgres_of(paths) if tool.program == "postgres" else ""
        program = find(tool.program, version)
        if program is None:
            return "", tool.program
        key = (program, version)
        if key not in self._unfit:
            self._unfit[key] = tool.unfit(program, paths)
        return program, self._unfit[key]

    def _ask(self, tool: Tool, program: str, files: Sequence[RenderedFile], some: Sequence[RenderedFile]) -> str:
        """What a tool says; asked once about the same content."""
        about = files if tool.whole and tool.needs else some
        key = (tool.title, tuple((one.path, one.text) for one in about if tool.whole or one in some))
        if key not in self._known:
            self._number += 1
            place = self._folder / str(self._number)
            root, scratch = place / "root", place / "scratch"
            for one in about:
                _write(root, one)
            scratch.mkdir(parents=True)
            said = tool.ask(Question(program, root, [one.path for one in some], scratch))
            self._known[key] = (
                said.replace(str(scratch / "root"), "").replace(str(root), "").replace(str(scratch), "").strip()
            )
        return self._known[key]


def _write(root: Path, file: RenderedFile) -> None:
    path = root / file.path.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(file.text)


def _parsed(file: RenderedFile, wants: str) -> Checked:
    """What a parser says; two things called alike are read by the first."""
    for pattern, (title, parse) in PARSERS.items():
        if fnmatch.fnmatchcase(file.path, pattern):
            try:
                parse(file.text)
            except (ValueError, TypeError) as error:
                return Checked(file, Level.FAILED, title, wants, str(error))
            return Checked(file, Level.PARSED, title, wants)
    return Checked(file, Level.NONE, wants=wants)


def _missing(path: str) -> str:
    return next((words for pattern, words in UNCHECKABLE.items() if fnmatch.fnmatchcase(path, pattern)), "")


def say(checked: Sequence[Checked]) -> Iterator[str]:
    """The result in lines: a line for each judge, then what is not right, with each file's place."""
    groups: dict[tuple[Level, str, str], list[Checked]] = {}
    for one in checked:
        groups.setdefault((one.level, one.by, one.wants), []).append(one)
    order = list(Level)
    for (level, by, wants), some in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1:])):
        words = f"{level.value}{f' by {by}' if level in (Level.TOOL, Level.FAILED) else f' as {by}' if by else ''}"
        names = sorted({one.file.path.rpartition("/")[2] for one in some})
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        more = f"; more would need {wants}" if wants and level is not Level.TOOL else ""
        yield f"  {len(some):4} {words}{more}: {shown}"
    told: dict[tuple[str, str], list[Checked]] = {}
    for one in checked:
        if one.level is Level.FAILED:
            told.setdefault((one.by, one.said), []).append(one)
    for (by, said), some in told.items():
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        # a tool that judges several files at once says which one it means
        meant = next((one for one in some if one.file.path in said), some[0])
        yield f"{meant.file.where}{more}: {by} says:"
        yield from (f"    {line}" for line in said.splitlines()[:12])

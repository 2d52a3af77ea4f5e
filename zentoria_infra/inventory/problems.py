"""What is wrong in the inventory, and where: every problem at once, in the order of the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from zentoria_infra.errors import InventoryError, visible


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Position:
    """A place in a file. ``line`` and ``column`` count from 1; 0 when the whole file is meant."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Problem:
    """One thing that is wrong, in the user's words."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{Position(self.file, self.line, self.column)}: {self.message}"


def problem(position: Position, message: str) -> Problem:
    """A problem at a position. Values of files are in its words: what a terminal would act on is shown instead."""
    return Problem(visible(position.file), position.line, position.column, visible(message))


class InvalidInventoryError(InventoryError):
    """The inventory cannot be used.

    Attributes:
        problems: every problem, sorted by file, line and column, none twice.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        count = len(self.problems)
        super().__init__(
            "read the inventory",
            got=f"{count} problem{'' if count == 1 else 's'}\n" + "\n".join(str(item) for item in self.problems),
            todo="correct the places named above, then run `zentoria validate`",
        )

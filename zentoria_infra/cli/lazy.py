"""Commands whose modules are loaded when one of them is used: to name and describe them all takes no time."""

from __future__ import annotations

import pkgutil
import typing
from functools import cached_property
from typing import Any

import typer
import typer.core
import typer.main

from zentoria_infra.cli.interrupting import nothing_begun

PACKAGE = "zentoria_infra.cli.commands"


class LazyCommand(typer.core.TyperCommand):
    """Stands for a command or a group of commands, in lists and in shell completion; using it loads the real one.

    Args:
        name: as it is typed.
        target: where the function, or the Typer of a group, is: ``module:name`` in this package.
        help: the first paragraph of the real one's help.
        kind: the class of a command that is not an ordinary one, as ``module:name``.
        settings: of its context.
    """

    def __init__(
        self, name: str, target: str, help: str, *, kind: str = "", settings: dict[str, Any] | None = None
    ) -> None:
        super().__init__(name, help=help)
        self._target = target
        self._kind = kind
        self._settings = settings

    @cached_property
    def loaded(self) -> Any:
        """The real command; its module is loaded with the first use."""
        with nothing_begun():
            target = pkgutil.resolve_name(f"{PACKAGE}.{self._target}")
            kind = pkgutil.resolve_name(f"{PACKAGE}.{self._kind}") if self._kind else typer.core.TyperCommand
        if isinstance(target, typer.Typer):
            group = typer.main.get_group(target)
            group.name = self.name
            return group
        alone = typer.Typer(add_completion=False)
        alone.command(self.name, cls=kind, context_settings=self._settings)(target)
        return typer.main.get_command(alone)

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> Any:
        """Read the command line, as the real command does."""
        return self.loaded.make_context(info_name, args, *more, **options)


class LazyGroup(typer.core.TyperGroup):
    """A group with further commands, which are loaded when they are used."""

    lazy: typing.ClassVar[tuple[LazyCommand, ...]] = ()
    """The commands, in the order in which they are listed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for one in self.lazy:
            self.add_command(one)

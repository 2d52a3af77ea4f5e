"""Configuration files from the project's ``templates/`` folder."""

from __future__ import annotations

import traceback
from collections.abc import Set
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from zentoria_infra.errors import InventoryError

FOLDER = "templates"


def _one_line(value: object) -> object:
    """Refuse text that would begin another line of the file: one value must not become two directives."""
    if isinstance(value, str) and any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise ValueError("a value holds a line break or another control character")
    return value


def _sql_name(text: str) -> str:
    """An SQL identifier, quoted."""
    return '"' + text.replace('"', '""') + '"'


def _sql_literal(text: str) -> str:
    """An SQL string. With ``standard_conforming_strings`` (the default) a backslash is nothing special."""
    return "'" + text.replace("'", "''") + "'"


class Templates:
    """Renders templates; filters ``name`` and ``literal`` quote for SQL.

    A name that a template uses and nobody gave is an error, never an empty string.

    Args:
        root: the project folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(self._folder),
            undefined=StrictUndefined,
            autoescape=False,  # these are configuration files and SQL: HTML's escapes would break them
            finalize=_one_line,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(name=_sql_name, literal=_sql_literal)

    def __call__(self, name: str, /, **values: object) -> str:
        """Render ``templates/<name>``.

        Raises:
            InventoryError: there is no such template, it is wrong, or a value must not be in a file.
        """
        try:
            return self._environment.get_template(name).render(values)
        except (TemplateError, ValueError, TypeError, OSError) as error:
            raise InventoryError(
                "render a configuration file",
                on=self._place(name, error),
                got=f"{type(error).__name__}: {error}",
                todo="put the template right, or the value that it takes from the inventory",
            ) from error

    def _place(self, name: str, error: Exception) -> str:
        """Where a template, or one that it includes, went wrong; Jinja puts their lines into the traceback."""
        if isinstance(error, TemplateSyntaxError):
            return f"{FOLDER}/{error.name or name}:{error.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if Path(frame.filename).is_relative_to(self._folder):
                return f"{FOLDER}/{Path(frame.filename).relative_to(self._folder)}:{frame.lineno}"
        return f"{FOLDER}/{name}"

    def names(self, *, without: str) -> tuple[str, ...]:
        """All templates, sorted, but for those in the folder ``without``."""
        return tuple(name for name in self._environment.list_templates() if not name.startswith(f"{without}/"))

    def parts(self, name: str) -> frozenset[str]:
        """The templates that one includes, at any depth; empty for one that is no template."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            try:
                tree = self._parse(waiting.pop())
            except (TemplateError, OSError, ValueError):
                continue
            new = {part for part in meta.find_referenced_templates(tree) if part is not None} - found
            found |= new
            waiting += new
        return frozenset(found)

    def undeclared(self, name: str, given: Set[str]) -> tuple[str, ...]:
        """Names that a template or a part of it uses and that are not ``given``, also in branches that are not taken.

        Each with ``templates/<name>:<line>``. A template that cannot be read says nothing here: rendering it told.
        """
        found: list[str] = []
        for one in sorted({name, *self.parts(name)}):
            try:
                tree = self._parse(one)
            except (TemplateError, OSError, ValueError):
                continue
            missing = meta.find_undeclared_variables(tree) - given
            places = {(node.lineno, node.name) for node in tree.find_all(nodes.Name) if node.name in missing}
            found += [f"{FOLDER}/{one}:{line}: nobody gives it '{unknown}'" for line, unknown in sorted(places)]
        return tuple(found)

    def _parse(self, name: str) -> nodes.Template:
        source = (self._folder / name).read_text(encoding="utf-8")
        return self._environment.parse(source, name, str(self._folder / name))

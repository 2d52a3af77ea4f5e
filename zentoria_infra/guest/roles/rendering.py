"""Configuration files from the project's ``templates/`` folder."""

from __future__ import annotations

from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
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
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(root / FOLDER),
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
            line = getattr(error, "lineno", None)
            where = f"{FOLDER}/{name}:{line}" if line else f"{FOLDER}/{name}"
            raise InventoryError(
                "render a configuration file",
                on=where,
                got=f"{type(error).__name__}: {error}",
                todo="put the template right, or the value that it takes from the inventory",
            ) from error

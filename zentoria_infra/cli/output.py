"""Printing: results on standard output, everything about the run on standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import typer

from zentoria_infra.errors import ExitCode, RefusedError


def lines(texts: Iterable[str]) -> None:
    """Print lines as they are."""
    for text in texts:
        print(text)
    sys.stdout.flush()


def text(whole: str) -> None:
    """Print text that ends its own lines."""
    sys.stdout.write(whole)
    sys.stdout.flush()


def save(file: str, content: bytes) -> None:
    """Write a file at once and entirely: after a crash there is the old or the new one. ``-`` is standard output.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    if file == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    path = Path(file).resolve()  # a link stays one
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # a pipe or a device
        return
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o644)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def document(value: Any) -> None:
    """Print one JSON document, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=_is_narrow()))


def json_line(value: Any) -> None:
    """Print one JSON object on one line."""
    print(json.dumps(value, ensure_ascii=_is_narrow()), flush=True)


def _is_narrow() -> bool:
    """Whether standard output lacks characters: JSON then escapes them, so that what is read from it is the same."""
    return (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "") not in ("utf8", "utf16", "utf32")


def status(text: str, *, quiet: bool = False) -> None:
    """Say what is going on, on a terminal only."""
    if not quiet and sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Say something that matters besides the result."""
    print(text, file=sys.stderr, flush=True)


def problem(text: str) -> None:
    """Say what went wrong."""
    print(f"error: {text}", file=sys.stderr, flush=True)


def confirm(question: str, yes: bool) -> None:
    """Ask the user on standard error; standard output is for results.

    Raises:
        RefusedError: nobody is there to answer, or the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError("go on", got="nobody is there to confirm it (no terminal)", todo="add --yes")
    try:
        agreed = typer.confirm(question, default=False, err=True)
    except typer.Abort:  # Ctrl-C or the end of input
        print(file=sys.stderr)
        agreed = False
    if not agreed:
        raise RefusedError("go on", got="it was not confirmed; nothing was changed", todo="answer y, or add --yes")


def leave(code: ExitCode) -> NoReturn:
    """End the program at once, without waiting for threads at work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

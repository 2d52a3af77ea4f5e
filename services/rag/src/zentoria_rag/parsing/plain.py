"""Text and Markdown, in whatever encoding."""

from __future__ import annotations

import re
from pathlib import Path

import charset_normalizer

from zentoria_rag.parsing.model import Limits, Parsed, Writer, clean, one

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_UNDERLINE = re.compile(r"^(=+|-+)\s*$")
SAMPLE = 200_000
"""Bytes by which an encoding is guessed."""
ENOUGH = 256
"""Bytes below which a guess is worse than Windows' Western code page, which most such texts are in."""


def decoded(path: Path) -> str:
    """The file's text; bytes that fit nowhere become U+FFFD. NUL is left out: PostgreSQL cannot keep it."""
    return decoded_bytes(path.read_bytes())


def decoded_bytes(data: bytes, declared: str = "") -> str:
    """Text of bytes, in the encoding that they seem to have; UTF-8 if they can be read so."""
    for encoding in ("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", declared):
        if encoding:
            try:
                return data.decode(encoding).replace("\x00", "")
            except (UnicodeDecodeError, LookupError):
                continue
    if len(data) < ENOUGH:
        return data.decode("cp1252", "replace").replace("\x00", "")
    best = charset_normalizer.from_bytes(data[:SAMPLE]).best()
    return data.decode(best.encoding if best else "latin-1", "replace").replace("\x00", "")


def parse_text(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a plain text: empty lines are between paragraphs, line ends within them are kept."""
    writer = Writer()
    for paragraph in re.split(r"\n\s*\n", decoded(path).replace("\r\n", "\n").replace("\r", "\n")):
        writer.add(paragraph)
    return one("text", writer.page(None))


def parse_markdown(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a text with headings. What is in a block of code is none."""
    writer, lines, fenced, title = Writer(), list[str](), False, None

    def flush() -> None:
        writer.add("\n".join(lines))
        lines.clear()

    for line in decoded(path).replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        found = None if fenced else _HEADING.match(line)
        if found:
            flush()
            writer.add(found[2], len(found[1]))
            title = title or (found[2] if len(found[1]) == 1 else None)
        elif not fenced and len(lines) == 1 and _UNDERLINE.match(line):
            heading = clean([lines.pop()])
            writer.add(heading, 1 if line.startswith("=") else 2)
            title = title or heading
        elif line.strip() or fenced:
            lines.append(line)
        else:
            flush()
    flush()
    return one("markdown", writer.page(None), title)

"""Word and PowerPoint, by python-docx and python-pptx."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from zentoria_rag.parsing.model import DocumentError, Limits, Page, Parsed, Writer, one

_LEVEL = re.compile(r"^(?:heading|überschrift|titre|título)\s*([1-9])", re.I)


def parse_docx(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a Word document. It has no pages before it is printed.

    Raises:
        DocumentError: it is damaged.
    """
    import docx
    from docx.opc.exceptions import OpcError
    from docx.table import Table

    try:
        document = docx.Document(str(path))
        writer = Writer()
        for block in document.iter_inner_content():
            if isinstance(block, Table):
                for line in _rows([cell.text for cell in row.cells] for row in block.rows):
                    writer.add(line)
            else:
                writer.add(block.text, _level(block.style.name if block.style is not None else ""))
        title = " ".join((document.core_properties.title or "").split()) or None
    except (OpcError, KeyError, ValueError, SyntaxError, zipfile.BadZipFile, AttributeError) as error:
        raise _broken(error) from None
    return one("docx", writer.page(None), title)


def parse_pptx(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a presentation; a slide is a page.

    Raises:
        DocumentError: it is damaged.
    """
    import pptx
    from pptx.exc import PythonPptxError

    try:
        deck = pptx.Presentation(str(path))
        slides = list(deck.slides)
        title = " ".join((deck.core_properties.title or "").split()) or None
    except (PythonPptxError, KeyError, ValueError, SyntaxError, zipfile.BadZipFile, AttributeError) as error:
        raise _broken(error) from None
    return Parsed("pptx", len(slides), title, _slides(slides[: limits.pages], first))


def _slides(slides: list[Any], first: int) -> Iterator[Page]:
    for number, slide in enumerate(slides, 1):
        if number < first:
            continue
        try:
            yield _slide(slide, number)
        except (KeyError, ValueError, AttributeError):
            yield Page(number, "failed")


def _slide(slide: Any, number: int) -> Page:
    writer = Writer()
    title, pictures = slide.shapes.title, False
    if title is not None:
        writer.add(title.text_frame.text, 1)
    for shape in _shapes(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        pictures = pictures or hasattr(shape, "image")
        if shape.has_text_frame:
            writer.add("\n".join(paragraph.text for paragraph in shape.text_frame.paragraphs))
        if shape.has_table:
            for line in _rows([cell.text for cell in row.cells] for row in shape.table.rows):
                writer.add(line)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        writer.add(slide.notes_slide.notes_text_frame.text)
    return writer.page(number)


def _shapes(shapes: Any) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def _rows(rows: Iterable[list[str]]) -> Iterator[str]:
    """Rows of a table, each with the heads of its columns, so that a row is understood alone."""
    heads: list[str] | None = None
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if heads is None:
            heads = cells
            yield " | ".join(cells)
        else:
            pairs = zip(heads, cells, strict=False)
            yield "; ".join(f"{head}: {cell}" if head and head != cell else cell for head, cell in pairs if cell)


def _level(style: str) -> int:
    if style.lower() == "title":
        return 1
    found = _LEVEL.match(style)
    return int(found[1]) if found else 0


def _broken(error: Exception) -> DocumentError:
    return DocumentError("broken", f"its parts cannot be read ({type(error).__name__}): it is damaged")

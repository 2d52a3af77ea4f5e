"""PDF, by pdfium: text with the place of each character. Scripts and forms are not run: only text is asked for."""

from __future__ import annotations

import ctypes
import dataclasses
import statistics
from collections.abc import Iterator
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from zentoria_rag.parsing.model import Box, DocumentError, Limits, Page, Parsed, Writer

GRID = 10_000
"""Boxes are told to so many parts of a page."""
MAX_BOXES = 80
_HYPHEN, _SOFT = "\x02", "\u00ad"
_PARAGRAPH = 1.6
"""Lines whose tops are further apart than so many line heights are of two paragraphs."""
_HEADING = 1.18
"""A short line so much taller than most of the page's is a heading."""


def parse(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a PDF.

    Raises:
        DocumentError: it wants a password, or is none.
    """
    try:
        document = pdfium.PdfDocument(path)
        total = len(document)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise DocumentError("encrypted", "it is encrypted: store it without a password") from None
        raise DocumentError("broken", "pdfium cannot open it: it is damaged, or no PDF") from None
    if not total:
        raise DocumentError("broken", "it has no pages")
    title = " ".join(document.get_metadata_value("Title").split()) or None
    return Parsed("pdf", total, title, _pages(document, first, min(total, limits.pages)))


def _pages(document: pdfium.PdfDocument, first: int, last: int) -> Iterator[Page]:
    for number in range(first, last + 1):
        try:
            page = document[number - 1]
            try:
                yield _page(page, number)
            finally:
                page.close()
        except pdfium.PdfiumError:
            yield Page(number, "failed")


@dataclasses.dataclass
class _Line:
    """Characters of a line by their numbers on the page, and where it is from the top."""

    text: str
    first: int
    top: float
    height: float


def _page(page: pdfium.PdfPage, number: int) -> Page:
    textpage = page.get_textpage()
    count = textpage.count_chars()
    codes = [raw.FPDFText_GetUnicode(textpage, index) for index in range(count)]
    characters = [_character(code) for code in codes]
    told = [one for one in characters if not one.isspace()]
    strange = sum(one == "\ufffd" or "\ue000" <= one <= "\uf8ff" for one in told)
    if not told or strange * 2 > len(told):
        return Page(number, "unread" if _has_objects(page) else "empty")
    lines = _lines(textpage, characters)
    text, headings, origin = _text(lines)

    def locate(start: int, end: int) -> list[Box]:
        numbers = [one for one in origin[start:end] if one >= 0]
        return _boxes(page, textpage, numbers[0], numbers[-1]) if numbers else []

    found = Writer()
    for offset, level in headings:
        found.add(text[offset : offset + 200].partition("\n")[0], level)
    made = found.page(number).headings
    placed = tuple(dataclasses.replace(one, offset=at) for one, (at, _) in zip(made, headings, strict=True))
    return Page(number, "read", text, placed, locate)


def _character(code: int) -> str:
    if code == 0 or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
        return "\ufffd" if code else " "
    return chr(code)


def _has_objects(page: pdfium.PdfPage) -> bool:
    return bool(raw.FPDFPage_CountObjects(page) > 0)


def _lines(textpage: pdfium.PdfTextPage, characters: list[str]) -> list[_Line]:
    """Pdfium puts line ends between lines; each line's height is that of its first visible character."""
    lines, start = [], 0
    for index, character in enumerate([*characters, "\n"]):
        if character not in "\r\n" and (character != _HYPHEN):
            continue
        if character == _HYPHEN and index + 1 < len(characters) and characters[index + 1] not in "\r\n":
            lines.append(_line(textpage, characters, start, index + 1))
            start = index + 1
        elif character in "\r\n":
            if index > start:
                lines.append(_line(textpage, characters, start, index))
            start = index + 1
    return [line for line in lines if line.text.strip()]


def _line(textpage: pdfium.PdfTextPage, characters: list[str], start: int, end: int) -> _Line:
    rect = raw.FS_RECTF()
    for index in range(start, end):
        if not characters[index].isspace() and raw.FPDFText_GetLooseCharBox(textpage, index, rect):
            return _Line("".join(characters[start:end]), start, rect.top, abs(rect.top - rect.bottom))
    return _Line("".join(characters[start:end]), start, 0.0, 0.0)


def _text(lines: list[_Line]) -> tuple[str, list[tuple[int, int]], list[int]]:
    """The page's text, its headings (offset, level), and each character's number on the page (-1: it is ours)."""
    heights = [line.height for line in lines for _ in range(min(len(line.text), 60)) if line.height]
    usual = statistics.median(heights) if heights else 0.0
    text: list[str] = []
    origin: list[int] = []
    headings: list[tuple[int, int]] = []
    before: _Line | None = None
    before_level = 0

    def put(piece: str, first: int) -> None:
        text.extend(piece)
        origin.extend(range(first, first + len(piece)) if first >= 0 else [-1] * len(piece))

    for line in lines:
        level = _level(line, usual)
        apart = before is not None and abs(before.top - line.top) > _PARAGRAPH * max(before.height, line.height, 1.0)
        if before is not None:
            if level and level == before_level and not apart:
                put(" ", -1)  # a heading of two lines
            elif level:
                put("\n\n\n", -1)
            elif before_level or apart:
                put("\n\n", -1)
            elif text and text[-1] in (_HYPHEN, _SOFT):
                text.pop()
                origin.pop()
            else:
                put(" ", -1)
        if level and (before is None or level != before_level or apart):
            headings.append((len(text), level))
        put(line.text, line.first)
        before, before_level = line, level
    return "".join(text).replace(_HYPHEN, "-"), headings, origin


def _level(line: _Line, usual: float) -> int:
    words = line.text.strip()
    if not usual or len(words) > 120 or not any(one.isalpha() for one in words):
        return 0
    share = line.height / usual
    return 0 if share < _HEADING else 1 if share >= 1.7 else 2 if share >= 1.35 else 3


def _boxes(page: pdfium.PdfPage, textpage: pdfium.PdfTextPage, first: int, last: int) -> list[Box]:
    count = raw.FPDFText_CountRects(textpage, first, last - first + 1)
    found: list[Box] = []
    edges = [ctypes.c_double() for _ in range(4)]
    for index in range(max(0, count)):
        if not raw.FPDFText_GetRect(textpage, index, *edges):
            continue
        left, top, right, bottom = (edge.value for edge in edges)
        (x0, y0), (x1, y1) = _shown(page, left, top), _shown(page, right, bottom)
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        if found and abs(found[-1][1] - box[1]) < 0.004 and abs(found[-1][3] - box[3]) < 0.004:
            last_one = found.pop()
            box = (min(last_one[0], box[0]), min(last_one[1], box[1]), max(last_one[2], box[2]),
                   max(last_one[3], box[3]))  # fmt: skip
        found.append(box)
    if len(found) > MAX_BOXES:  # a page in a hundred columns: one box around it all
        return [(min(b[0] for b in found), min(b[1] for b in found), max(b[2] for b in found),
                 max(b[3] for b in found))]  # fmt: skip
    return found


def _shown(page: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    """A point of the page as shares of what is shown: turned, and cut, as the page says."""
    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, GRID, GRID, 0, x, y, across, down)
    return _share(across.value), _share(down.value)


def _share(value: int) -> float:
    return min(1.0, max(0.0, value / GRID))

"""Tables: Excel by openpyxl, CSV by the standard library. A row is written with the heads of its columns."""

from __future__ import annotations

import csv
import datetime
import itertools
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zentoria_rag.parsing.model import DocumentError, Limits, Page, Parsed, Writer, one
from zentoria_rag.parsing.plain import decoded

ROWS = 100_000
"""That are read of a table; what has more is data, and no document."""


def parse_xlsx(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a workbook; a sheet is a page. Formulas have the values that they had when it was saved.

    Raises:
        DocumentError: it is damaged.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with path.open("rb") as file:  # by its content: the name may say something else
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = [(sheet.title, _read(sheet)) for sheet in book.worksheets[: limits.pages]]
            total = len(book.worksheets)
            book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, SyntaxError, TypeError, OSError) as error:
        raise DocumentError("broken", f"its parts cannot be read ({type(error).__name__}): it is damaged") from None
    return Parsed("xlsx", total, None, (page for page in _sheets(sheets) if (page.number or 0) >= first))


def parse_csv(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a table in text form."""
    text = decoded(path)
    try:
        dialect: Any = csv.Sniffer().sniff(text[:8192], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = list(itertools.islice(csv.reader(text.splitlines(), dialect), ROWS))
    except csv.Error:
        rows = [[line] for line in text.splitlines()[:ROWS]]
    return one("csv", _table("", rows, None))


def _read(sheet: Any) -> list[list[str]]:
    found = []
    for row in itertools.islice(sheet.iter_rows(values_only=True), ROWS):
        cells = [_cell(value) for value in row]
        if any(cells):
            found.append(cells)
    return found


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return " ".join(str(value).split())


def _sheets(sheets: Iterable[tuple[str, Sequence[Sequence[str]]]]) -> Iterator[Page]:
    for number, (title, rows) in enumerate(sheets, 1):
        yield _table(title, rows, number)


def _table(title: str, rows: Sequence[Sequence[str]], number: int | None) -> Page:
    writer = Writer()
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    if title and filled:
        writer.add(title, 1)
    heads = list(filled[0]) if len(filled) > 1 and all(not _is_number(cell) for cell in filled[0]) else []
    for row in filled[1:] if heads else filled:
        pairs = itertools.zip_longest(heads[: len(row)], row, fillvalue="")
        writer.add("; ".join(f"{head}: {cell}" if head else cell for head, cell in pairs if cell.strip()))
    if heads and len(filled) == 1:
        writer.add("; ".join(heads))
    return writer.page(number)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True

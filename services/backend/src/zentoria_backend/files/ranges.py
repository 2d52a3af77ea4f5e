"""Parts of a file that a client asks for (RFC 9110, section 14). Pure."""

from __future__ import annotations

import dataclasses
import re

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,20})-(\d{0,20})[ \t]*", re.ASCII)
"""One range of bytes. Several at once, and other units, are not taken: the whole file is the answer (section 14.2)."""


class Unsatisfiable(Exception):
    """Nothing of the file is in the range: 416."""


@dataclasses.dataclass(frozen=True)
class Span:
    """A part of a file.

    Args:
        start: the first byte.
        length: how many bytes.
    """

    start: int
    length: int

    def header(self, size: int) -> str:
        """``Content-Range`` of a file of that size."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def span_of(header: str | None, size: int) -> Span | None:
    """What a header ``Range`` asks for; None: the whole file.

    Args:
        header: as it came.
        size: of the file, in bytes.

    Raises:
        Unsatisfiable: it begins behind the end, or asks for nothing.
    """
    found = _RANGE.fullmatch(header) if header is not None else None
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        if not length:
            raise Unsatisfiable
        return Span(size - length, length)
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None  # not valid: as if it were not there
    if start >= size:
        raise Unsatisfiable
    return Span(start, end - start + 1)


def applies(if_range: str | None, etag: str) -> bool:
    """Whether ``If-Range`` lets a range through: without one, or with this very (strong) entity tag.

    A date does not: it says too little of what is in a file.
    """
    return if_range is None or if_range.strip() == etag

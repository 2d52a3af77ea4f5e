"""``multipart/form-data`` (RFC 7578) as it comes: small fields are kept, the one file goes on in chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from zentoria_common.problems import Problem

MAX_PARTS = 16
MAX_FIELD = 4096
"""Bytes of one field."""


class Form:
    """Reads one body. First :meth:`file_begins`, which leaves the fields before the file; then :meth:`chunks`.

    Args:
        content_type: of the request.
        body: its chunks.

    Raises:
        Problem: 400, it says no boundary.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= 256:
            raise _bad("it says no boundary")
        self._body = body
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._field,
                "on_header_value": self._value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.mime_type: str | None = None
        self._parts = 0
        self._headers_here: dict[bytes, bytes] = {}
        self._name = self._of = b""
        self._current: str | None = None
        self._text = bytearray()
        self._in_file = self._file_ended = self._ended = False
        self._ready: list[bytes] = []

    async def file_begins(self) -> None:
        """Read until the file begins.

        Raises:
            Problem: 400, it is not of its form; 422, there is no file in it.
        """
        async for chunk in self._body:
            self._feed(chunk)
            if self._in_file or self._file_ended:
                return
        raise Problem(422, "the form has no part 'file' with a file name")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes. At their end the whole form is read.

        Raises:
            Problem: 400, it is not of its form, or ends too early.
        """
        for one in self._taken():
            yield one
        async for chunk in self._body:
            self._feed(chunk)
            for one in self._taken():
                yield one
        if not self._ended:
            raise _bad("it ends too early")

    def _taken(self) -> list[bytes]:
        ready, self._ready = self._ready, []
        return ready

    def _feed(self, chunk: bytes) -> None:
        if not chunk:
            return
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise _bad(str(error)[:200]) from None

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _bad(f"it has more than {MAX_PARTS} parts")
        self._headers_here = {}
        self._name = self._of = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._of += data[start:end]

    def _header_end(self) -> None:
        self._headers_here[self._name.lower()] = self._of
        self._name = self._of = b""

    def _headers(self) -> None:
        kind, options = parse_options_header(self._headers_here.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not name:
            raise _bad("a part has no name")
        if b"filename" in options:
            if self._in_file or self._file_ended:
                raise _bad("it has more than one file")
            self._in_file = True
            self.filename = options[b"filename"].decode("utf-8", "replace")
            declared = self._headers_here.get(b"content-type")
            self.mime_type = declared.decode("latin-1") if declared else None
            self._current = None
        else:
            self._current, self._text = name, bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._current is None:
            self._ready.append(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > MAX_FIELD:
            raise _bad(f"a field has more than {MAX_FIELD} bytes")

    def _part_end(self) -> None:
        if self._current is not None:
            try:
                self.fields[self._current] = self._text.decode("utf-8")
            except UnicodeDecodeError:
                raise _bad("a field is not UTF-8") from None
        elif self._in_file:
            self._in_file, self._file_ended = False, True

    def _end(self) -> None:
        self._ended = True


def _bad(why: str) -> Problem:
    return Problem(400, f"the form cannot be read: {why}", kind="bad-form")

"""Names and kinds of files, as clients say them and as their first bytes do. Pure."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from urllib.parse import quote

import puremagic
from zentoria_common.problems import Problem

HEAD_BYTES = 8192
"""How much of a file says what it is."""
MAX_NAME = 255
BINARY, TEXT = "application/octet-stream", "text/plain"
_MIME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,80}")
_OFFICE = "application/vnd.openxmlformats-officedocument."
_ZIP = b"PK\x03\x04"

SIGNED: dict[str, tuple[bytes, ...]] = {
    "application/gzip": (b"\x1f\x8b",),
    "application/pdf": (b"%PDF-",),
    "application/vnd.rar": (b"Rar!\x1a\x07",),
    "application/x-7z-compressed": (b"7z\xbc\xaf\x27\x1c",),
    "application/zip": (_ZIP, b"PK\x05\x06"),
    f"{_OFFICE}presentationml.presentation": (_ZIP,),
    f"{_OFFICE}spreadsheetml.sheet": (_ZIP,),
    f"{_OFFICE}wordprocessingml.document": (_ZIP,),
    "application/epub+zip": (_ZIP,),
    "application/vnd.oasis.opendocument.text": (_ZIP,),
    "application/vnd.oasis.opendocument.spreadsheet": (_ZIP,),
    "image/bmp": (b"BM",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "image/webp": (b"RIFF",),
    "audio/flac": (b"fLaC",),
    "audio/ogg": (b"OggS",),
    "audio/wav": (b"RIFF",),
}
"""Kinds of which every file begins with certain bytes: who says that it is one, and has others, is refused."""


def clean_name(name: str | None) -> str:
    """A name from outside, made fit to be kept and shown. It never becomes part of a path.

    Without folders, control characters and characters that turn text around; at most :data:`MAX_NAME` characters.
    """
    text = unicodedata.normalize("NFC", (name or "").encode("utf-8", "replace").decode("utf-8", "replace"))
    text = re.split(r"[/\\]", text)[-1]
    text = "".join(one for one in text if unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
    text = text.strip().strip(".") if set(text.strip()) <= {"."} else text.strip()
    if len(text) > MAX_NAME:
        stem, dot, end = text.rpartition(".")
        text = f"{stem[: MAX_NAME - len(end) - 1]}.{end}" if dot and len(end) <= 16 else text[:MAX_NAME]
    return text or "file"


def name_of(name: str, mime_type: str) -> str:
    """The name of a version that another kind of content was made of: a scan that became a PDF ends with ``.pdf``."""
    if mime_type != "application/pdf" or name.lower().endswith(".pdf"):
        return name
    stem, dot, end = name.rpartition(".")
    return f"{stem if dot and 0 < len(end) <= 5 else name}"[: MAX_NAME - 4] + ".pdf"


def disposition(name: str) -> str:
    """``Content-Disposition`` of a download: an ASCII name for old clients, and the real one (RFC 6266, RFC 8187)."""
    plain = "".join(one if one.isascii() and one.isprintable() and one not in '"\\%' else "_" for one in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def judge(declared: str | None, name: str, head: bytes) -> str:
    """The kind of a file: what was declared where its first bytes agree, else what they say.

    Args:
        declared: ``Content-Type`` as it came; None: nobody said.
        name: of the file.
        head: its first :data:`HEAD_BYTES`, or all of it.

    Raises:
        Problem: 415, it is declared to be what it cannot be.
    """
    said = (declared or "").partition(";")[0].strip().lower()
    if not _MIME.fullmatch(said) or said in (BINARY, "binary/octet-stream", "application/x-www-form-urlencoded"):
        said = ""
    if said in SIGNED:
        if head and not head.startswith(SIGNED[said]):
            text = f"the file is declared as {said}, and does not begin like one"
            raise Problem(415, text, kind="content-mismatch", declared=said, detected=detect(head))
        return said
    found = detect(head)
    if found not in (BINARY, TEXT):
        return found
    guessed = said or mimetypes.guess_type(name)[0] or found
    if guessed in SIGNED and head:
        return found  # the name says so, and the first bytes do not
    if found == BINARY and guessed.startswith("text/"):
        return BINARY
    return guessed


def detect(head: bytes) -> str:
    """What the first bytes say, as a MIME type; text, or anything."""
    for kind in ("application/pdf", "image/png", "image/jpeg", "image/gif", "application/gzip", "audio/flac"):
        if head.startswith(SIGNED[kind]):
            return kind
    if is_text(head):
        return TEXT
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return BINARY
    sure = [one for one in found if one.confidence >= 0.4 and _MIME.fullmatch(one.mime_type)]
    # Several kinds begin like a ZIP archive; which one it is stands further behind.
    return "application/zip" if head.startswith(_ZIP) else (sure[0].mime_type if sure else BINARY)


def is_text(head: bytes) -> bool:
    """Whether it is UTF-8 without control characters; what is cut at its end counts."""
    if any(one < 32 and one not in (9, 10, 12, 13) for one in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) - error.start < 4 and error.reason == "unexpected end of data"
    return True

"""What a file is, by its content: names and declared types are wrong too often."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal

from zentoria_rag.parsing.model import DocumentError, Limits

Kind = Literal["pdf", "docx", "pptx", "xlsx", "html", "markdown", "csv", "mail", "text", "image"]

HEAD = 8192
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"GIF87a", b"GIF89a", b"BM")
_OFFICE: tuple[tuple[str, Kind], ...] = (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx"))
_RATIO = 200
"""Parts of office documents shrink to a twentieth; what shrinks more than this, and is large, was made to harm."""
_RATIO_FROM = 50 * 1024 * 1024
_HTML = re.compile(rb"^\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)
_MAIL = re.compile(rb"^(From |Received:|Return-Path:|Delivered-To:|Message-ID:|MIME-Version:|From:|Date:|Subject:|To:)",
                   re.I)  # fmt: skip
_FIELD = re.compile(rb"^[A-Za-z][A-Za-z0-9-]*:")


def kind_of(path: Path, filename: str, mime: str, limits: Limits) -> Kind:
    """What the file at ``path`` is.

    Raises:
        DocumentError: it is nothing that is read, it is encrypted, or unpacks to more than it may.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
        if path.stat().st_size > HEAD:
            raise DocumentError("broken", "it begins with nothing but zeros")
        return "text"
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _packed(path, limits)
    if head.startswith(_OLE):
        return _old(path)
    if head.startswith(_IMAGES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    return _text(head, filename.lower(), mime.partition(";")[0].strip().lower())


def _packed(path: Path, limits: Limits) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise DocumentError("broken", "it is a packed file whose list of parts cannot be read") from None
    size = sum(one.file_size for one in parts)
    packed = sum(one.compress_size for one in parts) or 1
    if size > limits.unpacked or (size > _RATIO_FROM and size / packed > _RATIO) or len(parts) > 20_000:
        raise DocumentError("bomb", f"its parts unpack to {size // 1024 // 1024} MiB: more than a document may")
    if any(one.flag_bits & 1 for one in parts):
        raise DocumentError("encrypted", "it is encrypted: store it without a password")
    names = [one.filename for one in parts]
    if "[Content_Types].xml" in names:
        for prefix, kind in _OFFICE:
            if any(name.startswith(prefix) for name in names):
                return kind
    raise DocumentError("unsupported", "it is an archive, or an office document of a kind that is not read")


def _old(path: Path) -> Kind:
    """Office encrypts new documents into the container of the old ones."""
    with path.open("rb") as file:
        content = file.read(1024 * 1024)
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise DocumentError("encrypted", "it is encrypted: store it without a password")
    raise DocumentError("unsupported", "it is an office document of the old kind: save it as .docx, .pptx or .xlsx")


def _text(head: bytes, filename: str, mime: str) -> Kind:
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\x00" in head and not wide:
        raise DocumentError("unsupported", "it is no text, and of no kind that is read")
    if _HTML.match(head) or mime in ("text/html", "application/xhtml+xml") or filename.endswith((".html", ".htm")):
        return "html"
    if _is_mail(head, filename, mime):
        return "mail"
    if mime in ("text/csv", "text/tab-separated-values") or filename.endswith((".csv", ".tsv")):
        return "csv"
    if mime == "text/markdown" or filename.endswith((".md", ".markdown")):
        return "markdown"
    return "text"


def _is_mail(head: bytes, filename: str, mime: str) -> bool:
    if not _MAIL.match(head):
        return False
    if mime == "message/rfc822" or filename.endswith(".eml"):
        return True
    fields = [line for line in re.split(rb"\r?\n", head.partition(b"\n\n")[0].partition(b"\r\n\r\n")[0]) if line]
    named = {line.partition(b":")[0].lower() for line in fields if _FIELD.match(line)}
    return len(named & {b"from", b"to", b"date", b"subject", b"message-id", b"received", b"mime-version"}) >= 3

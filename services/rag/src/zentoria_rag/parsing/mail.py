"""E-mail (RFC 5322, MIME), by the standard library: head, text, and the names of what is attached."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path

from zentoria_rag.parsing.model import DocumentError, Limits, Parsed, Writer, one
from zentoria_rag.parsing.plain import decoded_bytes
from zentoria_rag.parsing.web import page_of

_FIELDS = ("From", "To", "Cc", "Date", "Subject")


def parse_mail(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a message.

    Raises:
        DocumentError: it is damaged beyond what the standard library mends.
    """
    try:
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        return _parsed(message)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DocumentError("broken", f"its parts cannot be read ({type(error).__name__}): it is damaged") from None


def _parsed(message: EmailMessage) -> Parsed:
    writer = Writer()
    subject = " ".join(str(message.get("Subject") or "").split())
    writer.add(subject, 1)
    fields = [(name, " ".join(str(message[name]).split())) for name in _FIELDS if message[name]]
    writer.add("\n".join(f"{name}: {value}" for name, value in fields))
    body = message.get_body(("plain", "html"))
    if body is not None:
        content = body.get_payload(decode=True)
        text = decoded_bytes(content if isinstance(content, bytes) else b"", body.get_content_charset() or "")
        if body.get_content_type() == "text/html":
            text = page_of(text)[0].text
        for paragraph in text.replace("\r\n", "\n").split("\n\n"):
            writer.add(paragraph)
    names = [one.get_filename() or one.get_content_type() for one in message.iter_attachments()]
    if names:
        writer.add(f"Attachments: {', '.join(names)}")
    return one("mail", writer.page(None), subject or None)

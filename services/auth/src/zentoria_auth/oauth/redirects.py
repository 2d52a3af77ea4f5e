"""Redirect URIs: which may be registered, which request fits a registered one, and what is sent back over them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode, urlsplit

MAX_LENGTH = 2048
# The whole URI is one of these forms, so that no two parsers can disagree about where its host ends.
_HTTPS = re.compile(r"https://([A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?(?:[/?][^#]*)?")
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(?::([0-9]{1,5}))?((?:[/?][^#]*)?)")
_PRIVATE = re.compile(r"([a-z][a-z0-9+.-]{1,63}):/[^#]*")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
# What a browser itself handles: none of them leads to a program that asked for access.
_BROWSERS_OWN = frozenset(
    {
        "about",
        "blob",
        "chrome",
        "data",
        "edge",
        "file",
        "filesystem",
        "ftp",
        "http",
        "https",
        "intent",
        "jar",
        "javascript",
        "mailto",
        "ms-browser-extension",
        "resource",
        "tel",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    }
)


def check(uri: str) -> None:
    """See whether ``uri`` may be registered.

    HTTPS, plain HTTP to the client's own machine (RFC 8252 section 7.3), or a scheme of the client's own (7.1).

    Raises:
        ValueError: it may not; the text says why.
    """
    if len(uri) > MAX_LENGTH or not _PRINTABLE.fullmatch(uri) or "\\" in uri:
        raise ValueError("a redirect URI is printable ASCII of at most 2048 characters, without backslashes")
    if "#" in uri:
        raise ValueError("a redirect URI has no fragment")
    if _HTTPS.fullmatch(uri) or _LOOPBACK.fullmatch(uri):
        return
    private = _PRIVATE.fullmatch(uri)
    if private is None or private[1] in _BROWSERS_OWN:
        raise ValueError("a redirect URI begins with https, with http to a loopback address, or with an own scheme")


def is_loopback(uri: str) -> bool:
    """Whether the answer goes to the machine that the browser runs on."""
    return _LOOPBACK.fullmatch(uri) is not None


def matches(registered: Iterable[str], requested: str) -> bool:
    """Whether ``requested`` is one of ``registered``.

    Compared as strings (OAuth 2.1 section 2.3.1); only the port of a loopback address is free, since a native client
    takes one that happens to be free (RFC 8252 section 7.3).
    """
    loopback = _LOOPBACK.fullmatch(requested)
    for uri in registered:
        if uri == requested:
            return True
        same = _LOOPBACK.fullmatch(uri)
        if loopback and same and (same[1], same[3]) == (loopback[1], loopback[3]):
            return True
    return False


def answer(uri: str, parameters: Mapping[str, str | None]) -> str:
    """Add ``parameters`` to the query of ``uri``, which keeps its own (RFC 6749 section 3.1.2); None is left out."""
    added = urlencode({name: value for name, value in parameters.items() if value is not None})
    separator = "&" if "?" in uri else "?"
    if uri.endswith(("?", "&")):
        separator = ""
    return f"{uri}{separator}{added}"


def place(uri: str) -> str:
    """What a person is told about where the answer goes: a host, or a scheme."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return parts.hostname or ""
    return f"{parts.scheme}:"


def form_action(uri: str) -> str:
    """The source expression for ``form-action`` of a Content-Security-Policy: browsers hold redirects after it too."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"

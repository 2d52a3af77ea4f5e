"""HTML, by lxml: what a reader sees, without scripts, styles and what is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zentoria_rag.parsing.model import Limits, Page, Parsed, Writer, one
from zentoria_rag.parsing.plain import decoded_bytes

_LEFT_OUT = frozenset({"script", "style", "template", "noscript", "svg", "iframe", "object", "head", "nav", "select"})
_BLOCKS = frozenset(
    {"p", "div", "section", "article", "li", "ul", "ol", "dl", "dt", "dd", "table", "tr", "blockquote", "pre", "main",
     "header", "footer", "aside", "figure", "figcaption", "form", "br", "hr", "body", "address", "details", "summary"}
)  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
DEPTH = 500


def parse_html(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Open a page of the web."""
    page, title = page_of(decoded_bytes(path.read_bytes()))
    return one("html", page, title)


def page_of(text: str) -> tuple[Page, str | None]:
    """What is shown of ``text``, and its title."""
    from lxml import etree, html

    # An encoding that the text declares is not its own any more: it is decoded.
    parser = html.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False, remove_comments=True, remove_pis=True)
    try:
        root = html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return Writer().page(None), None
    found = root.find(".//title")
    title = " ".join("".join(found.itertext()).split()) or None if found is not None else None
    walk = _Walk()
    walk.element(root, 0)
    walk.flush()
    return walk.writer.page(None), title


class _Walk:
    def __init__(self) -> None:
        self.writer = Writer()
        self._parts: list[str] = []

    def flush(self, level: int = 0) -> None:
        self.writer.add(" ".join("".join(self._parts).split()), level)
        self._parts.clear()

    def element(self, node: Any, depth: int) -> None:
        tag = node.tag if isinstance(node.tag, str) else ""
        if tag in _LEFT_OUT or depth > DEPTH or node.get("hidden") is not None or _unseen(node.get("style") or ""):
            return
        level = _HEADINGS.get(tag, 0)
        block = level or tag in _BLOCKS
        if block:
            self.flush()
        elif tag in ("td", "th"):
            self._parts.append(" | " if "".join(self._parts).strip() else "")
        self._parts.append(node.text or "")
        for child in node:
            self.element(child, depth + 1)
            self._parts.append(child.tail or "")
        if block:
            self.flush(level)


def _unseen(style: str) -> bool:
    plain = style.replace(" ", "").lower()
    return "display:none" in plain or "visibility:hidden" in plain

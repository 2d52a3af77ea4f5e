"""The process that reads one document: ``python -m zentoria_rag.parsing.child``, a job on standard input.

It writes a line of JSON a page to standard output, and the last line says how it ended. It has bounds of memory and
processor time, and no variables: what a document makes it do ends with it.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zentoria_rag.chunking.language import language_of
from zentoria_rag.chunking.split import Splitter
from zentoria_rag.parsing import kinds
from zentoria_rag.parsing.model import DocumentError, Limits, Parsed

Parser = Callable[[Path, Limits, int], Parsed]


def parser_of(kind: str) -> Parser:
    """The parser of a kind; only that one is loaded."""
    if kind == "pdf":
        from zentoria_rag.parsing.pdf import parse

        return parse
    if kind in ("docx", "pptx"):
        from zentoria_rag.parsing import office

        return office.parse_docx if kind == "docx" else office.parse_pptx
    if kind in ("xlsx", "csv"):
        from zentoria_rag.parsing import sheets

        return sheets.parse_xlsx if kind == "xlsx" else sheets.parse_csv
    if kind == "html":
        from zentoria_rag.parsing.web import parse_html

        return parse_html
    if kind == "mail":
        from zentoria_rag.parsing.mail import parse_mail

        return parse_mail
    if kind == "image":
        from zentoria_rag.parsing.pictures import parse_image

        return parse_image
    from zentoria_rag.parsing import plain

    return plain.parse_markdown if kind == "markdown" else plain.parse_text


def read(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines about one document.

    Args:
        job: ``path``, ``filename``, ``mime``, ``first`` (page), ``pages`` and ``unpacked`` (limits), ``tokenizer``,
            ``tokens``, ``overlap``.
    """
    limits = Limits(job["pages"], job["unpacked"])
    path = Path(job["path"])
    kind = kinds.kind_of(path, job["filename"], job["mime"], limits)
    parsed = parser_of(kind)(path, limits, job["first"])
    title = storable(parsed.title)[:300] if parsed.title else None
    yield {"event": "start", "kind": kind, "pages": parsed.total, "title": title}
    splitter = Splitter(job["tokenizer"], job["tokens"], job["overlap"])
    language = "simple"
    for page in parsed.pages:
        language = language_of(page.text) or language
        chunks = [
            {
                "text": storable(one.text),
                "heading": [storable(text) for text in one.heading],
                "boxes": one.boxes,
                "page": page.number,
            }
            for one in splitter.chunks(page)
        ]
        yield {
            "event": "page",
            "page": page.number or 1,
            "state": page.state,
            "language": language,
            "chunks": chunks,
        }
    yield {"event": "end"}


def storable(text: str) -> str:
    """A text as PostgreSQL can keep it: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def main() -> int:
    """Read the job, and write what comes of it."""
    job = json.loads(sys.stdin.readline())
    memory, seconds = int(job["memory"]), int(job["seconds"])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no file
    sys.setrecursionlimit(5000)
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a library prints is no answer
        try:
            for line in read(job):
                out.write(json.dumps(line, ensure_ascii=True) + "\n")
                out.flush()
        except DocumentError as error:
            out.write(json.dumps({"event": "failed", "code": error.code, "detail": error.detail}) + "\n")
        except MemoryError:
            out.write(json.dumps({"event": "failed", "code": "memory", "detail": ""}) + "\n")
        except RecursionError:
            out.write(json.dumps({"event": "failed", "code": "broken", "detail": "it is nested too deep"}) + "\n")
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

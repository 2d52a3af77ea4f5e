"""Runs the process that reads a document, and bounds its time: page by page, and in all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from zentoria_rag.parsing.model import Code, DocumentError
from zentoria_rag.settings import Settings

START_SECONDS = 60.0
"""Until the first line: the program is loaded and the document opened, on a machine that may be busy."""
LINE_BYTES = 64 * 1024 * 1024
BAD_PAGES = 5
"""That may end the process; then the document is given up."""


class ParserFailed(Exception):
    """The process ended without saying how: killed from outside, or it never began. Another try may do."""


class _Died(Exception):
    """It ended, or was ended, in the midst of a page."""

    def __init__(self, why: Code) -> None:
        super().__init__(why)
        self.why: Code = why


async def parse(settings: Settings, path: Path, filename: str, mime: str) -> AsyncGenerator[Mapping[str, Any]]:
    """Read a document: a line ``start`` (kind, pages, title), then one ``page`` each.

    A page that takes too long, or more memory than there is, or on which the parser crashes, is ``failed``, and a new
    process goes on behind it.

    Raises:
        DocumentError: the document cannot be read.
        ParserFailed: see there.
    """
    first, bad, started = 1, 0, False
    total, last_page = 1, 0
    deadline = asyncio.get_running_loop().time() + settings.parse_seconds
    while True:
        try:
            async with contextlib.aclosing(_process(settings, path, filename, mime, first, deadline)) as lines:
                async for line in lines:
                    if line["event"] == "start":
                        total = min(int(line["pages"]), settings.parse_pages)
                        if started:
                            continue
                        started = True
                    elif line["event"] == "page":
                        last_page = int(line["page"])
                    yield line
            return
        except _Died as error:
            if not started or asyncio.get_running_loop().time() >= deadline or (error.why == "timeout" and total == 1):
                raise DocumentError(error.why, _why(error.why, settings)) from None
            bad += 1
            if bad > BAD_PAGES:
                raise DocumentError(error.why, f"more than {BAD_PAGES} of its pages cannot be read") from None
            last_page = max(last_page + 1, first)
            yield {"event": "page", "page": last_page, "state": "failed", "language": "simple", "chunks": []}
            first = last_page + 1
            if first > total:
                return


def _why(code: Code, settings: Settings) -> str:
    if code == "timeout":
        return f"it was not read in {settings.parse_seconds:g} s"
    if code == "memory":
        return f"to read it takes more than {settings.parse_memory // 1024 // 1024} MiB"
    return "the parser crashed on it: it is damaged"


async def _process(
    settings: Settings, path: Path, filename: str, mime: str, first: int, deadline: float
) -> AsyncGenerator[Mapping[str, Any]]:
    loop = asyncio.get_running_loop()
    job = {
        "path": str(path),
        "filename": filename,
        "mime": mime,
        "first": first,
        "pages": settings.parse_pages,
        "unpacked": settings.parse_unpacked,
        "tokenizer": str(settings.tokenizer_file or ""),
        "tokens": settings.chunk_tokens,
        "overlap": settings.chunk_overlap,
        "memory": settings.parse_memory,
        "seconds": max(1, round(settings.parse_seconds)),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "zentoria_rag.parsing.child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"LANG": "C.UTF-8", "PATH": os.defpath, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1",
             "PYTHONDONTWRITEBYTECODE": "1"},
        limit=LINE_BYTES,
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101 - see above
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
        patience = START_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + patience)):
                    raw = await process.stdout.readline()
            except TimeoutError:
                raise _Died("timeout") from None
            except ValueError:
                raise _Died("memory") from None
            if not raw.endswith(b"\n"):
                code = await process.wait()
                if code == 0 or (first == 1 and patience == START_SECONDS and code > 0):
                    raise ParserFailed(f"the parser ended with {code} before it said how")
                raise _Died("timeout" if code == -24 else "broken")  # SIGXCPU
            line: Mapping[str, Any] = json.loads(raw)
            if line["event"] == "failed":
                if line["code"] == "memory":
                    raise _Died("memory")
                raise DocumentError(line["code"], line["detail"])
            if line["event"] == "end":
                return
            patience = settings.parse_page_seconds
            yield line
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.shield(process.wait())

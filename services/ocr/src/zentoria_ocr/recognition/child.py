"""The process that reads one document: told a job on standard input, it says a JSON line for what it did.

What others made is opened here and nowhere else. It has limits of memory and file size, and may die of them: who
started it knows at which page, and starts another one for the rest.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zentoria_ocr.recognition.schemas import Job, PageResult

Say = Callable[..., None]
MOST_BYTES = 1 << 30
"""Of one file that it writes."""
NICE = 5
"""Requests are answered before pages are read."""
TOO_MUCH = 70
"""Exit code of a process that got no more memory."""


def main() -> int:
    """Do one job; returns the exit code."""
    told = Job.model_validate_json(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_DATA, (told.memory, told.memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)
    # Libraries and programs print: they get the log, and the pipe is ours alone.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as pipe:
        os.dup2(2, 1)

        def say(event: str, **values: object) -> None:
            pipe.write(json.dumps({"event": event, **values}) + "\n")
            pipe.flush()

        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            return work(told, say)
        except MemoryError:
            return TOO_MUCH


def work(job: Job, say: Say) -> int:
    """Open, read the pages, put them together."""
    from zentoria_ocr.recognition import documents
    from zentoria_ocr.recognition.repository import PageResults

    folder, results = Path(job.work), PageResults(Path(job.results))
    try:
        source = Path(job.source)
        if job.mime != documents.PDF:
            target = folder / "source.pdf"
            if not target.exists():
                documents.pdf_of_image(
                    source, job.mime, target,
                    max_image_pixels=job.max_image_pixels, max_pixels=job.max_pixels, most=job.max_pages,
                )  # fmt: skip
            source = target
        document = documents.open_pdf(source)
        wanted = _wanted(job, len(document.pages))
    except documents.Refused as error:
        say("refused", kind=error.kind, detail=error.detail)
        return 0
    say("opened", pages=len(document.pages), wanted=len(wanted))
    found = {page: result for page in wanted if (result := results.load(page)) is not None}
    for result in found.values():
        say("page", **result.model_dump())
    for page in wanted:
        if page not in found and page not in job.skip:
            say("begin", page=page)
            result = _read(job, document, page, results)
            found[page] = result
            say("page", **result.model_dump())
    say("begin", page=0)
    target = folder / "result.pdf"
    done = {page: results.pdf(page) for page, result in found.items() if result.state == "done"}
    documents.put_together(document, done, target)
    say("result", path=str(target))
    return 0


def _wanted(job: Job, count: int) -> list[int]:
    from zentoria_ocr.recognition.documents import Refused

    wanted = sorted(set(job.pages)) if job.pages else list(range(1, count + 1))
    if wanted[-1] > count:
        raise Refused("no-such-page", f"the document has {count} pages, and not page {wanted[-1]}")
    if len(wanted) > job.max_pages:
        raise Refused("too-many-pages", f"{len(wanted)} pages are to be read, and no more than {job.max_pages} may be")
    return wanted


def _read(job: Job, document: Any, page: int, results: Any) -> PageResult:
    """Give one page a text layer. What goes wrong with it is its own trouble, except for memory."""
    import ocrmypdf
    from ocrmypdf.exceptions import ExitCodeException

    from zentoria_ocr.recognition import documents
    from zentoria_ocr.recognition.engine import SEEN

    single, target = (Path(job.work) / name for name in ("page.pdf", "read.pdf"))
    SEEN.below, SEEN.threads, SEEN.confidence, SEEN.engine = job.second_opinion_below, job.threads, None, "tesseract"
    try:
        has_text = documents.cut_out(document, page, single, job.max_pixels)
        if has_text and not job.explicit:
            result = PageResult(page=page, state="skipped")
            results.save(result)
            return result
        ocrmypdf.ocr(
            single, target, plugins=["zentoria_ocr.recognition.engine"], language=list(job.languages),
            output_type="pdf", rasterizer="pypdfium", mode="force" if has_text else "skip", optimize=0,
            deskew=True, clean=True, rotate_pages=True, jobs=1, use_threads=True, progress_bar=False,
            tesseract_timeout=job.page_seconds, tesseract_non_ocr_timeout=job.page_seconds,
            max_image_mpixels=job.max_image_pixels / 1e6, max_ocr_image_mpixels=job.max_pixels / 1e6,
            invalidate_digital_signatures=True,
        )  # fmt: skip
    except MemoryError:
        raise
    except (ExitCodeException, Exception):
        return PageResult(page=page, state="failed", reason="unreadable")
    sure = None if SEEN.confidence is None else round(SEEN.confidence, 1)
    result = PageResult(page=page, state="done", confidence=sure, engine=SEEN.engine)
    results.save(result, target)
    with contextlib.suppress(OSError):
        single.unlink()
    return result


if __name__ == "__main__":
    sys.exit(main())

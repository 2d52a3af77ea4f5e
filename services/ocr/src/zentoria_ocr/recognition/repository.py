"""Results of pages on disk, by (content, page, languages): who comes again goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from zentoria_ocr.recognition.schemas import PageResult


class PageResults:
    """Results of one document in these languages: a folder with ``N.json`` and, of a page that was read, ``N.pdf``.

    The JSON file is written last and by renaming, so that what it speaks of is whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, page: int) -> PageResult | None:
        """What is known of a page; None: nothing."""
        try:
            found = PageResult.model_validate_json((self.folder / f"{page}.json").read_bytes())
        except (OSError, ValidationError):
            return None
        return found if found.state != "done" or self.pdf(page).exists() else None

    def pdf(self, page: int) -> Path:
        """The page with its text layer."""
        return self.folder / f"{page}.pdf"

    def save(self, result: PageResult, pdf: Path | None = None) -> None:
        """Keep what came of a page; ``pdf`` is moved here."""
        if pdf is not None:
            pdf.replace(self.pdf(result.page))
        unfinished = self.folder / f".{result.page}.json"
        unfinished.write_text(result.model_dump_json(), encoding="utf-8")
        unfinished.replace(self.folder / f"{result.page}.json")


class Store:
    """The folder of the service: ``pages`` with results, ``work`` with what is worked on by this process."""

    def __init__(self, folder: Path) -> None:
        self._pages, self._work = folder / "pages", folder / "work"

    def open(self) -> None:
        """Make the folders. What a process before us worked on is of no use any more.

        Raises:
            OSError: the folder is not ours to write.
        """
        shutil.rmtree(self._work, ignore_errors=True)
        for folder in (self._pages, self._work):
            folder.mkdir(parents=True, exist_ok=True)

    def results(self, sha256: str, languages: Sequence[str]) -> PageResults:
        """Results of a document, read in these languages."""
        name = hashlib.sha256(" ".join(languages).encode()).hexdigest()[:16]
        folder = self._pages / sha256 / name
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder.parent)
        return PageResults(folder)

    def work(self, name: str) -> Path:
        """A new folder to work in; its user removes it."""
        folder = self._work / name
        folder.mkdir()
        return folder

    def remove(self, sha256: str) -> None:
        """Remove all results of a document; nothing of it is left here."""
        shutil.rmtree(self._pages / sha256, ignore_errors=True)

    def forget(self, older_than: float) -> int:
        """Remove results of documents that nobody asked for in so many seconds; returns how many documents."""
        bound, count = time.time() - older_than, 0
        for folder in self._pages.iterdir():
            with contextlib.suppress(OSError):
                if folder.stat().st_mtime < bound:
                    shutil.rmtree(folder)
                    count += 1
        return count

"""OCRmyPDF's engine: Tesseract, and rapidocr where that is not sure. A plugin, loaded by this module's name.

https://ocrmypdf.readthedocs.io/en/latest/plugins.html says what a plugin is.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from ocrmypdf import hookimpl
from ocrmypdf.builtin_plugins.tesseract_ocr import TesseractOcrEngine

from zentoria_ocr.recognition import second
from zentoria_ocr.recognition.schemas import Engine

_WORD = re.compile(r"<span class=['\"]ocrx_word['\"][^>]*x_wconf (\d+)[^>]*>(.*?)</span>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


@dataclasses.dataclass
class Seen:
    """What the engine thought of the page that it read last. This process reads one page at a time."""

    below: float = 0.0
    threads: int = 1
    confidence: float | None = None
    engine: Engine = "tesseract"


SEEN = Seen()


def confidence_of(hocr: str) -> tuple[float | None, int]:
    """Mean confidence of the words, by their length, in percent; None without words. And how many characters."""
    words = [(int(sure), len(_TAG.sub("", text).strip())) for sure, text in _WORD.findall(hocr)]
    total = sum(length for _, length in words)
    return (sum(sure * length for sure, length in words) / total if total else None), total


class Reader(TesseractOcrEngine):
    """Tesseract with a second opinion."""

    @staticmethod
    def generate_hocr(input_file: Path, output_hocr: Path, output_text: Path, options: Any) -> None:
        """Read an image into hOCR and text; the one that is surer wins."""
        TesseractOcrEngine.generate_hocr(input_file, output_hocr, output_text, options)  # type: ignore[no-untyped-call] # it has none
        sure, length = confidence_of(output_hocr.read_text(encoding="utf-8"))
        SEEN.confidence, SEEN.engine = sure, "tesseract"
        if (sure or 0.0) >= SEEN.below or (sure is None and second.is_blank(input_file)):
            return
        other, hocr, text = second.read(input_file, SEEN.threads)
        if text and other > (sure or 0.0) + second.CLEARLY and 2 * len(text) >= length:
            output_hocr.write_text(hocr, encoding="utf-8")
            output_text.write_text(text, encoding="utf-8")
            SEEN.confidence, SEEN.engine = other, "rapidocr"


@hookimpl
def get_ocr_engine(options: Any) -> Reader:
    """Whom OCRmyPDF asks."""
    return Reader()

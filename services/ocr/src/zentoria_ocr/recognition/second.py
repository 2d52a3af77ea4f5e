"""A second opinion: rapidocr's neural engine, for pages that Tesseract is not sure of."""

from __future__ import annotations

import functools
import html
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLEARLY = 5.0
"""How much surer (percent) the second engine must be for its text to be taken."""
BLANK = 6.0
"""An image whose grey values differ by less (standard deviation) has nothing on it."""


def read(image: Path, threads: int) -> tuple[float, str, str]:
    """Read an image.

    Args:
        image: of a page.
        threads: that it may use.

    Returns:
        Confidence in percent (mean over the lines by their length; 0 without text), the page in hOCR, its text.
    """
    found = _engine(threads)(str(image))
    with Image.open(image) as opened:
        width, height = opened.size
    if found.boxes is None or found.txts is None:
        return 0.0, _page(width, height, []), ""
    lines = [(text, float(score), box) for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)]
    total = sum(len(text) for text, _, _ in lines)
    confidence = 100 * sum(score * len(text) for text, score, _ in lines) / total if total else 0.0
    spans = [_line(text, score, box) for text, score, box in lines if text.strip()]
    return confidence, _page(width, height, spans), "\n".join(text for text, _, _ in lines)


def is_blank(image: Path) -> bool:
    """Whether there is nothing on a page."""
    with Image.open(image) as opened:
        small = opened.convert("L")
        small.thumbnail((1000, 1000))
        return float(np.asarray(small).std()) < BLANK


@functools.cache
def _engine(threads: int) -> Any:
    from rapidocr import RapidOCR  # it takes half a second and its memory, and most pages do without

    return RapidOCR(
        params={
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _line(text: str, score: float, box: Any) -> str:
    """A line in hOCR. It gives a line's box alone; words have their share of it by their length."""
    xs, ys = [float(point[0]) for point in box], [float(point[1]) for point in box]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    each = (right - left) / max(1, len(text))
    spans, at = [], 0
    for word in text.split():
        start = text.index(word, at)
        at = start + len(word)
        where = f"bbox {left + each * start:.0f} {top:.0f} {left + each * at:.0f} {bottom:.0f}"
        spans.append(
            f"<span class='ocrx_word' title='{where}; x_wconf {100 * score:.0f}'>{html.escape(word, quote=True)}</span>"
        )
    whole = f"bbox {left:.0f} {top:.0f} {right:.0f} {bottom:.0f}; baseline 0 0; x_size {bottom - top:.0f}"
    return (
        f"<div class='ocr_carea' title='bbox {left:.0f} {top:.0f} {right:.0f} {bottom:.0f}'><p class='ocr_par'"
        f" title='bbox {left:.0f} {top:.0f} {right:.0f} {bottom:.0f}'>"
        f"<span class='ocr_line' title='{whole}'>{' '.join(spans)}</span></p></div>"
    )


def _page(width: int, height: int, lines: list[str]) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head><title></title>'
        "</head><body>"
        f"<div class='ocr_page' id='page_1' title='bbox 0 0 {width} {height}; ppageno 0'>{''.join(lines)}</div>"
        "</body></html>\n"
    )

"""Pictures have no text of their own: their pages wait for text recognition."""

from __future__ import annotations

import warnings
from pathlib import Path

from zentoria_rag.parsing.model import DocumentError, Limits, Page, Parsed


def parse_image(path: Path, limits: Limits, first: int = 1) -> Parsed:
    """Count the pages of a picture, by its head alone: nothing is unpacked.

    Raises:
        DocumentError: it is damaged.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # text recognition has bounds of its own
            with Image.open(path) as image:
                total = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        raise DocumentError("broken", "it is a picture that cannot be opened") from None
    return Parsed(
        "image", total, None, (Page(number, "unread") for number in range(first, min(total, limits.pages) + 1))
    )

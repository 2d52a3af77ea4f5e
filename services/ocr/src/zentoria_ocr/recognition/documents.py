"""Documents that others made: opened with suspicion, cut into pages, put together again. Runs in a child process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import img2pdf
import pikepdf
import pypdfium2
from PIL import Image, ImageOps, ImageSequence

A4_INCHES = 11.69
CREDIBLE_DPI = range(97, 1201)
"""Resolutions that an image is believed; 72 and 96 are what programs write that know none."""
IMAGES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/tiff": "TIFF", "image/webp": "WEBP"}
PDF = "application/pdf"


class Refused(Exception):
    """A document cannot be read.

    Args:
        kind: the last part of ``/problems/<kind>``.
        detail: one sentence for its owner.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


def open_pdf(path: Path) -> pikepdf.Pdf:
    """Open a PDF.

    Raises:
        Refused: it has a password, or is broken beyond repair, or has no page.
    """
    try:
        found = pikepdf.Pdf.open(path)
        count = len(found.pages)
    except pikepdf.PasswordError:
        raise Refused("encrypted-document", "the document is encrypted: remove its password") from None
    except Exception as error:  # qpdf has many words for it
        raise Refused("broken-document", "the document is no PDF, or is broken beyond repair") from error
    if not count:
        raise Refused("empty-document", "the document has no page")
    return found


def pdf_of_image(source: Path, mime: str, target: Path, *, max_image_pixels: int, max_pixels: int, most: int) -> None:
    """Make a PDF of an image; each frame of a TIFF is a page.

    Args:
        source: the image.
        mime: what it is said to be; another kind is refused.
        target: the PDF.
        max_image_pixels: of an image that is opened.
        max_pixels: of a page; a larger image is made smaller.
        most: pages that there may be.

    Raises:
        Refused: it is no such image, is broken, or too large.
    """
    Image.MAX_IMAGE_PIXELS = max_image_pixels // 2  # Pillow warns from there on, and refuses twice as many
    try:
        with Image.open(source, formats=[IMAGES[mime]]) as opened:
            if opened.width * opened.height > max_image_pixels:
                raise Image.DecompressionBombError
            if getattr(opened, "n_frames", 1) > most:
                raise Refused("too-many-pages", f"the image has more than {most} pages")
            paths = [_frame(frame, target, number, max_pixels) for number, frame in enumerate(_frames(opened))]
        layouts = [_page_of(path) for path in paths]
    except Image.DecompressionBombError:
        detail = f"the image has more than {max_image_pixels // 1_000_000} million pixels"
        raise Refused("image-too-large", detail) from None
    except (Refused, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise what they like
        raise Refused("broken-document", "the image cannot be read: it is broken, or of another kind") from error
    with pikepdf.Pdf.new() as whole:
        for layout in layouts:
            with pikepdf.Pdf.open(layout) as one:
                whole.pages.extend(one.pages)
        whole.save(target)


def _frames(opened: Image.Image) -> Iterator[Image.Image]:
    return iter(ImageSequence.Iterator(opened)) if opened.format == "TIFF" else iter((opened,))


def _frame(frame: Image.Image, target: Path, number: int, max_pixels: int) -> Path:
    dpi = _dpi(frame)
    scale = math.sqrt(max_pixels / (frame.width * frame.height))
    if scale < 1:
        size = (max(1, int(frame.width * scale)), max(1, int(frame.height * scale)))
        frame.draft("RGB", size)  # a JPEG is decoded smaller, without its whole size in memory
        dpi = max(72, int(dpi * size[0] / frame.width)) if frame.width > size[0] else dpi
        frame.thumbnail(size, Image.Resampling.BOX)
    image = ImageOps.exif_transpose(frame)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("L" if image.mode.startswith("I") else "RGB")
    jpeg = frame.format == "JPEG"
    path = target.with_name(f"frame-{number}.{'jpg' if jpeg else 'png'}")
    image.save(path, dpi=(dpi, dpi), quality=92)
    return path


def _dpi(frame: Image.Image) -> int:
    """Its resolution, where it is to be believed; else as if it were a sheet of A4."""
    said = frame.info.get("dpi")
    try:
        dpi = round(float(said[0])) if said else 0
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        dpi = 0
    return dpi if dpi in CREDIBLE_DPI else min(600, max(150, round(max(frame.size) / A4_INCHES)))


def _page_of(image: Path) -> Path:
    path = image.with_suffix(".pdf")
    path.write_bytes(img2pdf.convert(str(image)))
    image.unlink()
    return path


def cut_out(document: pikepdf.Pdf, page: int, target: Path, max_pixels: int) -> bool:
    """Write one page as a document, one that can be read within ``max_pixels``; returns whether it has text."""
    from ocrmypdf.pdfinfo import PdfInfo  # it takes half a second, and what is refused does without

    with pikepdf.Pdf.new() as single:
        single.pages.append(document.pages[page - 1])
        single.save(target)
    info = PdfInfo(target)[0]
    if info.width_pixels * info.height_pixels > max_pixels or _of_itself(info) > max_pixels:
        _smaller(target, max_pixels)
    return info.has_text


def _of_itself(info: object) -> float:
    """Pixels of a page without images, which OCRmyPDF reads with 400 dots per inch."""
    return float(getattr(info, "width_inches", 0)) * float(getattr(info, "height_inches", 0)) * 400 * 400 * (
        0 if getattr(info, "images", ()) else 1
    )  # fmt: skip


def _smaller(path: Path, max_pixels: int) -> None:
    """Put a picture of the page in its place: a page of a hundred million pixels would take a gigabyte and minutes."""
    with pypdfium2.PdfDocument(path) as document:
        page = document[0]
        width, height = page.get_size()
        scale = min(300 / 72, math.sqrt(max_pixels / max(1.0, width * height)))
        image = page.render(scale=scale, grayscale=True).to_pil()
    picture = path.with_suffix(".jpg")
    image.save(picture, quality=88, dpi=(72 * scale, 72 * scale))
    size = img2pdf.get_layout_fun((width, height))
    path.write_bytes(img2pdf.convert(str(picture), layout_fun=size))
    picture.unlink()


def put_together(document: pikepdf.Pdf, pages: Mapping[int, Path], target: Path) -> None:
    """Write a document with these pages in place of its own, without scripts, and without a password.

    Outlines and links go on to point to the pages: what is in the place of a page's object has its number.
    """
    for number, path in pages.items():
        with pikepdf.Pdf.open(path) as single:
            document.pages.append(single.pages[0])
        document.pages[number - 1].emplace(document.pages[-1], retain=(pikepdf.Name.Parent,))
        del document.pages[-1]
    pikepdf.sanitize.remove_javascript(document)
    document.remove_unreferenced_resources()
    document.save(target, encryption=False, object_stream_mode=pikepdf.ObjectStreamMode.generate)

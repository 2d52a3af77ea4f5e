"""Pages made for tests, and the service with a caller whom it knows."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2
import obstore
import pikepdf
import pypdfium2
from fastapi import FastAPI
from live_service import caller, callers_file, serving
from PIL import Image, ImageDraw, ImageFont
from pydantic import SecretStr
from real_servers import S3Server
from zentoria_common.identity import OnBehalf
from zentoria_ocr.app import create_app
from zentoria_ocr.settings import Secrets, Settings

USER = OnBehalf(12, frozenset({"files:read"}))
FONT = str(importlib.resources.files("ocrmypdf") / "data/NotoSans-Regular.ttf")
ENGLISH = (
    "The quick brown fox jumps over the lazy dog.",
    "Invoice number 4711, due on 12 March 2026.",
    "Please pay the total amount within thirty days.",
)
GERMAN = ("Die Gebühren für das Jahr sind fällig.", "Bitte überweisen Sie den Betrag in Höhe von", "zwölf Euro.")


def page(lines: Iterable[str] = ENGLISH, *, angle: float = 0.0, height: int = 420, ink: int = 0) -> Image.Image:
    """Lines of text as a scanner sees them, 150 dots per inch."""
    image = Image.new("L", (1100, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(FONT, 34)
    for number, line in enumerate(lines):
        draw.text((70, 60 + number * 80), line, font=font, fill=ink)
    return image.rotate(angle, fillcolor="white", resample=Image.Resampling.BICUBIC) if angle else image


def png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG", dpi=(150, 150))
    return held.getvalue()


def scan(*images: Image.Image) -> bytes:
    """A PDF of images, without a text layer."""
    held = io.BytesIO()
    images[0].save(held, "PDF", resolution=150, save_all=True, append_images=images[1:])
    return held.getvalue()


def with_text(text: str = "This page has a text layer.") -> bytes:
    """A PDF with text, and without images."""
    with pikepdf.Pdf.new() as made:
        made.add_blank_page(page_size=(400, 200))
        font = made.make_indirect(
            pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        )
        made.pages[0].Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        made.pages[0].Contents = made.make_stream(f"BT /F1 16 Tf 20 100 Td ({text}) Tj ET".encode())
        return saved(made)


def saved(document: pikepdf.Pdf, **how: Any) -> bytes:
    held = io.BytesIO()
    document.save(held, **how)
    return held.getvalue()


def joined(*documents: bytes) -> bytes:
    with pikepdf.Pdf.new() as made:
        for one in documents:
            with pikepdf.Pdf.open(io.BytesIO(one)) as opened:
                made.pages.extend(opened.pages)
        return saved(made)


def texts(document: bytes) -> list[str]:
    """The text layer of each page."""
    with pypdfium2.PdfDocument(document) as opened:
        return [one.get_textpage().get_text_range() for one in opened]


def word_error(said: str, wanted: str) -> float:
    """Word error rate: the fewest words to replace, add or leave out, by the words that are wanted."""
    a, b = said.split(), wanted.split()
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1] / max(1, len(b))


class World:
    """The service, its object storage, and the gateway that calls it."""

    def __init__(self, folder: Path, s3: S3Server, **values: Any) -> None:
        self.backend, self.s3, self.folder = caller("backend"), s3, folder
        self.settings = Settings(
            container_name="ocr", callers_file=callers_file(folder, self.backend), state_folder=folder / "state",
            s3_endpoint=s3.endpoint, s3_access_key="backend",
            **{"languages": ("eng", "deu"), "second_opinion_below": 0, **values},
        )  # fmt: skip
        self.app: FastAPI = create_app(self.settings, Secrets(SecretStr(s3.secret_key("backend"))))

    def headers(self, user: OnBehalf | None = USER) -> dict[str, str]:
        return self.backend.headers("ocr", user)

    def put(self, content: bytes, key: str = "uploads/12/a") -> str:
        """Put an object there; returns its SHA-256."""
        obstore.put(self.s3.store("uploads"), key, content)
        return hashlib.sha256(content).hexdigest()

    def result(self, done: dict[str, Any]) -> bytes:
        assert done["event"] == "done", done
        found = bytes(obstore.get(self.s3.store(done["bucket"]), done["object_key"]).bytes())
        assert (hashlib.sha256(found).hexdigest(), len(found)) == (done["sha256"], done["size"])
        return found

    def client(self) -> contextlib.AbstractAsyncContextManager[httpx2.AsyncClient]:
        """A client of the running service."""
        return serving(self.app)

    async def recognise(self, client: httpx2.AsyncClient, content: bytes, **asked: Any) -> list[dict[str, Any]]:
        """All events of one recognition."""
        sha256 = self.put(content)
        body = {"bucket": "uploads", "object_key": "uploads/12/a", "mime": "application/pdf", **asked}
        answer = await client.put(f"/v1/recognitions/{sha256}", json=body, headers=self.headers())
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        events = [json.loads(line) for line in answer.text.splitlines()]
        return [one for one in events if one["event"] != "waiting"]  # as often as the machine is slow

"""Documents that tests make: PDFs with fpdf2, office documents with the libraries that read them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from email.message import EmailMessage

import docx
import openpyxl
import pptx
import pypdfium2 as pdfium
from fpdf import FPDF
from PIL import Image
from pptx.util import Inches

Paragraphs = Sequence[str]


def pdf(pages: Sequence[Paragraphs], *, title: str = "", password: str = "") -> bytes:
    """A PDF. A paragraph that begins with ``# `` is a heading; a page without any is empty."""
    made = FPDF()
    made.set_title(title)
    if password:
        made.set_encryption(owner_password=password, user_password=password)
    for paragraphs in pages:
        made.add_page()
        for text in paragraphs:
            level = len(text) - len(text.lstrip("#"))
            made.set_font("Helvetica", size=(11, 22, 16)[min(level, 2)])
            made.multi_cell(0, 6 if not level else 12, text.lstrip("# "), new_x="LMARGIN", new_y="NEXT")
            made.ln(6)
    return bytes(made.output())


def scan(pages: int = 1) -> bytes:
    """A PDF of pictures alone."""
    made = FPDF()
    for number in range(pages):
        made.add_page()
        made.image(Image.new("RGB", (200, 200), (10 * number, 90, 90)), 20, 20, 100)
    return bytes(made.output())


def joined(*files: bytes, turned: int = 0, times: int = 1) -> bytes:
    """The pages of PDFs in one, each ``times`` times, all turned by so many degrees."""
    made = pdfium.PdfDocument.new()
    for data in files:
        source = pdfium.PdfDocument(data)
        made.import_pages(source, list(range(len(source))) * times)
    for page in made if turned else ():
        page.set_rotation(turned)
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def word(parts: Sequence[str], *, title: str = "") -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    for text in parts:
        level = len(text) - len(text.lstrip("#"))
        if level:
            document.add_heading(text.lstrip("# "), level)
        else:
            document.add_paragraph(text)
    table = document.add_table(2, 2)
    for row, cells in enumerate((("City", "Rent"), ("Graz", "812 euros"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    return _saved(document)


def slides(titles: Sequence[tuple[str, str]]) -> bytes:
    deck = pptx.Presentation()
    for title, body in titles:
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text_frame.text = title
        slide.shapes.add_textbox(Inches(1), Inches(2), Inches(6), Inches(3)).text_frame.text = body
    return _saved(deck)


def sheet(tables: dict[str, Sequence[Sequence[object]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in tables.items():
        page = book.create_sheet(name)
        for row in rows:
            page.append(list(row))
    return _saved(book)


def mail(subject: str, text: str, html: str = "") -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ada <ada@zentoria.test>", "Bob <bob@zentoria.test>", subject
    message["Date"] = "Mon, 02 Nov 2026 09:00:00 +0000"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="offer.pdf")
    return message.as_bytes()


def picture(kind: str = "PNG", pages: int = 1) -> bytes:
    file = io.BytesIO()
    first, *others = [Image.new("L", (30, 30), 20 * number) for number in range(pages)]
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(file, kind, **more)
    return file.getvalue()


def _saved(document: object) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the libraries' own clocks
        document.save(file)  # type: ignore[attr-defined] # each of the three has it
    return file.getvalue()

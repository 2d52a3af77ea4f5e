"""Files to pages: every kind, what is wrong with some, and what they may cost."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import rag_documents as made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zentoria_rag.chunking.split import Splitter
from zentoria_rag.chunking.tokens import count
from zentoria_rag.parsing import child, run
from zentoria_rag.parsing.kinds import kind_of
from zentoria_rag.parsing.model import DocumentError, Heading, Limits, Page
from zentoria_rag.settings import Settings

JOB = {"pages": 2000, "unpacked": 64 * 1024 * 1024, "tokenizer": "", "tokens": 512, "overlap": 48, "first": 1}
SETTINGS = Settings.model_validate(
    {"database_host": "127.0.0.1", "database_user": "x", "s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "x"}
)


def read(path: Path, data: bytes, filename: str, mime: str = "", **job: Any) -> list[Mapping[str, Any]]:
    """What the child would write, in this process."""
    place = path / "document"
    place.write_bytes(data)
    return list(child.read({**JOB, **job, "path": str(place), "filename": filename, "mime": mime}))


def told(lines: list[Mapping[str, Any]]) -> str:
    return "\n".join(chunk["text"] for line in lines if line["event"] == "page" for chunk in line["chunks"])


TEXT = "Dogs are allowed in the garden. Cats are allowed on the roof."
ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as _archive:
    _archive.writestr("a.txt", "text")


KINDS: dict[str, tuple[bytes, str, str, list[str]]] = {
    "docx": (made.word(["# House", TEXT, "## Pets", "A second text."], title="T"), "a.docx", "docx",
             [TEXT, "City: Graz; Rent: 812 euros"]),
    "pptx": (made.slides([("Rent", "812 euros"), ("Pets", TEXT)]), "a.pptx", "pptx", ["Rent", "812 euros", TEXT]),
    "xlsx": (made.sheet({"Rents": [["City", "Rent"], ["Graz", 812], ["Wien", 1100.5]]}), "a.xlsx", "xlsx",
             ["City: Graz; Rent: 812", "Rent: 1100.5"]),
    "csv": (b"City;Rent\nGraz;812\nWien;1100\n", "a.csv", "csv", ["City: Graz; Rent: 812"]),
    "html": (b"<!doctype html><html><head><title>T</title><script>evil()</script></head><body><h1>House</h1><p>"
             + TEXT.encode() + b"</p><p hidden>unseen</p><style>p{}</style></body></html>", "a.html", "html", [TEXT]),
    "markdown": (f"# House\n\n{TEXT}\n\n```\n# no heading\n```\n".encode(), "a.md", "markdown", [TEXT, "# no heading"]),
    "text": (TEXT.encode(), "a.txt", "text", [TEXT]),
    "latin": ("Die Gärten dürfen von allen Mietern des Hauses genutzt werden.".encode("latin-1"), "a.txt", "text",
              ["Gärten dürfen"]),
    "utf-16": (TEXT.encode("utf-16"), "a.txt", "text", [TEXT]),
    "mail": (made.mail("Offer", TEXT, f"<p>{TEXT}</p>"), "a.eml", "mail",
             ["Offer", "From: Ada <ada@zentoria.test>", TEXT, "Attachments: offer.pdf"]),
    # the name says something else
    "a PDF called txt": (made.pdf([[TEXT]]), "a.txt", "pdf", [TEXT]),
    "a DOCX called pdf": (made.word([TEXT]), "a.pdf", "docx", [TEXT]),
    "a mail without a name": (made.mail("Offer", TEXT), "", "mail", [TEXT]),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS.values(), ids=KINDS)
def test_every_kind_is_read_whatever_it_is_called(tmp_path: Path, case: tuple[bytes, str, str, list[str]]) -> None:
    data, filename, kind, expected = case
    lines = read(tmp_path, data, filename)
    assert (lines[0]["event"], lines[0]["kind"], lines[-1]["event"]) == ("start", kind, "end")
    whole = " ".join(told(lines).split())
    for text in expected:
        assert text in whole
    for text in ("evil", "unseen"):
        assert text not in whole


def test_headings_are_the_path_of_a_passage(tmp_path: Path) -> None:
    long = " ".join(f"Sentence number {number} of the chapter about pets." for number in range(60))
    for data, name in [
        (f"# House\n\nIntroduction.\n\n## Pets\n\n{long}\n".encode(), "a.md"),
        (made.word(["# House", "Introduction.", "## Pets", long]), "a.docx"),
    ]:
        chunks = [chunk for line in read(tmp_path, data, name) if line["event"] == "page" for chunk in line["chunks"]]
        assert ["House", "Pets"] in [chunk["heading"] for chunk in chunks]
    lines = read(tmp_path, made.pdf([["# House", long], [long]]), "a.pdf")
    pages = [line for line in lines if line["event"] == "page"]
    assert {tuple(chunk["heading"]) for page in pages for chunk in page["chunks"]} == {("House",)}, (
        "over the page's end"
    )


BAD: dict[str, tuple[bytes, str, str]] = {
    "an encrypted PDF": (made.pdf([[TEXT]], password="secret"), "a.pdf", "encrypted"),
    "half a PDF's head": (b"%PDF-1.7\n1 0 obj", "a.pdf", "broken"),
    "a broken DOCX": (made.word([TEXT])[:2000], "a.docx", "broken"),
    "an archive": (ZIP.getvalue(), "a.docx", "unsupported"),
    "an old office document": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "a.doc", "unsupported"),
    "an encrypted office document": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "a.docx",
        "encrypted"),
    "a program": (b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)) * 8, "a.pdf", "unsupported"),
    "zeros": (b"\0" * 20_000, "a.txt", "broken"),
    "a broken picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "a.png", "broken"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_cannot_be_read_says_why(tmp_path: Path, case: tuple[bytes, str, str]) -> None:
    data, filename, code = case
    with pytest.raises(DocumentError) as caught:
        read(tmp_path, data, filename)
    assert caught.value.code == code
    assert caught.value.detail


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b"\0" * (80 * 1024 * 1024))
    with pytest.raises(DocumentError) as caught:
        kind_of(path, "bomb.docx", "", Limits())
    assert caught.value.code == "bomb"


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_nothing_is_an_empty_page(tmp_path: Path, data: bytes) -> None:
    lines = read(tmp_path, data, "a.txt")
    assert [(line.get("state"), line.get("chunks")) for line in lines[1:-1]] == [("empty", [])]


def test_pages_without_text_are_told_apart(tmp_path: Path) -> None:
    lines = read(tmp_path, made.joined(made.pdf([[TEXT], []]), made.scan()), "a.pdf")
    assert [line["state"] for line in lines if line["event"] == "page"] == ["read", "empty", "unread"]
    for kind, pages in (("PNG", 1), ("JPEG", 1), ("TIFF", 3), ("WEBP", 1)):
        lines = read(tmp_path, made.picture(kind, pages), "scan")
        assert [line["state"] for line in lines if line["event"] == "page"] == ["unread"] * pages


def test_boxes_are_shares_of_the_page_as_it_is_shown(tmp_path: Path) -> None:
    """Turned by 90 degrees, what was at the top left is at the top right."""

    def box(data: bytes) -> list[float]:
        (line,) = [line for line in read(tmp_path, data, "a.pdf") if line["event"] == "page"]
        return list(line["chunks"][0]["boxes"][0])

    x0, y0, x1, y1 = box(made.pdf([[TEXT]]))
    assert (x0 < 0.1, y0 < 0.1, x1 > 0.4, y1 < 0.1) == (True,) * 4
    tx0, ty0, tx1, ty1 = box(made.joined(made.pdf([[TEXT]]), turned=90))
    assert (tx0, ty0, tx1, ty1) == pytest.approx((1 - y1, x0, 1 - y0, x1), abs=0.01)


def test_scripts_in_a_pdf_are_not_run_and_not_text(tmp_path: Path) -> None:
    plain = made.pdf([[TEXT]])
    action = b"/Type /Catalog /OpenAction << /S /JavaScript /JS (app.alert('evil'); while (true) {}) >>"
    assert b"/Type /Catalog" in plain
    found = told(read(tmp_path, plain.replace(b"/Type /Catalog", action), "a.pdf"))
    assert "Dogs are allowed" in found
    assert "evil" not in found


async def _parsed(path: Path, data: bytes, filename: str, **changes: Any) -> list[Mapping[str, Any]]:
    place = path / "document"
    place.write_bytes(data)
    return [line async for line in run.parse(SETTINGS.model_copy(update=changes), place, filename, "")]


@pytest.mark.asyncio
async def test_of_five_thousand_pages_so_many_are_read_as_are_allowed(tmp_path: Path) -> None:
    lines = await _parsed(tmp_path, made.joined(made.pdf([[TEXT]]), times=5000), "a.pdf", parse_pages=20)
    assert lines[0]["pages"] == 5000
    assert [line["page"] for line in lines[1:]] == list(range(1, 21))


@pytest.mark.asyncio
async def test_a_page_on_which_the_parser_dies_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third page takes the process down, each time: what is before and behind it is read."""
    script = tmp_path / "child.py"
    script.write_text(
        "import json, os, sys\n"
        "job = json.loads(sys.stdin.readline())\n"
        "print(json.dumps({'event': 'start', 'kind': 'pdf', 'pages': 5, 'title': None}), flush=True)\n"
        "for page in range(job['first'], 6):\n"
        "    if page == 3:\n"
        "        os.abort()\n"
        "    line = {'event': 'page', 'page': page, 'state': 'read', 'language': 'simple', 'chunks': []}\n"
        "    print(json.dumps(line), flush=True)\n"
        "print(json.dumps({'event': 'end'}), flush=True)\n"
    )
    real = asyncio.create_subprocess_exec

    async def other(program: str, *arguments: str, **more: Any) -> asyncio.subprocess.Process:
        return await real(program, str(script), **more)

    monkeypatch.setattr(run.asyncio, "create_subprocess_exec", other)  # type: ignore[attr-defined] # the module's own import
    lines = await _parsed(tmp_path, b"x", "a.pdf")
    assert [(line["page"], line["state"]) for line in lines[1:]] == [
        (1, "read"), (2, "read"), (3, "failed"), (4, "read"), (5, "read"),
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_time_and_memory_have_bounds(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        await _parsed(tmp_path, made.pdf([[TEXT]]), "a.pdf", parse_seconds=0.001)
    assert caught.value.code == "timeout"
    with pytest.raises(DocumentError) as caught:
        await _parsed(tmp_path, b"word " * 10_000_000, "a.txt", parse_memory=112 * 1024 * 1024)
    assert caught.value.code == "memory"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["a.pdf", "a.docx", "a.html", "a.eml", "a.csv", "a.md", "a", "a.png"]))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, filename: str) -> None:
    try:
        lines = read(tmp_path, data, filename)
    except DocumentError:
        return
    assert lines[-1]["event"] == "end"
    told(lines).encode()


PIECE = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), PIECE), max_size=12), st.integers(64, 120), st.integers(0, 30))
def test_passages_hold_all_of_a_page_and_never_too_much(
    parts: list[tuple[int, str]], tokens: int, overlap: int
) -> None:
    text, headings = "", list[Heading]()
    for level, piece in parts:
        if piece.strip():
            text += "\n\n\n" if text else ""
            if level:
                headings.append(Heading(len(text), level, " ".join(piece.split())))
            text += piece.strip()
    page = Page(1, "read" if text else "empty", text, tuple(headings))
    passages = Splitter("", tokens, overlap).chunks(page)
    assert all(count(one.text) <= tokens - 2 for one in passages)
    whole = "".join("".join(one.text.split()) for one in passages)
    for _, piece in parts:
        assert all(character in whole for character in piece if not character.isspace())

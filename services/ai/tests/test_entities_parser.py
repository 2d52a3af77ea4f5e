"""What sentences name: by cases, and that spans hold for any text."""

from __future__ import annotations

import datetime
import itertools
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zentoria_ai.entities.parser import parse

NOW = datetime.datetime(2026, 11, 29, 23, 30, tzinfo=ZoneInfo("Europe/Berlin"))  # a Sunday


def days(since: str, until: str) -> dict[str, str]:
    zone = ZoneInfo("Europe/Berlin")
    return {
        name: datetime.datetime.combine(datetime.date.fromisoformat(day), datetime.time(), zone).isoformat()
        for name, day in (("since", since), ("until", until))
    }


CASES: list[tuple[str, list[tuple[str, Any]]]] = [
    ("Upload document.pdf to project X", [("file", "document.pdf"), ("project", "X")]),
    (
        'put "my tax report.pdf" into the "Taxes 2024" project',
        [("file", "my tax report.pdf"), ("project", "Taxes 2024")],
    ),
    ("lade rechnung.pdf in das Projekt Steuer", [("file", "rechnung.pdf"), ("project", "Steuer")]),
    ("rename a.txt to b.txt", [("file", "a.txt"), ("file", "b.txt")]),
    ("mail Anna.Meyer+x@Example.org.", [("email", "anna.meyer+x@example.org")]),
    ("open https://example.org/a.pdf?b=1, please", [("url", "https://example.org/a.pdf?b=1")]),
    ("run workflow nightly-backup", [("workflow", "nightly-backup")]),
    ("start the invoices workflow", [("workflow", "invoices")]),
    ("which workflows are there", []),
    ("revoke the key CI-1", [("key", "CI-1")]),
    ("a key called backup for files", [("key", "backup"), ("scope", ["files:read", "files:write"])]),
    ("make a key", []),
    ("read-only key for documents", [("scope", ["files:read"])]),
    ("key with files:read and search:read", [("scope", ["files:read"]), ("scope", ["search:read"])]),
    ("valid for two weeks", [("duration", {"seconds": 1209600, "days": 14.0})]),
    ("30 days", [("duration", {"seconds": 2592000, "days": 30.0})]),
    ("ein Jahr gültig", [("duration", {"seconds": 31536000, "days": 365.0})]),
    ("who signed in yesterday?", [("date", days("2026-11-28", "2026-11-29"))]),
    ("logins since Monday", [("date", days("2026-11-23", "2026-11-30"))]),
    ("files from last month", [("date", days("2026-10-01", "2026-11-01"))]),
    ("this year", [("date", days("2026-01-01", "2027-01-01"))]),
    ("last week", [("date", days("2026-11-16", "2026-11-23"))]),
    ("on 3 May 2025", [("date", days("2025-05-03", "2025-05-04"))]),
    ("May 3rd, 2025", [("date", days("2025-05-03", "2025-05-04"))]),
    ("am 3.5.2025", [("date", days("2025-05-03", "2025-05-04"))]),
    ("2025-12-31", [("date", days("2025-12-31", "2026-01-01"))]),
    ("in December 2025", [("date", days("2025-12-01", "2026-01-01"))]),
    ("in December", [("date", days("2025-12-01", "2026-01-01"))]),
    ("in the last 3 days", [("date", days("2026-11-26", "2026-11-30"))]),
    ("two days ago", [("date", days("2026-11-27", "2026-11-28"))]),
    ("vor zwei Tagen", [("date", days("2026-11-27", "2026-11-28"))]),
    ("2025-02-30 and 31.2.2025", []),
    ("did Anna Meyer log in", [("person", "Anna Meyer")]),
    ("a mail to Dr. Weber", [("person", "Dr. Weber")]),
    ("version 1.2.3 of e.g. this", []),
]


@pytest.mark.parametrize(("text", "wanted"), CASES, ids=[one[0] for one in CASES])
def test_what_is_named(text: str, wanted: list[tuple[str, Any]]) -> None:
    assert [(one.kind, one.value) for one in parse(text, NOW)] == wanted


PIECES = st.sampled_from([
    "report.pdf", "'a b.docx'", "project X", "“Taxes”", "workflow", "key CI", "30 days", "last month",
    "3 May", "31.2.25",
    "anna@example.org", "https://x.org/", "files:read", "for files", "Dr. Weber", "to", "from", "the", "ago",
    "\n", "…", "ß",
    "\uff19\uff19 days", "0 days", "9999 years ago", "0000-00-00", "9999-12-31", "last years",
])  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=12), max_size=12).map(" ".join))
def test_spans_are_of_the_text_and_do_not_overlap(text: str) -> None:
    found = parse(text, NOW)
    for one in found:
        assert text[one.start : one.end] == one.text
        assert one.text
    for left, right in itertools.pairwise(found):
        assert left.end <= right.start
    assert parse(text, NOW) == found

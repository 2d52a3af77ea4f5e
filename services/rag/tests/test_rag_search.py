"""Questions: times and follow-ups in words, fusion, variety, support; and the search as a whole."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from typing import Any

import pytest
import rag_documents as made
from hypothesis import given
from hypothesis import strategies as st
from rag_kit import Client, World, ago
from zentoria_rag.search import dates, followup, fusion
from zentoria_rag.search.schemas import Turn

NOW = datetime.datetime(2026, 11, 29, 15, 30, tzinfo=datetime.UTC)  # a Sunday


@pytest.mark.parametrize(
    ("text", "since", "until", "rest"),
    [
        ("invoices from last month", "2026-10-01", "2026-11-01", "invoices"),
        ("What did Ada write last week?", None, None, None),
        ("the report from last week, please", "2026-11-16", "2026-11-23", "the report, please"),
        ("Show the contracts from this year", "2026-01-01", "2027-01-01", "Show the contracts"),
        ("mails since yesterday", "2026-11-28", None, "mails"),
        ("files uploaded in the last 3 days", "2026-11-26", "2026-11-29T15:30", "files"),
        ("files from the past two weeks", "2026-11-15", "2026-11-29T15:30", "files"),
        ("notes from 2026-11-03", "2026-11-03", "2026-11-04", "notes"),
        ("letters from March 2025", "2025-03-01", "2025-04-01", "letters"),
        ("letters from December", "2025-12-01", "2026-01-01", "letters"),
        ("documents before 2024", None, "2024-01-01", "documents"),
        ("documents after last year about tax", "2026-01-01", None, "documents about tax"),
        ("Rechnungen aus dem letzten Monat", "2026-10-01", "2026-11-01", "Rechnungen"),
        ("Briefe seit gestern", "2026-11-28", None, "Briefe"),
        ("reports from last quarter", "2026-07-01", "2026-10-01", "reports"),
        # of content, not of documents
        ("What happened in 1969?", None, None, None),
        ("the battle of May 1945", None, None, None),
        ("Which months have 31 days?", None, None, None),
        ("the last month of the year", None, None, None),
        ("a letter from May", "2026-05-01", "2026-06-01", "a letter"),
    ],
)
def test_times_of_documents_are_understood(text: str, since: str | None, until: str | None, rest: str | None) -> None:
    found = dates.understood(text, NOW)
    if rest is None:
        assert found is None
        return
    assert found is not None

    def at(value: str | None) -> datetime.datetime | None:
        return datetime.datetime.fromisoformat(value).replace(tzinfo=datetime.UTC) if value else None

    assert (found.since, found.until) == (at(since), at(until))
    assert dates.without(text, found) == rest


@given(st.text(max_size=200), st.datetimes(min_value=datetime.datetime(1990, 1, 1), timezones=st.just(datetime.UTC)))
def test_no_question_confuses_it(text: str, now: datetime.datetime) -> None:
    found = dates.understood(text, now)
    if found is not None:
        assert 0 <= found.start < found.end <= len(text)
        assert found.since or found.until
        assert dates.without(text, found)


PIECES = "from since before in the last this past 31 2 months weeks year day may 2024 2024-02-29"
WORDS = st.sampled_from(tuple(PIECES.split(" ")))


@given(st.lists(WORDS, max_size=8), st.datetimes(datetime.datetime(1990, 1, 1), timezones=st.just(datetime.UTC)))
def test_whatever_is_understood_is_a_span(words: list[str], now: datetime.datetime) -> None:
    found = dates.understood(" ".join(words), now)
    assert found is None or not (found.since and found.until) or found.since < found.until


BEFORE = [Turn(role="user", content="What is the rent of the flat in Graz?"), Turn(role="assistant", content="812.")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("And in Vienna?", "And in Vienna? rent flat Graz"),
        ("Is heating part of it?", "Is heating part of it? rent flat Graz"),
        ("What about Linz?", "What about Linz? rent flat Graz"),
        ("Why?", "Why? rent flat Graz"),
        ("Und in Wien?", "Und in Wien? rent flat Graz"),
        ("Which dogs are allowed in the garden of the house?", "Which dogs are allowed in the garden of the house?"),
        ("List the opening hours of the library", "List the opening hours of the library"),
    ],
)
def test_follow_up_questions_bring_along_what_they_follow(query: str, expected: str) -> None:
    assert followup.rewritten(query, BEFORE) == expected
    assert followup.rewritten(query, []) == query
    assert followup.rewritten(query, [Turn(role="assistant", content="Nothing was asked yet.")]) == query


def test_a_chain_of_follow_ups_reaches_what_they_all_follow() -> None:
    before = [*BEFORE, Turn(role="user", content="And in Vienna?"), Turn(role="assistant", content="1,100.")]
    assert followup.rewritten("Why is that?", before) == "Why is that? rent flat Graz Vienna"


def test_orders_are_fused_and_the_first_of_all_is_one() -> None:
    scores = fusion.fused(["a", "b", "c"], {"a": 1.0, "c": 0.8, "d": 0.1})
    assert next(iter(scores)) == "a"
    assert scores["a"] == pytest.approx(1)
    assert list(scores).index("c") < list(scores).index("b")
    assert fusion.fused([], {"x": 1.0}) == {"x": pytest.approx(1)}
    assert fusion.fused([], {}) == {}
    # a common word alone takes nobody's place
    assert list(fusion.fused(["a", "b"], {"b": 0.02, "a": 0.01})) == ["a", "b"]


def test_variety_puts_what_says_the_same_behind() -> None:
    scores = {"a": 1.0, "twin of a": 0.98, "other": 0.9}
    vectors = {"a": [1.0, 0.0], "twin of a": [1.0, 0.01], "other": [0.0, 1.0]}
    assert fusion.varied(scores, vectors, 2) == ["a", "other"]
    assert fusion.varied(scores, {}, 3) == ["a", "twin of a", "other"]


HOUSE = ["# Rent", "The rent of the flat in Graz is 812 euros a month."]
PETS = ["# Pets", "Dogs are allowed in the garden when they are on a lead."]
TAX = ["# Taxes", "The return for income tax has to be sent before the first of July."]


@pytest.mark.asyncio
async def test_stems_are_found_and_rare_words_count_more(client: Client) -> None:
    common = [[f"The house number {number} has a garden, a door and a rental agreement."] for number in range(8)]
    await client.read(made.pdf([*common, ["The house has a zither."]]), "a.pdf")
    found = await client.search("Which house has zithers in the garden?", mode="words")
    assert "zither" in found["hits"][0]["text"]
    assert found["hits"][0]["words_score"] > found["hits"][1]["words_score"]
    assert (await client.search("rented houses", mode="words"))["hits"], "rent, rental and rented have one stem"


@pytest.mark.asyncio
async def test_german_has_its_own_stemmer(client: Client) -> None:
    text = "Die Mieter dürfen die Gärten des Hauses nutzen, und das ist in der Ordnung so vorgesehen."
    await client.read(text.encode(), "haus.txt", "text/plain")
    await client.read(made.pdf([HOUSE]), "english.pdf")
    hits = (await client.search("Wer darf den Garten nutzen?", mode="words"))["hits"]
    assert [hit["filename"] for hit in hits] == ["haus.txt"]


@pytest.mark.asyncio
async def test_times_in_words_filter_and_are_told(client: Client) -> None:
    now = "2026-11-29T15:30:00Z"
    await client.read(made.pdf([TAX]), "old.pdf", created_at="2026-03-03T10:00:00Z")
    await client.read(made.pdf([[*TAX, "Once more."]]), "new.pdf", created_at="2026-10-10T10:00:00Z")
    found = await client.search("income tax from last month", now=now)
    assert [hit["filename"] for hit in found["hits"]] == ["new.pdf"]
    assert found["understood"] == {
        "since": "2026-10-01T00:00:00+00:00", "until": "2026-11-01T00:00:00+00:00", "text": "from last month",
        "span": [11, 26], "query": "income tax",
    }  # fmt: skip
    # what the caller says wins
    explicit = await client.search("income tax from last month", now=now, filters={"since": "2020-01-01T00:00:00Z"})
    assert len(explicit["hits"]) == 2
    # nothing was made then: the time is left aside, and that is told
    wide = await client.search("income tax from yesterday", now=now)
    assert len(wide["hits"]) == 2
    assert wide["understood"]["ignored"] == "from yesterday"


@pytest.mark.asyncio
async def test_a_follow_up_finds_what_it_follows(client: Client) -> None:
    await client.read(made.pdf([HOUSE, PETS, TAX]), "rules.pdf")
    conversation = [{"role": "user", "content": "Are dogs allowed in the garden?"}]
    found = await client.search("Do they need a lead?", conversation=conversation)
    assert found["hits"][0]["page"] == 2
    assert found["understood"]["query"].startswith("Do they need a lead? dogs allowed garden")


@pytest.mark.asyncio
async def test_support_parts_what_is_there_from_what_is_not(client: Client) -> None:
    await client.read(made.pdf([HOUSE, PETS, TAX]), "rules.pdf")
    there = await client.search("Are dogs allowed in the garden on a lead?")
    absent = await client.search("Who won the football championship of Brazil?")
    assert there["best"] > absent["best"]
    assert there["supported"]
    assert not absent["supported"]
    empty = await client.search("dogs", user=9)
    assert (empty["hits"], empty["best"], empty["supported"]) == ([], 0.0, False)


@pytest.mark.asyncio
async def test_without_the_engine_words_are_found_and_that_is_told(client: Client, world: World) -> None:
    await client.read(made.pdf([PETS]), "pets.pdf")
    world.engine.away = True
    found = await client.search("dogs on a lead")
    assert found["without"] == ["meaning"]
    assert len(found["hits"]) == 1
    away = await client.ask("POST", "/v1/search", {"query": "dogs", "mode": "meaning"})
    assert (away.status_code, away.json()["type"], away.headers["retry-after"]) == (503, "/problems/unavailable", "10")


@pytest.mark.asyncio
async def test_each_way_alone_and_bad_requests(client: Client, world: World) -> None:
    await client.read(made.pdf([PETS, HOUSE]), "a.pdf")
    asked = len(world.engine.texts)
    assert (await client.search("dogs", mode="words"))["hits"][0]["meaning_score"] == 0
    assert len(world.engine.texts) == asked
    assert (await client.search("dogs", mode="meaning"))["hits"][0]["words_score"] == 0
    assert len((await client.search("dogs rent", limit=1))["hits"]) == 1
    for bad in ({}, {"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "mode": "magic"}, {"query": "\x00"},
                {"query": "x", "filters": {"user_id": 2}}, {"query": "x", "owner": 2}):  # fmt: skip
        assert (await client.ask("POST", "/v1/search", bad)).status_code == 422, bad


@pytest.mark.asyncio
async def test_words_that_are_operators_elsewhere_are_words(client: Client) -> None:
    await client.read(made.pdf([PETS]), "a.pdf")
    for query in ("dogs & ! | ( lead", "'dogs'", "dogs:*", "\\dogs\\", "%dogs%", "dogs -lead", "'; drop table"):
        found = await client.search(query, mode="words")
        assert all("Dogs" in hit["text"] for hit in found["hits"])


@pytest.mark.asyncio
async def test_messages_are_kept_found_and_forgotten(client: Client, world: World) -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    said: list[tuple[str, str]] = [
        (one, "We talked about the rent of the flat in Graz."),
        (one, "Dogs are nice animals, and cats are as well."),
        (other, "The rent of the garage is due."),
    ]
    for conversation, text in said:
        body: dict[str, Any] = {"conversation_id": conversation, "text": text}
        assert await client.json("PUT", f"/v1/messages/{uuid.uuid4()}", body) == {"passages": 1}
    message = uuid.uuid4()
    for text in ("something long " * 600, "The rent was paid."):  # the second takes the place of the first
        await client.json("PUT", f"/v1/messages/{message}", {"conversation_id": other, "text": text})
    found = await client.json("POST", "/v1/messages/search", {"query": "rent of the flat"})
    assert found["hits"][0]["text"] == said[0][1]
    assert {hit["conversation_id"] for hit in found["hits"]} == {one, other}
    within = await client.json("POST", "/v1/messages/search", {"query": "rent", "conversation_id": other})
    assert {hit["text"] for hit in within["hits"]} == {said[2][1], "The rent was paid."}
    assert (await client.json("POST", "/v1/messages/search", {"query": "rent"}, user=2))["hits"] == []
    taken = await client.ask("PUT", f"/v1/messages/{message}", {"conversation_id": one, "text": "mine"}, user=2)
    assert taken.status_code == 409
    assert await client.json("DELETE", f"/v1/conversations/{other}", user=2) == {"rows": 0, "left": 0}
    assert await client.json("DELETE", f"/v1/conversations/{other}") == {"rows": 2, "left": 0}
    world.engine.away = True
    assert (await client.json("POST", "/v1/messages/search", {"query": "dogs"}))["without"] == ["meaning"]
    away = await client.ask("PUT", f"/v1/messages/{uuid.uuid4()}", {"conversation_id": one, "text": "x"})
    assert away.status_code == 503


@pytest.mark.asyncio
async def test_searches_go_on_while_documents_are_read_and_too_many_have_to_wait(client: Client, world: World) -> None:
    await client.read(made.pdf([PETS]), "a.pdf", created_at=ago(1))
    world.engine.waits = asyncio.Event()
    world.engine.asked.clear()
    reading = [asyncio.create_task(client.read(f"Text number {n}".encode(), f"{n}.txt")) for n in range(10)]
    await world.engine.asked.wait()
    while client.services.documents._inside < 10:
        await asyncio.sleep(0)
    body = {**await client.store(b"one more"), "filename": "more.txt"}
    full = await client.ask("PUT", f"/v1/documents/{uuid.uuid4()}/versions/1", body)
    assert (full.status_code, full.headers["retry-after"]) == (503, "5")
    assert len((await client.search("dogs", mode="words"))["hits"]) == 1
    world.engine.waits.set()
    assert {events[-1]["event"] for _, events in await asyncio.gather(*reading)} == {"done"}

"""Documents in, passages out: reading, going on after a fault, deleting, over real PostgreSQL and S3."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import uuid

import obstore
import pytest
import rag_documents as made
from rag_kit import GATEWAY, Client, World
from zentoria_rag.chunking.tokens import count

pytestmark = pytest.mark.asyncio

RENT = ["# Rent", "The rent of the flat in Graz is 812 euros a month, heating is not part of it."]
DOGS = ["# Dogs", "Dogs are allowed in the garden when they are on a lead, and never in the laundry room."]


async def test_a_pdf_is_read_page_by_page_and_its_passages_are_found(client: Client) -> None:
    file_id, events = await client.read(made.pdf([RENT, DOGS], title="House rules"), "rules.pdf", "application/pdf")
    pages = [event for event in events if event["event"] == "page"]
    assert [(page["page"], page["pages"], page["state"], page["chunks"]) for page in pages] == [
        (1, 2, "read", 1),
        (2, 2, "read", 1),
    ]
    done = events[-1]
    assert done["event"] == "done"
    assert (done["pages"], done["chunks"], done["unread"], done["duplicate_of"]) == (2, 2, [], None)
    assert (done["language"], done["title"], done["cut"]) == ("english", "House rules", None)

    found = await client.search("Where may dogs be?")
    hit = found["hits"][0]
    assert (hit["file_id"], hit["version"], hit["page"], hit["heading"]) == (str(file_id), 1, 2, "Dogs")
    assert (hit["filename"], len(hit["sha256"])) == ("rules.pdf", 64)
    assert "on a lead" in hit["text"]
    assert hit["words_score"] > 0
    assert hit["meaning_score"] > 0
    for x0, y0, x1, y1 in hit["boxes"]:
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 0.5, "the text is in the upper half of the page"
    assert await client.json("GET", f"/v1/chunks/{hit['chunk_id']}") == {
        name: hit[name] for name in hit if not name.endswith("score")
    }


async def test_nobody_finds_what_is_somebody_elses(client: Client) -> None:
    file_id, _ = await client.read(made.pdf([RENT]), "rent.pdf", user=1)
    (hit,) = (await client.search("rent in Graz", user=1))["hits"]
    assert (await client.search("rent in Graz", user=2))["hits"] == []
    assert (await client.ask("GET", f"/v1/chunks/{hit['chunk_id']}", user=2)).status_code == 404
    assert (await client.ask("GET", f"/v1/documents/{file_id}", user=2)).status_code == 404
    assert await client.json("DELETE", f"/v1/documents/{file_id}", user=2) == {"rows": 0, "vectors": 0, "left": 0}
    body = {**await client.store(b"text"), "filename": "x.txt"}
    taken = await client.ask("PUT", f"/v1/documents/{file_id}/versions/1", body, user=2)
    assert (taken.status_code, taken.json()["type"]) == (409, "/problems/not-yours")
    assert len((await client.search("rent in Graz", user=1))["hits"]) == 1


async def test_who_does_not_say_for_whom_is_refused(client: Client) -> None:
    assert (await client.ask("POST", "/v1/search", {"query": "rent"}, user=None)).status_code == 403
    assert (await client.http.post("/v1/search", json={"query": "rent"})).status_code == 401
    other = GATEWAY.headers("ai")
    assert (await client.http.post("/v1/search", json={"query": "rent"}, headers=other)).status_code == 401


async def test_a_second_call_reads_and_embeds_nothing_again(client: Client, world: World) -> None:
    data = made.pdf([RENT, DOGS])
    file_id, first = await client.read(data, "rules.pdf")
    asked = len(world.engine.texts)
    _, second = await client.read(data, "rules.pdf", file_id=file_id)
    assert second[-1] == first[-1]
    assert [event for event in second if event["event"] == "page"] == [e for e in first if e["event"] == "page"]
    assert len(world.engine.texts) == asked


async def test_an_ingest_that_broke_off_goes_on_where_it_was(client: Client, world: World) -> None:
    data = made.pdf([[f"Page {number} speaks about the number {number * 7}."] for number in range(1, 41)])
    world.engine.after = 20
    file_id, events = await client.read(data, "long.pdf")
    assert (events[-1]["event"], events[-1]["type"]) == ("error", "/problems/unavailable")
    assert (await client.search("number 70"))["hits"] == [], "half a document is not found"
    kept = len(world.engine.texts)
    assert kept == 16
    world.engine.after = None
    _, events = await client.read(data, "long.pdf", file_id=file_id)
    assert events[-1]["event"] == "done"
    assert events[-1]["chunks"] == 40
    passages = [text for text in world.engine.texts if text.startswith("Page ")]
    assert len(passages) == len(set(passages)) == 40, "what had its vector was not asked for again"
    assert world.rows("select count(*) from document_chunks") == [(40,)]
    assert (await client.search("number 70"))["hits"][0]["page"] == 10


async def test_the_same_bytes_are_read_once_and_linked(client: Client, world: World) -> None:
    data = made.pdf([RENT, DOGS])
    first_id, first = await client.read(data, "rules.pdf")
    asked = len(world.engine.texts)
    second_id, second = await client.read(data, "copy of rules.pdf")
    assert second[-1]["duplicate_of"] == {"file_id": str(first_id), "version": 1}
    assert {**second[-1], "duplicate_of": None} == first[-1]
    assert len(world.engine.texts) == asked
    # each is found, and stays when the other one goes
    found = {hit["file_id"] for hit in (await client.search("dogs on a lead"))["hits"]}
    assert found == {str(first_id), str(second_id)}
    await client.json("DELETE", f"/v1/documents/{first_id}")
    hits = (await client.search("dogs on a lead"))["hits"]
    assert {(hit["file_id"], hit["filename"]) for hit in hits} == {(str(second_id), "copy of rules.pdf")}


async def test_somebody_elses_same_bytes_are_no_twin(client: Client) -> None:
    data = made.pdf([RENT])
    await client.read(data, "rent.pdf", user=1)
    _, events = await client.read(data, "rent.pdf", user=2)
    assert events[-1]["duplicate_of"] is None


async def test_a_newer_version_takes_the_place_of_the_older_one(client: Client) -> None:
    file_id, events = await client.read(made.scan(2), "scan.pdf", "application/pdf")
    assert events[-1]["unread"] == [1, 2]
    assert events[-1]["chunks"] == 0
    await client.read(made.pdf([RENT, DOGS]), "scan.pdf", file_id=file_id, version=2)
    hits = (await client.search("dogs on a lead"))["hits"]
    assert {hit["version"] for hit in hits} == {2}
    await client.read(made.pdf([["Cats are welcome in the garden, without a lead."]]), "x", file_id=file_id, version=3)
    assert {hit["version"] for hit in (await client.search("dogs on a lead"))["hits"]} == {3}
    # an answer that was given before still has its passage
    assert (await client.ask("GET", f"/v1/chunks/{hits[0]['chunk_id']}")).json()["version"] == 2
    known = await client.json("GET", f"/v1/documents/{file_id}")
    assert [(one["version"], one["current"], one["state"]) for one in known["versions"]] == [
        (3, True, "ready"),
        (2, False, "ready"),
        (1, False, "ready"),
    ]
    # an older version that is read late is not the one that is searched
    await client.read(made.pdf([["Dogs again."]]), "x", file_id=file_id, version=1)
    assert {hit["version"] for hit in (await client.search("dogs on a lead"))["hits"]} == {3}


async def test_deletion_leaves_nothing_and_says_so(client: Client, world: World) -> None:
    file_id, _ = await client.read(made.pdf([RENT]), "rent.pdf")
    await client.read(made.pdf([RENT, DOGS]), "rent.pdf", file_id=file_id, version=2)
    other, _ = await client.read(made.pdf([DOGS]), "dogs.pdf")
    assert await client.json("DELETE", f"/v1/documents/{file_id}") == {"rows": 2 + 3 + 3, "vectors": 3, "left": 0}
    assert world.rows("select distinct file_id from documents") == [(other,)]
    assert world.rows("select distinct file_id from document_chunks") == [(other,)]
    assert world.rows("select count(*) from document_embeddings") == [(1,)]
    assert await client.json("DELETE", f"/v1/documents/{file_id}") == {"rows": 0, "vectors": 0, "left": 0}


async def test_what_is_deleted_while_it_is_read_stays_deleted(client: Client, world: World) -> None:
    world.engine.waits = asyncio.Event()
    file_id = uuid.uuid4()
    reading = asyncio.create_task(client.read(made.pdf([RENT, DOGS]), "rules.pdf", file_id=file_id))
    await world.engine.asked.wait()
    deleted = await client.json("DELETE", f"/v1/documents/{file_id}")
    assert deleted["left"] == 0
    world.engine.waits.set()
    _, events = await reading
    assert events[-1]["type"] == "/problems/document-deleted"
    assert world.rows("select count(*) from documents") == [(0,)]
    assert world.rows("select count(*) from document_embeddings") == [(0,)]


async def test_labels_change_without_reading_again(client: Client, world: World) -> None:
    file_id, _ = await client.read(made.pdf([RENT]), "rent.pdf", project="house", tags=["contract"])
    asked = len(world.engine.texts)
    changed = await client.json("PATCH", f"/v1/documents/{file_id}", {"project": "flat"})
    assert (changed["versions"][0]["project"], changed["versions"][0]["tags"]) == ("flat", ["contract"])
    assert (await client.search("rent", filters={"project": "house"}))["hits"] == []
    assert len((await client.search("rent", filters={"project": "flat", "tags": ["contract"]}))["hits"]) == 1
    assert len(world.engine.texts) == asked + 2, "questions alone"
    assert (await client.ask("PATCH", f"/v1/documents/{uuid.uuid4()}", {"tags": []})).status_code == 404


async def test_an_object_that_is_not_there_or_has_other_bytes(client: Client) -> None:
    source = await client.store(b"some text")
    path = f"/v1/documents/{uuid.uuid4()}/versions/1"
    gone = await client.ask("PUT", path, {**source, "object_key": "1/nothing", "filename": "a.txt"})
    assert (gone.status_code, gone.json()["type"]) == (404, "/problems/no-such-object")
    await obstore.put_async(client.s3.store("uploads"), source["object_key"], b"other text")
    other = await client.ask("PUT", path, {**source, "filename": "a.txt"})
    assert (other.status_code, other.json()["type"]) == (422, "/problems/document-changed")
    elsewhere = await client.ask("PUT", path, {**source, "bucket": "backups", "filename": "a.txt"})
    assert (elsewhere.status_code, elsewhere.json()["type"]) == (404, "/problems/no-such-object")


async def test_a_failed_document_is_tried_again_and_may_be_read_then(client: Client) -> None:
    file_id, events = await client.read(b"%PDF-1.7 broken", "x.pdf")
    assert events[-1]["type"] == "/problems/document-broken"
    known = await client.json("GET", f"/v1/documents/{file_id}")
    assert known["versions"][0]["state"] == "failed"
    assert known["versions"][0]["outcome"]["error"]["detail"] == events[-1]["detail"]
    _, events = await client.read(made.pdf([RENT]), "x.pdf", file_id=file_id)
    assert events[-1]["event"] == "done"


async def test_passages_are_what_the_model_takes(client: Client, world: World) -> None:
    words = " ".join(f"Sentence number {number} tells of extraordinarily long antidisestablishmentarianism."
                     for number in range(120))  # fmt: skip
    data = f"# A chapter about long words\n\n{words}\n".encode()
    _, events = await client.read(data, "long.md", "text/markdown")
    assert events[-1]["chunks"] > 3
    passages = world.engine.texts
    assert all(count(text) + 2 <= 512 for text in passages)
    assert all(text.startswith("A chapter about long words\n") for text in passages)
    rows = world.rows("select text from document_chunks order by chunk_index")
    for (before,), (after,) in itertools.pairwise(rows):
        assert after.split(".")[0] in before, "two passages share a sentence"


async def test_hash_of_stored_objects_is_what_a_hit_says(client: Client) -> None:
    data = made.pdf([RENT])
    await client.read(data, "rent.pdf")
    assert (await client.search("rent"))["hits"][0]["sha256"] == hashlib.sha256(data).hexdigest()

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voice_kit import SENTENCE, World, samples_of, word_error
from zentoria_voice.speech.sentences import LONGEST, sentences


@pytest.fixture
def world(tmp_path: Path, models: Path) -> World:
    return World(tmp_path, models)


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "media", "begins"),
    [("mp3", "audio/mpeg", b""), ("opus", "audio/ogg", b"OggS"), ("flac", "audio/flac", b"fLaC")],
)
async def test_text_is_spoken_in_every_format(world: World, kind: str, media: str, begins: bytes) -> None:
    async with world.client() as client:
        answer = await world.speak(client, "Hello there.", response_format=kind, voice="alloy")
        assert answer.status_code == 200 and answer.headers["content-type"] == media
        assert answer.content.startswith(begins) and len(answer.content) > 1000
        heard = await world.transcribe(client, answer.content)
        assert "hello" in heard.json()["text"].lower()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_other_languages_are_spoken_by_espeak(world: World) -> None:
    async with world.client() as client:
        german = await world.speak(client, "Guten Tag. Wie geht es?", language="de", response_format="wav")
        assert german.status_code == 200 and len(samples_of(german.content)) > 16_000
        slow = await world.speak(client, "Guten Tag. Wie geht es?", language="de", response_format="wav", speed=0.5)
        assert len(slow.content) > 1.3 * len(german.content)
        english = await world.speak(client, SENTENCE, voice="espeak", response_format="wav")
        heard = await world.transcribe(client, english.content)
        assert word_error(heard.json()["text"], SENTENCE) <= 0.8  # robotic; the tiny model hears half of it


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "status", "kind"),
    [
        ({"input": "Hello.", "voice": "nobody"}, 422, "no-such-voice"),
        ({"input": "Hello.", "voice": "../x"}, 422, ""),
        ({"input": "Hello.", "language": "xx"}, 422, "language-unknown"),
        ({"input": "Hello.", "model": "tts-9"}, 404, "no-such-model"),
        ({"input": " ... !!! "}, 422, "nothing-to-say"),
        ({"input": ""}, 422, ""),
        ({"input": "x" * 101}, 422, "text-too-long"),
        ({"input": "Hello.", "speed": 9}, 422, ""),
        ({"input": "Hello.", "response_format": "aac"}, 422, ""),
    ],
)
async def test_what_cannot_be_said_is_refused(
    tmp_path: Path, models: Path, asked: dict[str, Any], status: int, kind: str
) -> None:
    world = World(tmp_path, models, max_characters=100)
    async with world.client() as client:
        answer: httpx2.Response = await client.post("/v1/audio/speech", json=asked, headers=world.headers())
        assert answer.status_code == status, answer.text
        assert answer.json().get("type", "") == (f"/problems/{kind}" if kind else "about:blank")
        assert world.app.state.speaker.places.taken == 0


@pytest.mark.asyncio
async def test_voices_are_told(world: World) -> None:
    async with world.client() as client:
        found = (await client.get("/v1/audio/voices", headers=world.headers())).json()["voices"]
    assert {"af_heart", "bf_emma", "espeak"} <= {one["id"] for one in found}


@given(st.text(max_size=2000))
def test_sentences_lose_no_word(text: str) -> None:
    found = list(sentences(text))
    assert all(0 < len(one) <= LONGEST for one in found)
    letters = [one for one in text if one.isalnum()]
    assert [one for one in "".join(found) if one.isalnum()] == letters

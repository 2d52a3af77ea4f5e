from __future__ import annotations

import asyncio
import io
import re
import shutil
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from voice_kit import RATE, SENTENCE, World, noise, samples_of, silence, wav, word_error
from zentoria_voice.transcription.formats import srt, vtt
from zentoria_voice.transcription.whisper import Segment, _cut


@pytest.fixture
def world(tmp_path: Path, models: Path) -> World:
    return World(tmp_path, models)


def encoded(samples: np.ndarray[Any, Any], container: str, codec: str, rate: int) -> bytes:
    """The same sound in another format; ``mkv`` with a picture beside it."""
    held = io.BytesIO()
    with av.open(held, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return held.getvalue()


@pytest.mark.asyncio
async def test_speech_becomes_text_in_every_form(world: World, spoken: bytes) -> None:
    async with world.client() as client:
        answer = await world.transcribe(client, spoken, response_format="verbose_json", model="whisper-1",
                                        **{"timestamp_granularities[]": "word"})  # fmt: skip
        found = answer.json()
        assert found["language"] == "en" and word_error(found["text"], SENTENCE) <= 0.35, found
        assert abs(found["duration"] - len(samples_of(spoken)) / RATE) < 0.1
        times = [(one["start"], one["end"]) for one in found["words"]]
        assert times == sorted(times) and times[-1][1] <= found["duration"] + 0.5
        subtitles = (await world.transcribe(client, spoken, response_format="srt")).text
        assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\n\S", subtitles)
        assert word_error((await world.transcribe(client, spoken, response_format="text")).text, SENTENCE) <= 0.35


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("mp3", "libmp3lame", 22050), ("ogg", "libopus", 48000), ("flac", "flac", 16000), ("mp4", "aac", 44100)],
)
async def test_any_format_is_read(world: World, spoken: bytes, container: str, codec: str, rate: int) -> None:
    content = encoded(samples_of(spoken), container, codec, rate)
    async with world.client() as client:
        answer = await world.transcribe(client, content, language="en", temperature="0")
    assert word_error(answer.json()["text"], SENTENCE) <= 0.35


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b"", 422, "not-audio"),
        (b"this is no audio at all, whatever it is called", 422, "not-audio"),
        (wav(silence(1))[:20], 422, "not-audio"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", 422, "not-audio"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", 422, "not-audio"),
        (wav(silence(3)), 422, "no-speech"),
        (wav(noise(3)), 422, "no-speech"),
        (wav((8000 * np.sin(np.arange(3 * RATE) * 0.2)).astype(np.int16)), 422, "no-speech"),
        (wav(silence(12)), 413, "audio-too-long"),
    ],
    ids=["empty", "text", "cut off", "playlist", "concat", "silence", "noise", "tone", "too long"],
)
async def test_what_is_no_speech_says_so(tmp_path: Path, models: Path, content: bytes, status: int, kind: str) -> None:
    world = World(tmp_path, models, max_seconds=10)
    async with world.client() as client:
        answer = await world.transcribe(client, content)
        assert (answer.status_code, answer.json().get("type", "")) == (status, f"/problems/{kind}"), answer.text
        assert world.app.state.transcriber.places.taken == 0


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_model_may_come_while_the_service_runs(tmp_path: Path, models: Path, spoken: bytes) -> None:
    folder = tmp_path / "models"
    world = World(tmp_path, folder)
    async with world.client() as client:
        answer = await world.transcribe(client, spoken)
        assert answer.status_code == 503 and answer.headers["retry-after"] and "being fetched" in answer.text
        answer = await world.speak(client, "Hello.")
        assert answer.status_code == 503 and answer.json()["type"] == "/problems/model-missing"
        health = await client.get("/health")
        assert health.status_code == 200
        assert health.json()["dependencies"]["models"]["saw"]["whisper-tiny-en"] == "fetching"
        shutil.copytree(models / "whisper-tiny-en", folder / "whisper-tiny-en")
        assert (await world.transcribe(client, spoken)).status_code == 200
        found = (await client.get("/v1/models", headers=world.headers())).json()["data"]
        assert [(one["id"], one["state"]) for one in found] == [("whisper-tiny-en", "ready"), ("kokoro", "fetching")]
        # One that is spoilt is told from one that is not there, and tried again when it changes.
        (folder / "whisper-tiny-en/model.bin").write_bytes(b"nothing of the kind")
        assert (await world.transcribe(client, spoken)).json()["state"] == "failed"
        shutil.copy(models / "whisper-tiny-en/model.bin", folder / "whisper-tiny-en/model.bin")
        assert (await world.transcribe(client, spoken)).status_code == 200


@pytest.mark.asyncio
async def test_requests_that_are_refused(world: World, spoken: bytes) -> None:
    async with world.client() as client:
        assert (await client.post("/v1/audio/transcriptions")).status_code == 401
        assert (await world.transcribe(client, spoken, model="gpt-4o")).status_code == 404
        answer = await world.transcribe(client, spoken, language="de")
        assert answer.json()["type"] == "/problems/language-unknown" and answer.json()["languages"] == ["en"]
        assert (await world.transcribe(client, spoken, response_format="doc")).status_code == 422
        world.app.state.transcriber.places.taken = 99
        answer = await world.transcribe(client, spoken)
        assert answer.status_code == 503 and answer.headers["retry-after"]


@pytest.mark.asyncio
async def test_when_the_client_leaves_nothing_goes_on(
    world: World, spoken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, left = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_model: object, _samples: object, _options: object, gone: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        if gone.wait(60):
            loop.call_soon_threadsafe(left.set)
        return iter(())

    monkeypatch.setattr("zentoria_voice.transcription.service.listen", slow)
    async with world.client() as client:
        asking = asyncio.create_task(world.transcribe(client, spoken))
        await asyncio.wait_for(begun.wait(), 60)
        asking.cancel()
        await asyncio.wait_for(left.wait(), 60)
        deadline = time.monotonic() + 60
        while world.app.state.transcriber.places.taken:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("found", "length", "last", "cut"),
    [
        ([], 100 * RATE, False, 100 * RATE),
        ([(0, 99 * RATE)], 120 * RATE, False, 120 * RATE),
        ([(0, 50 * RATE), (60 * RATE, 120 * RATE)], 120 * RATE, False, 60 * RATE),
        ([(0, 50 * RATE), (60 * RATE, 120 * RATE)], 120 * RATE, True, 120 * RATE),
        ([(0, 120 * RATE)], 120 * RATE, False, 120 * RATE),
    ],
)
def test_long_audio_is_cut_where_nobody_speaks(found: list[tuple[int, int]], length: int, last: bool, cut: int) -> None:
    assert _cut(found, length, last=last) == cut


def test_subtitles() -> None:
    one = Segment(0.0, 3661.5, " a --> b <i>\n\nc ", 0, 0, 0, 0)
    assert srt([one, one]).startswith("1\n00:00:00,000 --> 01:01:01,500\na -> b <i> c\n\n2\n")
    assert vtt([one]) == "WEBVTT\n\n00:00:00.000 --> 01:01:01.500\na -&gt; b &lt;i&gt; c\n"

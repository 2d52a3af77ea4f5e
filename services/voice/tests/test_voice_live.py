from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voice_kit import RATE, SENTENCE, World, samples_of, silence, word_error
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


@pytest.fixture
def world(tmp_path: Path, models: Path) -> World:
    return World(tmp_path, models)


def opened(world: World, url: str, **headers: str) -> connect:
    address = f"{url.replace('http', 'ws')}/v1/audio/stream"
    return connect(address, additional_headers={**world.headers(), **headers}, proxy=None, open_timeout=60)


async def events(socket: ClientConnection) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            found.append(json.loads(await socket.recv()))
    return found


async def send(socket: ClientConnection, samples: np.ndarray[Any, Any]) -> None:
    for start in range(0, len(samples), RATE // 5):
        await socket.send(samples[start : start + RATE // 5].astype("<i2").tobytes())


@pytest.mark.asyncio
async def test_a_speaker_is_heard(world: World, spoken: bytes) -> None:
    said = samples_of(spoken)
    async with world.client() as client, opened(world, str(client.base_url).rstrip("/")) as socket:
        await send(socket, np.concatenate([silence(1.0), said, silence(1.5), said, silence(0.3)]))
        await socket.send(json.dumps({"event": "end"}))
        found = await events(socket)
    assert found[-1] == {"event": "end"} and socket.close_code == 1000
    assert found[0]["event"] == "speech_start" and 0.5 <= found[0]["start"] <= 1.5
    finals = [one for one in found if one["event"] == "final"]
    text = " ".join(one["text"] for one in finals)
    assert word_error(text, f"{SENTENCE} {SENTENCE}") <= 0.4, found
    times = [time for one in finals for time in (one["start"], one["end"])]
    assert times == sorted(times) and finals[0]["language"] == "en"
    assert times[-1] <= 2.9 + 2 * len(said) / RATE


@pytest.mark.asyncio
async def test_silence_is_no_event(world: World) -> None:
    async with world.client() as client, opened(world, str(client.base_url).rstrip("/")) as socket:
        await send(socket, silence(5))
        await socket.send(json.dumps({"event": "end"}))
        assert await events(socket) == [{"event": "end"}]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [(b"123", "not-audio", 1008), ("hello", "not-audio", 1008), ('{"event": "x"}', "not-audio", 1008),
     (bytes(2 * 3 * RATE), "audio-too-long", 1008)],
)  # fmt: skip
async def test_what_is_no_audio_ends_it(
    tmp_path: Path, models: Path, message: str | bytes, kind: str, code: int
) -> None:
    world = World(tmp_path, models, max_seconds=2)
    async with world.client() as client, opened(world, str(client.base_url).rstrip("/")) as socket:
        if isinstance(message, bytes):
            for start in range(0, len(message), 60_000):
                await socket.send(message[start : start + 60_000])
        else:
            await socket.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                last = json.loads(await socket.recv())
    assert last["event"] == "error" and last["type"] == f"/problems/{kind}" and socket.close_code == code
    assert world.app.state.streams.open == 0


@pytest.mark.asyncio
async def test_who_is_nobody_gets_nothing(world: World) -> None:
    async with world.client() as client:
        with pytest.raises(InvalidStatus) as caught:
            async with opened(world, str(client.base_url).rstrip("/"), **{"zentoria-caller": "x"}):
                pass
    assert caught.value.response.status_code == 403


@pytest.mark.asyncio
async def test_a_model_that_is_not_there_is_told(tmp_path: Path, spoken: bytes) -> None:
    world = World(tmp_path, tmp_path / "none")
    async with world.client() as client, opened(world, str(client.base_url).rstrip("/")) as socket:
        await send(socket, samples_of(spoken))
        await socket.send(json.dumps({"event": "end"}))
        found = await events(socket)
    assert found[-1]["type"] == "/problems/model-missing" and socket.close_code == 1013

"""Fixtures of the voice's tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from voice_kit import SENTENCE, World

from tests.support import weights


@pytest.fixture(scope="session")
def models() -> Path:
    """A folder with the tiny model of Whisper and with Kokoro."""
    weights.whisper_tiny()
    return weights.kokoro().parent


@pytest.fixture(scope="session")
def spoken(models: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The sentences of the kit, spoken by Kokoro, as a WAV file of 24 kHz."""

    async def make() -> bytes:
        world = World(tmp_path_factory.mktemp("spoken"), models)
        async with world.client() as client:
            answer = await world.speak(client, SENTENCE, response_format="wav")
        assert answer.status_code == 200, answer.text
        return answer.content

    return asyncio.run(make())

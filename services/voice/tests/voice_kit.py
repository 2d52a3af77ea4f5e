"""Speech made for tests, and the service with a caller whom it knows."""

from __future__ import annotations

import contextlib
import io
import re
import wave
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from fastapi import FastAPI
from live_service import caller, callers_file, serving
from numpy.typing import NDArray
from zentoria_voice.app import create_app
from zentoria_voice.settings import Secrets, Settings

RATE = 16_000
SENTENCE = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background."
"""Two of the Harvard sentences (IEEE, 1969), which speech is measured with."""


def wav(samples: NDArray[Any], rate: int = RATE) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, np.int16).tobytes())
    return held.getvalue()


def samples_of(content: bytes) -> NDArray[np.int16]:
    """16,000 samples a second of a WAV file of another rate."""
    with wave.open(io.BytesIO(content)) as file:
        rate = file.getframerate()
        found = np.frombuffer(file.readframes(len(content)), np.int16)
    at = np.arange(0, len(found) * RATE / rate) * rate / RATE
    return np.interp(at, np.arange(len(found)), found).astype(np.int16)


def silence(seconds: float) -> NDArray[np.int16]:
    return np.zeros(int(seconds * RATE), np.int16)


def noise(seconds: float, level: int = 3000) -> NDArray[np.int16]:
    return np.random.default_rng(7).normal(0, level, int(seconds * RATE)).clip(-32000, 32000).astype(np.int16)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def word_error(said: str, wanted: str) -> float:
    """Word error rate: the fewest words to replace, add or leave out, by the words that are wanted."""
    a, b = words(said), words(wanted)
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1] / max(1, len(b))


class World:
    """The service, and the gateway that calls it."""

    def __init__(self, folder: Path, models: Path, **values: Any) -> None:
        self.backend = caller("backend")
        self.settings = Settings(
            container_name="voice", callers_file=callers_file(folder, self.backend), models_folder=models,
            transcription_model="whisper-tiny-en", speech_model="kokoro", max_body_bytes=50_000_000, **values,
        )  # fmt: skip
        self.app: FastAPI = create_app(self.settings, Secrets())

    def headers(self) -> dict[str, str]:
        return self.backend.headers("voice")

    def client(self) -> contextlib.AbstractAsyncContextManager[httpx2.AsyncClient]:
        """A client of the running service."""
        return serving(self.app)

    async def transcribe(self, client: httpx2.AsyncClient, content: bytes, **asked: str) -> httpx2.Response:
        files = {"file": ("a.wav", content, "application/octet-stream")}
        return await client.post("/v1/audio/transcriptions", files=files, data=asked, headers=self.headers())

    async def speak(self, client: httpx2.AsyncClient, text: str, **asked: Any) -> httpx2.Response:
        return await client.post("/v1/audio/speech", json={"input": text, **asked}, headers=self.headers())

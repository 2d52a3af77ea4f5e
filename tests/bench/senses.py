"""Reading, hearing, speaking: word errors, and processor time by page and by second of audio.

Pages are rendered here (clean, skewed, faint, noisy); speech is made by Kokoro and by espeak-ng of Harvard sentences
(IEEE Recommended Practice for Speech Quality Measurements, 1969). So both are kinder than scans and people.
``.venv/bin/python -m tests.bench.senses`` runs it alone.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import json
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
)


def senses() -> dict[str, dict[str, Any]]:
    """Measure; figures by what was done."""
    sys.path[:0] = [str(ROOT / "services"), *(str(ROOT / f"services/{name}/tests") for name in ("ocr", "voice"))]
    return reading() | hearing()


def reading() -> dict[str, dict[str, Any]]:
    """Tesseract alone, and with the second engine where it is not sure."""
    import numpy as np
    from ocr_kit import page, png, texts, word_error
    from PIL import Image

    def noisy(level: float) -> Image.Image:
        clean = np.asarray(page(SENTENCES, height=900, angle=2), np.float32)
        return Image.fromarray(
            (clean + np.random.default_rng(3).normal(0, level, clean.shape)).clip(0, 255).astype("uint8")
        )

    cases = {
        "clean": page(SENTENCES, height=900),
        "skewed by 3 degrees": page(SENTENCES, height=900, angle=3),
        "faint": page(SENTENCES, height=900, ink=215),
        "noisy": noisy(60),
        "very noisy": noisy(110),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, image in cases.items():
        for engines, below in (("tesseract", 0), ("and rapidocr", 75)):
            with tempfile.TemporaryDirectory(prefix="zentoria-bench-") as folder:
                seconds, told, document = _child(Path(folder), png(image), below)
            said = texts(document)[0]
            found[f"read {name}, {engines}"] = {
                "word_error": round(word_error(said, " ".join(SENTENCES)), 3),
                "confidence": told["confidence"],
                "engine": told["engine"],
                "cpu_s": seconds,
            }
    return found


def _child(folder: Path, content: bytes, below: int) -> tuple[float, dict[str, Any], bytes]:
    for name in ("work", "results"):
        (folder / name).mkdir()
    (folder / "source").write_bytes(content)
    job = {
        "source": str(folder / "source"), "mime": "image/png", "work": str(folder / "work"),
        "results": str(folder / "results"), "pages": None, "languages": ["eng"], "threads": 1, "page_seconds": 600,
        "memory": 2 << 30, "max_pages": 10, "max_pixels": 40_000_000, "max_image_pixels": 200_000_000,
        "second_opinion_below": below,
    }  # fmt: skip

    def run() -> subprocess.CompletedProcess[bytes]:
        environment = {"PATH": "/usr/bin:/bin", "OMP_THREAD_LIMIT": "1", "HOME": str(folder)}
        command = [sys.executable, "-m", "zentoria_ocr.recognition.child"]
        return subprocess.run(command, input=json.dumps(job).encode(), check=True, capture_output=True, env=environment)

    seconds, done = _cpu(run)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    told = next(one for one in events if one["event"] == "page")
    return seconds, told, (folder / "work/result.pdf").read_bytes()


def hearing() -> dict[str, dict[str, Any]]:
    """Models of Whisper on voices of Kokoro, and on espeak-ng."""
    from voice_kit import RATE, samples_of, word_error
    from zentoria_common.places import Places
    from zentoria_voice.models import kokoro, whisper
    from zentoria_voice.settings import Settings
    from zentoria_voice.speech.service import Speaker, Utterance

    from tests.support import weights

    pool = concurrent.futures.ThreadPoolExecutor(1)
    speaker = Speaker(Settings(), kokoro(weights.kokoro(), 1), Places("speech", 1, 1), pool)
    text, found = " ".join(SENTENCES), dict[str, dict[str, Any]]()
    spoken = {}
    for voice in ("af_heart", "bm_george", "espeak"):

        async def say(voice: str = voice) -> bytes:
            return b"".join([piece async for piece in speaker.speak(Utterance(text, voice, "", 1.0), "wav")])

        if not spoken:
            asyncio.run(say())  # the model is loaded by then
        seconds, content = _cpu(lambda: asyncio.run(say()))
        spoken[voice] = samples_of(content)
        length = len(spoken[voice]) / RATE
        found[f"speak, {voice}"] = {"cpu_s_by_second": round(seconds / length, 3), "seconds": round(length, 1)}
    for name in ("whisper-tiny-en", "whisper-base"):
        model = whisper(weights.folder(name), 1).get()
        for voice, samples in spoken.items():
            seconds, heard = _cpu(functools.partial(_heard, model, samples))
            said = "".join(one.segment.text for one in heard)
            found[f"hear {voice}, {name}"] = {
                "word_error": round(word_error(said, text), 3),
                "cpu_s_by_second": round(seconds / (len(samples) / RATE), 3),
            }
    pool.shutdown()
    found["memory of this process, all models"] = {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}
    return found


def _heard(model: Any, samples: Any) -> list[Any]:
    from zentoria_voice.transcription.whisper import Options, listen

    return list(listen(model, samples, Options(language="en"), threading.Event()))


def _cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds that work takes, with its children: wall time means little on a busy machine."""

    def used() -> float:
        return sum(
            one.ru_utime + one.ru_stime
            for one in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        )

    before = used()
    result = work()
    return round(used() - before, 2), result


if __name__ == "__main__":
    for what, figures in senses().items():
        print(f"{what:44}" + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)

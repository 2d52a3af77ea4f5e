"""A file of audio to numbers, by a child process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from zentoria_common.problems import Problem

from zentoria_voice.audio.child import RATE, TOO_LONG, TOO_MUCH

DECODE_SECONDS = 600.0
Samples = NDArray[np.int16]


async def decode(source: Path, work: Path, most: float) -> Samples:
    """Decode a file.

    Args:
        source: the file.
        work: a folder for the result, which stays on disk: two hours are 230 MB.
        most: seconds that it may have.

    Returns:
        Samples, 16,000 a second, mapped from the file.

    Raises:
        Problem: it is no audio that can be decoded, or too much of it.
    """
    target = work / "samples"
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zentoria_voice.audio.child", str(source), str(target), str(most),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        code = await asyncio.wait_for(process.wait(), DECODE_SECONDS)
    except TimeoutError:
        raise Problem(422, "the file takes longer to decode than it may", kind="not-audio") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    if code == TOO_LONG:
        detail = f"the audio is longer than {most:g} s"
        raise Problem(413, detail, kind="audio-too-long", most_seconds=most)
    if code == TOO_MUCH:
        raise Problem(422, "the file takes more memory to decode than it may", kind="not-audio")
    if code or not target.exists() or not target.stat().st_size:
        raise Problem(422, "the file holds no audio that can be decoded", kind="not-audio")
    return np.memmap(target, np.int16, "r")


def seconds_of(samples: Samples) -> float:
    """How long they take."""
    return len(samples) / RATE

"""Children that read documents: started, listened to, and ended with all that they started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from zentoria_ocr.recognition.child import TOO_MUCH
from zentoria_ocr.recognition.schemas import Job

LINE_BYTES = 64 * 1024


class Died(Exception):
    """The child ended before its time.

    Args:
        reason: ``time``, ``memory`` or ``crash``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def events(job: Job) -> AsyncGenerator[dict[str, Any]]:
    """What a child says of a job, one dictionary an event. Whoever stops listening ends it.

    Raises:
        Died: it said nothing for ``job.page_seconds``, or ended without a result.
    """
    work = Path(job.work)
    environment = {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        "HOME": job.work,
        "TMPDIR": job.work,
        "OMP_THREAD_LIMIT": str(job.threads),
        "OMP_NUM_THREADS": str(job.threads),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with (work / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "zentoria_ocr.recognition.child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, env=environment, cwd=work,
            start_new_session=True, limit=LINE_BYTES,
        )  # fmt: skip
    assert process.stdin and process.stdout  # noqa: S101 - pipes were asked for; for the type checker
    finished = False
    try:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(job.model_dump_json().encode())
            process.stdin.close()
        while line := await asyncio.wait_for(process.stdout.readline(), job.page_seconds):
            told = json.loads(line)
            finished = told["event"] in ("result", "refused")
            yield told
        if not finished:
            code = await process.wait()
            raise Died("memory" if code in (TOO_MUCH, -signal.SIGKILL) else "crash")
    except TimeoutError:
        raise Died("time") from None
    finally:
        # Its programs are in its session: none of them outlives it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())

"""One chat model's process: begun when it is asked for, ended when nobody does for long, begun anew when it died."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import secrets
import signal
import sys
from pathlib import Path

import httpx2
import structlog

LOAD_SECONDS = 300.0
PATIENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
"""For OpenMP, which computes: its threads wait for each other a thousand times a second, by default in a busy loop.
Where others want the cores too, two threads then took 55 s for what one does in 3 s; so they take 4 s."""
_LINES = 12
_log = structlog.stdlib.get_logger("zentoria_engine.runner")


class LoadError(Exception):
    """A model could not be loaded; the text says why, for users."""


@dataclasses.dataclass(frozen=True)
class Load:
    """What a process is to serve, and how."""

    name: str
    path: Path
    context: int
    slots: int
    threads: int
    gpu_layers: int
    cache_type: str

    @property
    def memory(self) -> int:
        """Bytes that it takes at least: the weights, and something to work with."""
        return self.path.stat().st_size + (48 << 20)


class Runner:
    """A process that serves one model.

    Args:
        load: which.
    """

    def __init__(self, load: Load) -> None:
        self.load = load
        self._process: asyncio.subprocess.Process | None = None
        self._http: httpx2.AsyncClient | None = None
        self._said: list[str] = []
        self._reading: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None and self._http is not None

    @property
    def pid(self) -> int | None:
        """Of its process; None when there is none."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def http(self) -> httpx2.AsyncClient:
        """A client for its server."""
        if self._http is None:
            raise LoadError(f"{self.load.name} is not loaded")
        return self._http

    async def start(self) -> None:
        """Load the model.

        Raises:
            LoadError: it cannot be.
        """
        await self.stop()
        free = memory_limit()
        if free and self.load.memory > free:
            raise LoadError(
                f"it needs more than {self.load.memory >> 20} MiB of memory, and this container has {free >> 20} MiB: "
                "give the container more, or choose a smaller model"
            )
        key = secrets.token_urlsafe(24)
        wanted = {
            "name": self.load.name, "path": str(self.load.path), "context": self.load.context, "key": key,
            "slots": self.load.slots, "threads": self.load.threads, "gpu_layers": self.load.gpu_layers,
            "cache_type": self.load.cache_type,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "zentoria_engine.child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=os.environ | PATIENT,
        )  # fmt: skip
        self._process, self._said = process, []
        self._reading = asyncio.create_task(self._read(process), name=f"log of {self.load.name}")
        try:
            url = await self._url(process, wanted)
        except BaseException:
            await self.stop()
            raise
        self._http = httpx2.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=httpx2.Timeout(None, connect=5),
            trust_env=False, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=4),
        )  # fmt: skip
        _log.info("loaded", model=self.load.name, pid=process.pid)

    async def _url(self, process: asyncio.subprocess.Process, wanted: dict[str, object]) -> str:
        if process.stdin is None or process.stdout is None:
            raise LoadError("its process has no pipes")
        line = b""
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(wanted).encode() + b"\n")
            await process.stdin.drain()
            try:
                async with asyncio.timeout(LOAD_SECONDS):
                    line = await process.stdout.readline()
            except TimeoutError:
                raise LoadError(f"it was not loaded in {LOAD_SECONDS:g} s") from None
        if not line:
            raise LoadError(await self.why())
        said = json.loads(line)
        if "url" not in said:
            await asyncio.sleep(0)
            raise LoadError(f"llama.cpp cannot load it: {self._last() or said.get('error')}")
        return str(said["url"])

    async def why(self) -> str:
        """Why the process ended."""
        if self._process is None:
            return "it was not started"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return "its process was killed: memory ran out, or somebody ended it"
        if code is not None and code < 0:
            return f"its process crashed ({signal.Signals(-code).name})"
        return f"its process ended with {code}: {self._last()}"

    def _last(self) -> str:
        """What llama.cpp said last that sounds like a reason."""
        found = [line for line in self._said if " E " in line] or self._said
        return found[0].rpartition(" E ")[2].strip()[:300] if found else ""

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stderr is None:
            return
        with contextlib.suppress(ValueError, ConnectionError):  # a line without an end
            while line := await process.stderr.readline():
                text = line.decode("utf-8", "replace").strip()
                self._said = [*self._said, text][-_LINES:]
                _log.debug("llama.cpp", model=self.load.name, line=text)

    async def stop(self) -> None:
        """End the process, if there is one: what it is at ends too."""
        process, self._process = self._process, None
        http, self._http = self._http, None
        reading, self._reading = self._reading, None
        if http is not None:
            await http.aclose()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if reading is not None:
            await asyncio.wait({reading})


def memory_limit() -> int | None:
    """Bytes of memory that this container has: the least of what its cgroup and its /proc/meminfo say."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    with contextlib.suppress(OSError, ValueError, IndexError):
        found.append(int(Path("/proc/meminfo").read_text().split()[1]) << 10)
    return min(found, default=None)

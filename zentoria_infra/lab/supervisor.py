"""Keeps one program running: starts it, waits until it answers, starts it again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zentoria_infra.errors import LabError
from zentoria_infra.lab.pidfile import PidFile

_LOG = logging.getLogger(__name__)
_POLL = 0.05
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_STEADY = 10.0


class Supervisor:
    """Runs a program as a child, in a session of its own.

    It survives when we are killed; whoever comes next ends it by its pid file and starts a new one.

    Args:
        name: for messages.
        argv: the program and its arguments; it stays in the foreground.
        log: file for its output.
        pid_file: says which process it is.
        ready: whether it answers.
        seconds: how long it may take to answer.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        pid_file: PidFile,
        ready: Callable[[], bool],
        seconds: float = 10.0,
    ) -> None:
        self._name = name
        self._argv = list(argv)
        self._log = log
        self._pid_file = pid_file
        self._ready = ready
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            LabError: it ends, or does not answer; with the end of its output.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._pid_file.end, 2.0)
        self._spawn()
        try:
            await self._wait_ready()
        except LabError:
            await self._end()
            raise
        self._watch = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End it for good."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._end()

    def _spawn(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._log.open("ab") as sink:
                self._process = subprocess.Popen(
                    self._argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", start_new_session=True,
                    env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                )  # fmt: skip
        except OSError as error:
            raise LabError(
                f"start {self._name}",
                on=self._argv[0],
                got=str(error),
                todo="install the program, or look at its permissions",
            ) from error
        self._pid_file.write(self._process.pid)

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._seconds
        loop = asyncio.get_running_loop()
        while not await loop.run_in_executor(None, self._ready):
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace").strip()[-600:]
                what = "it ended" if ended else "it does not answer"
                raise LabError(f"start {self._name}", got=f"{what}: {tail}", todo=f"see {self._log}")
            await asyncio.sleep(_POLL)

    async def _keep(self) -> None:
        wait = _FIRST_WAIT
        since = time.monotonic()
        while True:
            await asyncio.sleep(_FIRST_WAIT)
            if self._process is not None and self._process.poll() is None:
                if time.monotonic() - since > _STEADY:
                    wait = _FIRST_WAIT
                continue
            code = self._process.returncode if self._process is not None else None
            _LOG.warning("%s ended with code %s; it is started again in %.1f s", self._name, code, wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            since = time.monotonic()
            try:
                self._spawn()
            except LabError as error:
                _LOG.error("%s", error)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.get_running_loop().run_in_executor(None, process.wait, 3.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._pid_file.remove()

"""Several processes that serve the same sockets: a parent starts them, watches over them and replaces them.

Each worker is a whole server with an event loop of its own. The parent has none: it forks before anything runs, so that
what was loaded is in memory once.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable

import structlog

from zentoria_common import siblings, systemd

HANGS_SECONDS = 30.0
"""A worker whose event loop says nothing for so long is killed and replaced."""
STARTS_SECONDS = 120.0
"""The same before it is ready: on a busy machine, to make the application takes its time."""
LIVED_SECONDS = 10.0
"""Who dies earlier is replaced later and later."""
LONGEST_PAUSE = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

_log = structlog.stdlib.get_logger("zentoria_common.workers")


class Link:
    """A worker's side of the pipe to its parent: it says that it is ready, and that it lives."""

    interval = 1.0

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def ready(self) -> None:
        """Requests are answered from now on."""
        self._say(b"R")

    def alive(self) -> bool:
        """Say so; False: the parent is gone, and nobody would replace or stop this process."""
        return self._say(b".")

    def stopping(self) -> None:
        """The parent knows: it asked for it, or sees the end."""

    def _say(self, what: bytes) -> bool:
        try:
            os.write(self._pipe, what)
        except BlockingIOError:  # the parent reads late
            return True
        except BrokenPipeError:
            return False
        return True


class _Child:
    """One place among the workers, and who has it now."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.pipe = -1
        self.ready = False
        self.started = self.heard = 0.0
        self.deaths = 0
        self.due: float | None = 0.0
        """When a worker is to be started here; None: there is one."""


class Workers:
    """The parent.

    Args:
        count: how many.
        serve: runs one worker until it is told to stop; returns its exit code. It is called in the new process.
        patience: seconds that a worker which was told to stop may take.
    """

    def __init__(self, count: int, serve: Callable[[Link], int], *, patience: float) -> None:
        self._serve, self._patience = serve, patience
        self._children = [_Child(index) for index in range(count)]
        self._meeting = siblings.listeners(count)
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._woken = socket.socketpair()
        self._was_ready = False

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns:
            0; or the exit code of a worker that ended before all were ready for the first time.
        """
        for each in (self._wakeup, self._woken):
            each.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        for number in _SIGNALS:  # a handler of Python's own, so that the number is written to the socket
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        interval = systemd.watchdog_interval()
        petted = 0.0
        code: int | None = None
        while code is None:
            now = time.monotonic()
            for child in self._children:
                if child.due is not None and now >= child.due:
                    self._start(child)
            if interval is not None and now - petted >= interval:
                petted = now
                systemd.notify("WATCHDOG=1")
            told = self._listen(self._timeout(now, petted, interval))
            code = self._reap()
            if told & {signal.SIGTERM, signal.SIGINT}:
                code = 0
            self._kill_hanging()
        systemd.notify("STOPPING=1")
        self._stop()
        return code

    def _timeout(self, now: float, petted: float, interval: float | None) -> float:
        moments = [now + 1.0, *(child.due for child in self._children if child.due is not None)]
        if interval is not None:
            moments.append(petted + interval)
        return max(0.0, min(moments) - now)

    def _start(self, child: _Child) -> None:
        mine, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(mine)
                os.set_blocking(theirs, False)
                code = self._begin(child, theirs)
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(OSError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)  # what the parent registered for its own end is not this one's
        os.close(theirs)
        os.set_blocking(mine, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        child.pid, child.pipe, child.ready, child.due = pid, mine, False, None
        child.started = child.heard = time.monotonic()
        self._selector.register(mine, selectors.EVENT_READ, child)

    def _begin(self, child: _Child, pipe: int) -> int:
        """Leave all that is the parent's, and serve. Runs in the new process."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopped)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._selector.close()
        self._wakeup.close()
        self._woken.close()
        for other in self._children:
            if other.pipe >= 0:
                os.close(other.pipe)
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)
        siblings.become(child.index, self._meeting)
        return self._serve(Link(pipe))

    def _listen(self, timeout: float) -> set[int]:
        """Hear workers and signals; returns the signals' numbers."""
        signals: set[int] = set()
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    signals |= set(self._woken.recv(512))
                continue
            child: _Child = key.data
            with contextlib.suppress(BlockingIOError):
                said = os.read(child.pipe, 4096)
                if not said:  # it has closed its end: its death is told by SIGCHLD
                    self._selector.unregister(child.pipe)
                    continue
                child.heard = time.monotonic()
                child.ready = child.ready or b"R" in said
        if not self._was_ready and all(child.ready for child in self._children):
            self._was_ready = True
            systemd.notify("READY=1")
        return signals

    def _reap(self) -> int | None:
        """Take note of workers that ended; the exit code where the service is to end with them."""
        for child in self._children:
            if (status := self._ended(child)) is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            lived = time.monotonic() - child.started
            if not self._was_ready:
                return code if code > 0 else 1
            child.deaths = 0 if lived >= LIVED_SECONDS else child.deaths + 1
            pause = 0.0 if child.deaths == 0 else min(0.25 * 2**child.deaths, LONGEST_PAUSE)
            child.due = time.monotonic() + pause
            _log.error("worker ended and is replaced", attempt=child.deaths, status=code)
        return None

    def _ended(self, child: _Child) -> int | None:
        """The status of a worker that has ended, once; None: it runs, or there is none."""
        if child.due is not None:
            return None
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if not pid:
            return None
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.pipe)
        os.close(child.pipe)
        child.pid, child.pipe, child.due = 0, -1, float("inf")
        return status

    def _kill_hanging(self) -> None:
        now = time.monotonic()
        for child in self._children:
            limit = HANGS_SECONDS if child.ready else STARTS_SECONDS
            if child.pid and now - child.heard >= limit:
                _log.error("worker hangs and is killed", attempt=child.deaths)
                os.kill(child.pid, signal.SIGKILL)

    def _stop(self) -> None:
        """Tell all to stop, and wait for them."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in self._children:
                if child.pid:
                    os.kill(child.pid, number)
            deadline = time.monotonic() + self._patience
            while any(child.pid for child in self._children) and (left := deadline - time.monotonic()) > 0:
                self._listen(min(left, 1.0))
                for child in self._children:
                    self._ended(child)


def _noted(_signal: int, _frame: object) -> None:
    """Do nothing: the number is in the wake-up socket."""


def _stopped(_signal: int, _frame: object) -> None:
    """Stop: uvicorn raises the signal again after its graceful stop."""
    sys.exit(0)

"""A command that runs at the other end of an SSH channel, with its three streams."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import paramiko

from zentoria_infra.errors import GuestError
from zentoria_infra.proxmox.shell.ssh import SshTarget, dropped
from zentoria_infra.proxmox.shell.starting import BEGUN, PATIENCE

_TICK = 0.5
"""Seconds after which a blocked read or write looks at its deadline."""
_CHUNK = 64 * 1024
HELD = 32 * 1024 * 1024
"""Bytes of output that wait to be read; the other side waits with the rest."""
_STDERR_KEPT = 256 * 1024
"""Bytes of stderr that are kept, from its end."""
_STARTING = 5.0
"""Seconds after which a command that says nothing is taken to have begun, where it does not tell."""
_SETTLE = 0.5
"""Seconds in which a closed channel shows whether its connection is gone too."""


class PctSession:
    """A running command with its streams. Threads of its own drain stdout and stderr, so that neither blocks.

    For one caller at a time. Made by :meth:`Pct.session`.

    Args:
        channel: of the command.
        target: where it runs.
        tried: what it is for, for error texts.
        timeout: seconds for each read or write, when a method is not told another.
        announced: whether it says that it has begun (:func:`~.starting.announced`): time limits count from then, and
            the node has its own time until then.
        begun: called once when it has begun.
        patience: seconds that the node has until then.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        target: SshTarget,
        tried: str,
        timeout: float,
        *,
        announced: bool = False,
        begun: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
    ) -> None:
        self._channel = channel
        self._target = target
        self._tried = tried
        self._timeout = timeout
        self._announced = announced
        self._tell_begun = begun
        self._patience = patience
        self._made = time.monotonic()
        self._begun: float | None = None
        self._news = threading.Condition()
        self._out = bytearray()
        self._errors: deque[bytes] = deque()
        self._errors_size = 0
        self._out_ended = False
        self._dropping = False
        channel.settimeout(_TICK)
        self._pumps = [
            threading.Thread(target=self._pump_out, name="pct-stdout", daemon=True),
            threading.Thread(target=self._pump_errors, name="pct-stderr", daemon=True),
        ]
        for pump in self._pumps:
            pump.start()

    @property
    def stderr(self) -> bytes:
        """What came on stderr so far (its end, if it is long)."""
        with self._news:
            return b"".join(self._errors)[-_STDERR_KEPT:]

    @property
    def ended(self) -> bool:
        """Whether its exit code has come."""
        return self._channel.status_event.is_set()

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """Send all of ``data`` to the command's stdin.

        Raises:
            GuestError: the command has ended or does not read within ``timeout`` seconds.
            UnreachableError: the connection broke.
        """
        since = time.monotonic()
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(bytes(view[:_CHUNK]))
            except TimeoutError:
                if self._left(since, timeout) <= 0:
                    raise self._too_slow("did not read its input", timeout) from None
                continue
            except (OSError, EOFError):
                raise self._broken() from None
            if sent == 0:
                raise self._broken()
            view = view[sent:]

    def close_stdin(self) -> None:
        """Say that nothing more comes."""
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError):
            return  # the command ended first; how it ended is seen by whoever reads on

    def read_line(self, timeout: float | None = None, *, limit: int = 16 * 1024 * 1024) -> bytes:
        r"""The next line with its ``\n``; without it, or empty, at the end of the stream.

        Raises:
            GuestError: no line within ``timeout`` seconds, or one longer than ``limit`` bytes.
            UnreachableError: the connection broke.
        """
        since = time.monotonic()
        searched = 0
        with self._news:
            while True:
                end = self._out.find(b"\n", searched)
                if end >= 0:
                    return self._take(end + 1)
                searched = len(self._out)
                if searched > limit:
                    raise GuestError(
                        self._tried,
                        on=self._target.where,
                        got=f"a line longer than {limit} bytes",
                        todo="the program in the container writes something else than it should: look at its log",
                    )
                if self._out_ended:
                    self._check_alive()
                    return self._take(len(self._out))
                self._wait(since, timeout)

    def read_exactly(self, size: int, timeout: float | None = None) -> bytes:
        """The next ``size`` bytes, at most :data:`HELD`.

        Raises:
            GuestError: the stream ended before, or not within ``timeout`` seconds.
            UnreachableError: the connection broke.
        """
        since = time.monotonic()
        with self._news:
            while len(self._out) < size:
                if self._out_ended:
                    self._check_alive()
                    raise GuestError(
                        self._tried,
                        on=self._target.where,
                        got=f"the output ended after {len(self._out)} of {size} bytes{self._stderr_tail()}",
                        todo="run again; `zentoria logs` shows what the container says",
                    )
                self._wait(since, timeout)
            return self._take(size)

    def read_some(self, timeout: float | None = None) -> bytes:
        """What has come by now, and at least one byte; empty at the end of the stream.

        Raises:
            GuestError: nothing came within ``timeout`` seconds.
            UnreachableError: the connection broke.
        """
        since = time.monotonic()
        with self._news:
            while not self._out and not self._out_ended:
                self._wait(since, timeout)
            if not self._out:
                self._check_alive()
            return self._take(len(self._out))

    def read_all(self, timeout: float | None = None) -> bytes:
        """Everything up to the end of the stream.

        Raises:
            GuestError: it did not end within ``timeout`` seconds, or is longer than :data:`HELD` bytes.
        """
        since = time.monotonic()
        with self._news:
            while not self._out_ended:
                if len(self._out) >= HELD:
                    raise GuestError(
                        self._tried,
                        on=self._target.where,
                        got=f"more than {HELD} bytes of output",
                        todo="the program there writes something else than it should: look at its log",
                    )
                self._wait(since, timeout)
            return self._take(len(self._out))

    def close(self, timeout: float | None = None) -> int:
        """Close stdin, wait for the end, and return the exit code. Unread output is dropped.

        Raises:
            GuestError: it did not end in time, or was killed by a signal.
            UnreachableError: the connection broke before the exit code came.
        """
        self.close_stdin()
        since = time.monotonic()
        with self._news:
            self._dropping = True
            self._news.notify_all()
        while not self._channel.exit_status_ready():
            if self._channel.status_event.wait(_TICK):
                break
            if self._left(since, timeout) <= 0:
                raise self._too_slow("did not end", timeout)
        for pump in self._pumps:
            pump.join(timeout=max(_TICK, self._left(since, timeout)))
        self._has_begun()
        return self._exit_code()

    def _exit_code(self) -> int:
        code = self._channel.recv_exit_status()
        if code == -1:
            self._check_alive()
            raise GuestError(
                self._tried,
                on=self._target.where,
                got=f"it ended without an exit code, killed by a signal{self._stderr_tail()}",
                todo="it was killed, perhaps for want of memory: look at `zentoria logs`, then run again",
            )
        return code

    def _check_alive(self) -> None:
        if self._cut():
            raise dropped(self._target, self._tried, "it was lost in mid-stream" + self._stderr_tail())

    def _cut(self) -> bool:
        """Whether the connection went away before the command's exit code came.

        paramiko closes the channels first and says that the connection is dead a moment later.
        """
        transport = self._channel.get_transport()
        until = time.monotonic() + _SETTLE
        while self._channel.closed and self._channel.exit_status == -1:
            if transport is None or not transport.is_active():
                return True
            if time.monotonic() >= until:
                break
            time.sleep(0.01)
        return False

    def _broken(self) -> Exception:
        """Why nothing more could be written."""
        until = time.monotonic() + _SETTLE
        while not self._channel.closed and time.monotonic() < until:
            time.sleep(0.01)
        if self._cut():
            return dropped(self._target, self._tried, "it was lost in mid-stream")
        code = self._channel.exit_status
        how = f"exit code {code}" if code != -1 else "no exit code"
        return GuestError(
            self._tried,
            on=self._target.where,
            got=f"it ended ({how}) before it had read its input{self._stderr_tail()}",
            todo="run again; `zentoria logs` shows what the container says",
        )

    def _too_slow(self, what: str, timeout: float | None) -> GuestError:
        seconds = self._timeout if timeout is None else timeout
        if self._announced and self._begun is None:
            return GuestError(
                self._tried,
                on=self._target.where,
                got=f"the node has not begun it after {self._patience:.0f} s{self._stderr_tail()}",
                todo="the node is there, SSH answers, but it is very slow: look at its load (`uptime`, `top`); each "
                "`pct exec` takes it a second of a processor before anything runs. Run again when it is less busy",
            )
        return GuestError(
            self._tried,
            on=self._target.where,
            got=f"it {what} within {seconds:.0f} s{self._stderr_tail()}",
            todo="it may still run inside the container: look there before the next run",
        )

    def _stderr_tail(self) -> str:
        lines = self.stderr.decode("utf-8", "replace").splitlines()[-10:]
        return "".join(f"\n    {line}" for line in lines)

    def _left(self, since: float, timeout: float | None) -> float:
        """Seconds that are left of a time limit which counts from ``since``, or from when the command has begun."""
        now = time.monotonic()
        if self._announced and self._begun is None:
            return self._made + self._patience - now
        if self._begun is None and now > self._made + _STARTING:
            self._has_begun()
        seconds = self._timeout if timeout is None else timeout
        return max(since, self._begun if self._announced and self._begun else since) + seconds - now

    def _has_begun(self) -> None:
        if self._begun is None:
            self._begun = time.monotonic()
            self._tell_begun()

    def _wait(self, since: float, timeout: float | None) -> None:
        left = self._left(since, timeout)
        if left <= 0:
            raise self._too_slow("gave no answer", timeout)
        self._news.wait(min(left, _TICK))

    def _take(self, size: int) -> bytes:
        data = bytes(self._out[:size])
        del self._out[:size]
        self._news.notify_all()
        return data

    def _make_room(self) -> None:
        """Wait until what came is read: SSH's window then stops the other side, and memory stays bounded."""
        with self._news:
            while len(self._out) >= HELD and not self._dropping and not self._channel.closed:
                self._news.wait(_TICK)
            if self._dropping:
                self._out.clear()

    def _pump_out(self) -> None:
        while True:
            self._make_room()
            try:
                data = self._channel.recv(_CHUNK)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if data:
                self._has_begun()
            with self._news:
                self._out += data
                self._out_ended = not data
                self._news.notify_all()
            if not data:
                return

    def _pump_errors(self) -> None:
        held, looking = b"", self._announced
        while True:
            try:
                data = self._channel.recv_stderr(_CHUNK)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            ended = not data
            if looking:
                # The node's own words, as those of Perl about locales, may come before it.
                before, word, after = (held + data).partition(BEGUN)
                held = before[-len(BEGUN) + 1 :] if not word and not ended else b""
                data = before[: len(before) - len(held)] + after
                if word:
                    looking = False
                    self._has_begun()
            if data:
                self._keep_error(data)
            if ended:
                return

    def _keep_error(self, data: bytes) -> None:
        with self._news:
            self._errors.append(data)
            self._errors_size += len(data)
            while self._errors_size - len(self._errors[0]) >= _STDERR_KEPT:
                self._errors_size -= len(self._errors.popleft())

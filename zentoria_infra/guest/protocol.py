"""The workstation's side of a convergence: one stream to the agent and back.

The request goes in with a line that says its length. The agent answers JSON lines: ``need`` once, with the blobs it
lacks, which are then sent; ``start`` and ``progress`` as it works; at last ``report``, or ``error``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from zentoria_infra.errors import GuestError, visible
from zentoria_infra.guest import words
from zentoria_infra.guest.bundle import NO_PYTHON, agent
from zentoria_infra.guest.state import ORPHAN, Command, GuestReport, GuestState

VERSION = 1
"""Of the protocol; the agent refuses another one. It is sent along each time, so the two never differ in practice."""

SILENCE = 1500.0
"""Seconds without a word after which an agent counts as stuck: longer than anything it does in one go."""

LONGEST: Mapping[str, float] = {"check": 900.0, "apply": 4 * 3600.0}
"""Seconds that an agent may take in all, besides the time limits of its commands. Who only talks does not go on."""

_CHUNK = 1 << 20
"""Bytes of a blob that are in memory at a time: some are larger than what a workstation has to spare."""

Mode = Literal["check", "apply"]
Heard = Callable[[Mapping[str, Any]], None]
"""Told of the agent's events: ``{"event": "start" | "progress", "id": ...}``."""


class NoPythonError(GuestError):
    """The guest has no Python; ``bundle.bootstrap_argv`` installs it."""


class Channel(Protocol):
    """A running command's streams, as :class:`zentoria_infra.proxmox.shell.stream.PctSession` has them."""

    @property
    def stderr(self) -> bytes:
        """What came on standard error so far."""
        ...

    def write(self, data: bytes, /) -> None:
        """Send to the command's standard input."""
        ...

    def read_line(self, timeout: float | None = None) -> bytes:
        """One line of its standard output with its end; empty at the end of the stream."""
        ...

    def close(self) -> int:
        """Wait for the end of the command; its exit code."""
        ...


class Blobs(Protocol):
    """Content by its SHA-256."""

    def path(self, sha256: str) -> Path:
        """The file that holds it."""
        ...


def converge(
    channel: Channel, state: GuestState, blobs: Blobs, mode: Mode, heard: Heard, key: bytes = b""
) -> GuestReport:
    """Have the agent check or apply a state.

    Args:
        channel: runs :func:`zentoria_infra.guest.bundle.agent_argv`.
        state: what the guest shall be.
        blobs: content that the agent may ask for.
        mode: ``check`` changes nothing.
        heard: told of each event.
        key: the site's, of which the agent gets one of its own to make fingerprints of secrets.

    Raises:
        NoPythonError: the guest cannot run the agent.
        GuestError: the agent broke, or said something that is not of the protocol.
    """
    request = json.dumps(
        {"version": VERSION, "mode": mode, "key": key_of(key, state.vmid), "state": state.model_dump(mode="json")}
    ).encode()
    until = time.monotonic() + LONGEST[mode] + sum(one.timeout for one in state.resources if isinstance(one, Command))
    _send(channel, state, agent() + b"%d\n" % len(request) + request)
    sent = False
    while True:
        message = _message(channel, state)
        if time.monotonic() > until:
            raise GuestError(
                _tried(state),
                got=f"no report after {LONGEST[mode]:.0f} s, though it talks",
                todo=f"look at what it does: `pct exec {state.vmid} -- ps axf`; then run again",
            )
        match message:
            case words.Need(need=wanted):
                if sent or not state.blobs() >= set(wanted):
                    raise _not_its_words(state, "it asks for what it was not told of, or twice")
                sent = True
                for sha256 in wanted:
                    _send_file(channel, state, sha256, blobs.path(sha256))
            case words.Event():
                heard(message.told())
            case words.Report(report=report):
                channel.close()
                return _report(report, state, mode)
            case words.Refusal():
                raise _refused(message, state)


def key_of(key: bytes, vmid: int) -> str:
    """A guest's own key for fingerprints, in hexadecimal: with it nobody can try guesses at another guest's secrets."""
    return "" if not key else hmac.new(key, b"fingerprints of %d" % vmid, hashlib.sha256).hexdigest()


def _refused(message: words.Refusal, state: GuestState) -> GuestError:
    said = (message.error, message.command, *message.output.splitlines())
    return GuestError(
        _tried(state),
        got="\n  ".join(str(part) for part in said if part),
        todo="run the command again; it goes on from what is there",
    )


def _send_file(channel: Channel, state: GuestState, sha256: str, path: Path) -> None:
    """Send a blob piece by piece, and see on the way that it is what its name says.

    Raises:
        GuestError: it is not, or cannot be read; or the agent ended early.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            left = os.fstat(stream.fileno()).st_size
            _send(channel, state, f"{sha256} {left}\n".encode())
            while left and (chunk := stream.read(min(_CHUNK, left))):
                digest.update(chunk)
                _send(channel, state, chunk)
                left -= len(chunk)
    except OSError as error:
        raise GuestError(
            _tried(state),
            on=str(path),
            got=error.strerror or str(error),
            todo="look at that file and its permissions, then run again",
        ) from error
    if digest.hexdigest() != sha256:
        raise GuestError(
            _tried(state),
            on=str(path),
            got=f"its SHA-256 is {digest.hexdigest()}: the disk or somebody changed it",
            todo="remove that file and run again: it is fetched or built anew",
        )


def _send(channel: Channel, state: GuestState, data: bytes) -> None:
    """Write to the agent. When it does not read any more, what it said last tells why.

    Raises:
        NoPythonError: it never began, for want of Python.
        GuestError: it ended early.
    """
    try:
        channel.write(data)
    except (OSError, GuestError) as error:
        while True:
            try:
                message = _message(channel, state)
            except OSError:
                raise GuestError(
                    _tried(state), got=f"the connection broke: {error}", todo="run again: it goes on from what is there"
                ) from error
            if isinstance(message, words.Refusal):
                raise _refused(message, state) from error


def _tried(state: GuestState) -> str:
    return f"converge container {state.vmid} ({state.hostname})"


def _not_its_words(state: GuestState, what: str) -> GuestError:
    return GuestError(
        _tried(state),
        got=f"not the agent's words: {what}",
        todo="something in the container writes among the agent's answers, or in its place: look at its profile files "
        "and at who is root there, then run again",
    )


def _message(channel: Channel, state: GuestState) -> words.Message:
    longest = max((one.timeout for one in state.resources if isinstance(one, Command)), default=0)
    line = channel.read_line(max(SILENCE, longest + 60.0))
    if line.strip() == NO_PYTHON.encode():
        raise NoPythonError(
            _tried(state),
            got=NO_PYTHON,
            todo="run again: the tool installs it when the container can reach its package sources",
        )
    if not line:
        code = channel.close()
        said = visible(channel.stderr.decode(errors="replace").strip(), keep="\n\t")
        raise GuestError(
            _tried(state),
            got=f"the agent ended with exit code {code} and no report" + (f": {said[-2000:]}" if said else ""),
            todo=f"run the command again; `pct exec {state.vmid} -- {shlex.join(['journalctl', '-n', '50'])}` may tell",
        )
    try:
        return words.read(line)
    except ValueError as error:
        text = line[:300].decode(errors="replace").strip()
        raise _not_its_words(state, f"{visible(text)!r} ({error})") from None


def _report(report: GuestReport, state: GuestState, mode: Mode) -> GuestReport:
    """The report, when it is one of what was asked.

    Raises:
        GuestError: it tells of another container, another mode, or of other things than the state has.
    """
    if (report.vmid, report.mode) != (state.vmid, mode):
        raise _not_its_words(state, f"a report of container {report.vmid}, {report.mode}")
    ids = [one.id for one in report.resources]
    ours = [one for one in ids if not one.startswith(ORPHAN)]
    wanted = {one.id for one in state.resources}
    if len(set(ids)) != len(ids) or not wanted >= set(ours) or (not report.failed and wanted != set(ours)):
        raise _not_its_words(state, "a report of other things than it was told of")
    if report.failed and report.failed not in ids:
        raise _not_its_words(state, "what failed is not in its report")
    return report

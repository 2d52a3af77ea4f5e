"""The workstation's side of a convergence: one stream to the agent and back.

The request goes in with a line that says its length. The agent answers JSON lines: ``need`` once, with the blobs it
lacks, which are then sent; ``start`` and ``progress`` as it works; at last ``report``, or ``error``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from zentoria_infra.errors import GuestError
from zentoria_infra.guest.bundle import NO_PYTHON, agent
from zentoria_infra.guest.state import Command, GuestReport, GuestState

VERSION = 1
"""Of the protocol; the agent refuses another one. It is sent along each time, so the two never differ in practice."""

SILENCE = 1500.0
"""Seconds without a word after which an agent counts as stuck: longer than anything it does in one go."""

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
        key: the site's, with which the agent makes fingerprints of secrets.

    Raises:
        NoPythonError: the guest cannot run the agent.
        GuestError: the agent broke, or said something that is not of the protocol.
    """
    request = json.dumps(
        {"version": VERSION, "mode": mode, "key": key.hex(), "state": state.model_dump(mode="json")}
    ).encode()
    _send(channel, state, agent() + b"%d\n" % len(request) + request)
    while True:
        message = _message(channel, state)
        if "need" in message:
            for sha256 in message["need"]:
                _send_file(channel, state, str(sha256), blobs.path(str(sha256)))
        elif "event" in message:
            heard(message)
        elif "report" in message:
            channel.close()
            return _report(message["report"], state)
        elif "error" in message:
            raise _refused(message, state)
        else:
            raise GuestError(
                _tried(state),
                got=f"not the agent's words: {json.dumps(message)[:300]}",
                todo="something in the container writes among the answers: look at its profile files, then run again",
            )


def _refused(message: Mapping[str, Any], state: GuestState) -> GuestError:
    said = (message["error"], message.get("command"), *str(message.get("output", "")).splitlines())
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
            if "error" in message:
                raise _refused(message, state) from error


def _tried(state: GuestState) -> str:
    return f"converge container {state.vmid} ({state.hostname})"


def _message(channel: Channel, state: GuestState) -> dict[str, Any]:
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
        said = channel.stderr.decode(errors="replace").strip()
        raise GuestError(
            _tried(state),
            got=f"the agent ended with exit code {code} and no report" + (f": {said[-2000:]}" if said else ""),
            todo=f"run the command again; `pct exec {state.vmid} -- {shlex.join(['journalctl', '-n', '50'])}` may tell",
        )
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        text = line.decode(errors="replace").strip()
        raise GuestError(
            _tried(state),
            got=f"not the agent's words: {text[:300]!r}",
            todo="something in the container writes among the answers: look at its profile files, then run again",
        )
    return message


def _report(value: object, state: GuestState) -> GuestReport:
    try:
        return GuestReport.model_validate(value)
    except ValidationError as error:
        raise GuestError(
            _tried(state),
            got=f"a report that is not one: {error.error_count()} errors",
            todo="run again; if it stays, the agent and this tool are of different versions",
        ) from None

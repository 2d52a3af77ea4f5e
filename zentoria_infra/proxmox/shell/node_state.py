"""What a site remembers, asked of the program ``zentoria-state``: on the node over SSH, or wherever else it runs."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zentoria_infra.errors import GuestError, ZentoriaError
from zentoria_infra.proxmox.shell.pct import ExecResult
from zentoria_infra.proxmox.shell.ssh import SshConnection
from zentoria_infra.proxmox.shell.stream import PctSession

PROGRAM = "zentoria-state"
INSTALLED = f"/usr/local/sbin/{PROGRAM}"
"""Where the program is on a node."""

_MARK = "zentoria-state"
"""What every answer of the program begins with, and holds the number of its protocol."""
_PROTOCOL = 1
_BUSY = 75
_NOT_RUN = (126, 127)
"""Exit codes of a shell that cannot run the command."""
_NOT_LET_THROUGH = re.compile(rb"may be run here|not allowed|not permitted|No such file or directory")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class StateError(ZentoriaError):
    """What the site remembers cannot be read or written."""


class MissingProgramError(StateError):
    """The node has no ``zentoria-state``, or does not let us run it."""


class Runner(Protocol):
    """Runs the program somewhere."""

    @property
    def where(self) -> str:
        """Where, in words."""
        ...

    def run(self, argv: Sequence[str], stdin: bytes, tried: str) -> ExecResult:
        """Run it with arguments and input. Raises UnreachableError, MissingProgramError."""
        ...


@dataclass(frozen=True)
class Holder:
    """A run that holds the lock, or held it.

    Attributes:
        id: of the run.
        since: when it began, UTC, as ``2026-11-25T19:13:22Z`` by the node's clock.
        address: where its SSH connection came from; empty without SSH.
        record: what it said of itself.
        left: seconds until the lock expires; 0 or less when it has.
    """

    id: str
    since: str
    address: str
    record: Mapping[str, Any]
    left: float


@dataclass(frozen=True)
class Begun:
    """The lock is ours.

    Attributes:
        after: whose lock was there before, and had expired or was taken over; None for nobody's.
        documents: those that were asked for; None for one that there is not.
    """

    after: Holder | None
    documents: Mapping[str, bytes | None]


@dataclass(frozen=True)
class Run:
    """A run in the history. ``ended`` is None for one that is at work (``running``), or has died."""

    id: str
    begun: str
    ended: str | None
    running: bool
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Runs:
    """Runs, the newest first.

    Attributes:
        runs: as many as were asked for.
        total: how many there are.
        damaged: lines of the history that could not be read.
        plan: of the one run that was asked for, where it is still kept.
    """

    runs: tuple[Run, ...]
    total: int
    damaged: int
    plan: Any = None


class HeldError(StateError):
    """Somebody else has the lock; ``holder`` is None when nobody has it any more."""

    def __init__(self, tried: str, on: str, holder: Holder | None) -> None:
        super().__init__(tried, on=on, got="another run holds the lock", todo="`zentoria lock` shows which")
        self.holder = holder


class ProgramState:
    """The memory of a site. Safe from several threads and processes; every call may be made again if it failed.

    All methods raise StateError, and UnreachableError where the program runs over SSH.

    Args:
        site: the site's id.
        runner: runs the program.
    """

    def __init__(self, site: str, runner: Runner) -> None:
        self._site = site
        self._runner = runner

    @property
    def where(self) -> str:
        """Where it is kept, in words."""
        return self._runner.where

    def get(self, name: str) -> bytes | None:
        """A document; None when there is none of that name."""
        _check(name)
        answer = self._ask(f"read what {self._site} remembers as {name!r}", ["get", name])
        return self._documents(answer)[name]

    def put(self, name: str, content: bytes) -> None:
        """Write a document, whole."""
        _check(name)
        self._ask(f"write what {self._site} remembers as {name!r}", ["put", name], content)

    def begin(
        self, run: str, record: Mapping[str, Any], *, lease: float, instead: str = "", documents: Sequence[str] = ()
    ) -> Begun:
        """Take the lock for a run, begin its record, and read documents.

        Args:
            run: the run's id, 12 to 32 hexadecimal digits.
            record: what it says of itself; no secrets.
            lease: seconds after which the lock expires unless it is renewed.
            instead: a run that is known to be dead, whose lock may be taken.
            documents: names.

        Raises:
            HeldError: somebody else has the lock.
        """
        argv = ["begin", run, "--lease", f"{lease:.3f}"]
        argv += ["--instead", instead] if instead else []
        for name in documents:
            argv += ["--get", _check(name)]
        answer = self._ask("take the site's lock", argv, _json(record))
        after = answer.get("after")
        return Begun(_holder(after) if after else None, self._documents(answer))

    def renew(self, run: str) -> None:
        """Begin the lease of a run's lock anew.

        Raises:
            HeldError: it is not that run's any more.
        """
        self._ask("renew the site's lock", ["renew", run])

    def note(self, run: str, record: Mapping[str, Any], plan: Any = None) -> None:
        """Add to a run's record. ``plan`` is any JSON value, kept for the newest runs."""
        values = {"record": record} if plan is None else {"record": record, "plan": plan}
        self._ask("write the site's history", ["note", run], _json(values))

    def end(self, run: str, record: Mapping[str, Any], documents: Mapping[str, bytes] | None = None) -> None:
        """Write documents, end the run's record, and give the lock back.

        Raises:
            HeldError: the lock is not that run's any more; its record is written, the documents are not.
        """
        packed = {_check(name): base64.b64encode(content).decode() for name, content in (documents or {}).items()}
        self._ask(
            "end the run and give the site's lock back", ["end", run], _json({"record": record, "documents": packed})
        )

    def holder(self) -> Holder | None:
        """Whose lock is there, expired or not."""
        return _maybe(self._ask("see who holds the site's lock", ["show"]).get("held"))

    def break_lock(self, run: str = "") -> Holder | None:
        """Take the lock from whoever has it; with ``run``, only from that one. Gives back whose it was.

        Raises:
            HeldError: another than ``run`` has it.
        """
        return _maybe(self._ask("break the site's lock", ["break", *([run] if run else [])]).get("held"))

    def runs(self, count: int = 20, begins: str = "") -> Runs:
        """The newest runs, or those whose id begins with ``begins``; the plan comes with it when it is one."""
        argv = ["history", "--count", str(count), *(["--id", begins] if begins else [])]
        answer = self._ask("read the site's history", argv)
        found = tuple(
            Run(one["id"], one["begun"], one["ended"], bool(one["running"]), one["record"]) for one in answer["runs"]
        )
        return Runs(found, int(answer["total"]), int(answer["damaged"]), answer["plan"])

    def _documents(self, answer: Mapping[str, Any]) -> dict[str, bytes | None]:
        try:
            return {
                name: None if text is None else base64.b64decode(text, validate=True)
                for name, text in answer["documents"].items()
            }
        except binascii.Error as error:
            raise StateError("read what the site remembers", on=self.where, got=str(error), todo=_AGAIN) from None

    def _ask(self, tried: str, argv: Sequence[str], stdin: bytes = b"") -> dict[str, Any]:
        result = self._runner.run(["--site", self._site, *argv], stdin, tried)
        answer = answer_of(result)
        if answer is None:
            said = (result.stderr or result.stdout).decode("utf-8", "replace").strip()[-500:]
            raise StateError(tried, on=self.where, got=f"exit code {result.exit}: {said}", todo=_AGAIN)
        if answer[_MARK] != _PROTOCOL:
            raise StateError(
                tried,
                on=self.where,
                got=f"its {PROGRAM} speaks protocol {answer[_MARK]}, and this zentoria speaks {_PROTOCOL}",
                todo="use the newer zentoria of the two, and run `zentoria bootstrap` with it",
            )
        if result.exit == _BUSY:
            raise HeldError(tried, self.where, _maybe(answer.get("held")))
        if "error" in answer:
            error = answer["error"]
            damaged = error.get("kind") == "damaged"
            todo = "`zentoria unlock --force` removes it" if damaged else "put that right there, then run again"
            raise StateError(tried, on=self.where, got=str(error.get("text", "")), todo=todo)
        return answer


_AGAIN = "run again; `zentoria bootstrap` puts the program on the node anew"


class SshRunner:
    """Runs the program on a node.

    Args:
        ssh: the node's SSH.
        node: the node's name.
        timeout: seconds for a command.
    """

    def __init__(self, ssh: SshConnection, node: str, *, timeout: float = 30.0) -> None:
        self._ssh = ssh
        self._timeout = timeout
        self.where = f"node {node}"

    def run(self, argv: Sequence[str], stdin: bytes, tried: str) -> ExecResult:
        """Run it with arguments and input.

        Raises:
            MissingProgramError: it is not there, or may not be run.
            UnreachableError: SSH could not be reached or broke; AuthError when the key is not accepted.
            StateError: it did not end in time.
        """
        try:
            with self._ssh.channel(tried, spare=True) as channel:
                self._ssh.begin(channel, shlex.join([PROGRAM, *argv]), tried)
                result = _talk(PctSession(channel, self._ssh.target, tried, self._timeout), stdin)
        except GuestError as error:
            raise StateError(
                tried, on=self.where, got=error.got, todo="see how the node does, then run again"
            ) from None
        if answer_of(result) is None and (result.exit in _NOT_RUN or _NOT_LET_THROUGH.search(result.stderr)):
            said = result.stderr.decode("utf-8", "replace").strip()[-300:]
            raise MissingProgramError(
                tried, on=self.where, got=said or f"exit code {result.exit}", todo="`zentoria bootstrap` puts it there"
            )
        return result


def _talk(session: PctSession, stdin: bytes) -> ExecResult:
    try:
        session.write(stdin)
    except GuestError:
        # It ended without reading all of its input: its exit code and answer say more.
        if not session.ended:
            raise
    session.close_stdin()
    stdout = session.read_all()
    return ExecResult(session.close(), stdout, session.stderr)


def answer_of(result: ExecResult) -> dict[str, Any] | None:
    """What the program answered; None when it was not the program that wrote this."""
    try:
        found = json.loads(result.stdout)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get(_MARK), int) else None


def _check(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a document: {name!r}")
    return name


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _maybe(found: Any) -> Holder | None:
    return _holder(found) if found else None


def _holder(found: Mapping[str, Any]) -> Holder:
    return Holder(found["id"], found["since"], found["address"], found["record"], float(found["left"]))

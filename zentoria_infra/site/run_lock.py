"""One run at a time on a site: the lock, its renewal, and what becomes of a run that loses it."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import tenacity

from zentoria_infra.errors import ExitCode, RefusedError, ZentoriaError
from zentoria_infra.site import processes
from zentoria_infra.site.site_state import Begun, HeldError, Holder, SiteState

_ASK_AGAIN = 2.0
"""Seconds between two tries of a run that waits for the lock."""
_RENEW_AGAIN = 3.0
"""Seconds after which a renewal that failed is tried again."""


class LockedError(RefusedError):
    """Somebody else is at work on the site. ``holder`` says who."""

    exit_code = ExitCode.LOCKED

    def __init__(self, tried: str, *, on: str, got: str, todo: str, holder: Holder) -> None:
        super().__init__(tried, on=on, got=got, todo=todo)
        self.holder = holder


class LockLostError(ZentoriaError):
    """The lock went away while the run was at work: no further stage was begun."""

    exit_code = ExitCode.LOCKED


@dataclasses.dataclass(frozen=True)
class Lease:
    """How long a lock lasts without its holder, and how often the holder renews it; both in seconds."""

    seconds: float = 60.0
    renew: float = 15.0


class RunLock:
    """A lock that is held. Made by :func:`held`. It is the :class:`Documents` of its site as well, in fewer trips.

    Attributes:
        id: the run's id, under which it is in the history.
        after: whose lock was there before, expired or of a process that had died; None for nobody's.
        documents: what was asked for with the lock; None for one that there is not.
    """

    def __init__(self, state: SiteState, run: str, begun: Begun, lease: Lease, say: Callable[[str], None]) -> None:
        self.id = run
        self.after = begun.after
        self.documents = dict(begun.documents)
        self._state = state
        self._lease = lease
        self._say = say
        self._guard = threading.Lock()
        self._lost = ""
        self._watching: list[threading.Event] = []
        self._outcome: dict[str, Any] = {}
        self._writes: dict[str, bytes] = {}

    @property
    def where(self) -> str:
        """Where the lock is kept, in words."""
        return self._state.where

    @property
    def lost(self) -> str:
        """Why the lock is not held any more; empty while it is."""
        with self._guard:
            return self._lost

    def watch(self, stop: threading.Event) -> None:
        """Set ``stop`` when the lock is lost, so that no further stage begins."""
        with self._guard:
            self._watching.append(stop)
            if self._lost:
                stop.set()

    def require(self) -> None:
        """See that the lock is still held.

        Raises:
            LockLostError: it is not.
        """
        if why := self.lost:
            raise LockLostError(
                "go on with the run",
                on=self.where,
                got=f"its lock was lost: {why}",
                todo="`zentoria lock` shows who is at work now; when nobody is, run the same command again",
            )

    def planned(self, record: Mapping[str, Any], plan: Any = None) -> None:
        """Write into the history what the run is about to do, before it does. One round trip.

        Args:
            record: as :func:`zentoria_infra.site.history.planned` makes it.
            plan: the plan's document, as JSON values.
        """
        self._state.note(self.id, record, plan)

    def ended(self, record: Mapping[str, Any]) -> None:
        """Say how the run ended; it is written when the lock is given back.

        Args:
            record: as :func:`zentoria_infra.site.history.ended` makes it.
        """
        self._outcome.update(record)

    def get(self, name: str) -> bytes | None:
        """A document: as it is to be written, or as it came with the lock, or else as it is now."""
        if name in self._writes:
            return self._writes[name]
        if name not in self.documents:
            self.documents[name] = self._state.get(name)
        return self.documents[name]

    def put(self, name: str, content: bytes) -> None:
        """Write a document when the lock is given back, unless it is what came with the lock."""
        if self.documents.get(name) == content:
            self._writes.pop(name, None)
        else:
            self._writes[name] = content

    def lose(self, why: str) -> None:
        """The lock is not held any more."""
        with self._guard:
            if self._lost:
                return
            self._lost = why
            watching = tuple(self._watching)
        for stop in watching:
            stop.set()
        self._say(f"The lock of this run was lost: {why}. What is at work ends; nothing more is begun.")

    def keep(self, done: threading.Event, last: float) -> None:
        """Renew the lease until ``done``; ``last`` is when it was asked for (:func:`_now`)."""
        wait = self._lease.renew
        why = ""
        while not done.wait(wait):
            asked = _now()
            try:
                self._state.renew(self.id)
                last, wait = asked, self._lease.renew
                continue
            except HeldError as error:
                if done.is_set():
                    return  # it was given back meanwhile
                holder = error.holder
                self.lose(f"{described(holder)} took it" if holder is not None else "somebody broke it")
                return
            except ZentoriaError as error:
                why = str(error)
            if _now() - last >= self._lease.seconds and not done.is_set():
                self.lose(f"it could not be renewed within {self._lease.seconds:.0f} s: {why}")
                return
            wait = min(_RENEW_AGAIN, self._lease.renew)

    def give_back(self) -> None:
        """End the record and give the lock back; what goes wrong is told, since the run itself is over."""
        with self._guard:
            writes = {} if self._lost else dict(self._writes)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ZentoriaError) & tenacity.retry_if_not_exception_type(HeldError),
            stop=tenacity.stop_after_attempt(2),
            reraise=True,
        )
        try:
            retrying(self._state.end, self.id, self._outcome, writes)
        except HeldError as error:
            by = f": {described(error.holder)} has it" if error.holder is not None else ""
            self.lose(f"it was not this run's any more at the end{by}")
        except ZentoriaError as error:
            self._say(
                f"The end of this run is not in the history, and its lock stays for up to {self._lease.seconds:.0f} s: "
                f"{error}"
            )


@contextlib.contextmanager
def held(
    state: SiteState,
    command: str,
    *,
    record: Mapping[str, Any] | None = None,
    documents: Sequence[str] = (),
    wait: float = 0.0,
    say: Callable[[str], None] = lambda text: None,
    lease: Lease | None = None,
) -> Iterator[RunLock]:
    """Hold the site's lock, and a record in its history, for as long as the block runs.

    The block says how it ended with :meth:`RunLock.ended`. Where it does not, that follows from how it is left.

    Args:
        state: the site's memory.
        command: what is done, as ``zentoria up --yes``; no secrets.
        record: more for the history, as :func:`zentoria_infra.site.history.begun` makes it.
        documents: names of documents to read along.
        wait: seconds to wait for another run to end.
        say: told what the user must know: a takeover, a wait, a loss.
        lease: how long the lock lasts without us.

    Raises:
        LockedError: somebody else is at work, and did not end within ``wait`` seconds.
        StateError: the lock cannot be taken for another reason; nothing was changed.
        UnreachableError: the node could not be reached over SSH.
    """
    lease = lease or Lease()
    run = secrets.token_hex(6)
    said = {"who": processes.who(), "command": command, **(record or {})}
    asked, begun = _begin(state, run, {**said, **processes.identity()}, documents, wait, say, lease)
    lock = RunLock(state, run, begun, lease, say)
    done = threading.Event()
    keeper = threading.Thread(target=lock.keep, args=(done, asked), name="lock", daemon=True)
    keeper.start()
    try:
        yield lock
    except BaseException as error:
        lock._outcome.setdefault("outcome", _outcome(error))
        raise
    else:
        lock._outcome.setdefault("outcome", "ok")
    finally:
        done.set()
        lock.give_back()


def _begin(
    state: SiteState,
    run: str,
    record: Mapping[str, Any],
    documents: Sequence[str],
    wait: float,
    say: Callable[[str], None],
    lease: Lease,
) -> tuple[float, Begun]:
    told: set[str] = set()

    def attempt() -> tuple[float, Begun]:
        instead = ""
        while True:
            asked = _now()
            try:
                begun = state.begin(run, record, lease=lease.seconds, instead=instead, documents=documents)
            except HeldError as error:
                holder = error.holder
                if holder is None:
                    raise
                if holder.id != instead and processes.is_dead(holder.record):
                    instead = holder.id
                    continue
                if wait and holder.id not in told:
                    told.add(holder.id)
                    say(f"Waiting up to {wait:.0f} s: {described(holder)} is at work.")
                raise _locked(state, record, holder) from None
            if begun.after is not None:
                how = (
                    "on this machine, whose process has died" if begun.after.id == instead else "whose lock has expired"
                )
                say(f"Taking over from {described(begun.after)}, {how}.")
            return asked, begun

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(LockedError),
        stop=tenacity.stop_after_delay(wait) if wait else tenacity.stop_after_attempt(1),
        wait=tenacity.wait_fixed(min(_ASK_AGAIN, wait)),
        reraise=True,
    )
    return retrying(attempt)


def _locked(state: SiteState, record: Mapping[str, Any], holder: Holder) -> LockedError:
    return LockedError(
        f"begin `{record['command']}`",
        on=state.where,
        got=f"another run is at work: {described(holder)}",
        todo="wait until it has ended (--wait SECONDS does so); if it died elsewhere, its lock expires in "
        f"{max(holder.left, 0):.0f} s; `zentoria unlock --force` takes it away, and stops it if it lives",
        holder=holder,
    )


def described(holder: Holder) -> str:
    """Who, with what command, since when, from where, and the run's id."""
    who, command = (str(holder.record.get(name, "")) for name in ("who", "command"))
    with_ = f" with `{printable(command)}`" if command else ""
    at = f", from {holder.address}" if holder.address else ""
    return f"{printable(who) or 'somebody'}{with_} since {shown_time(holder.since)}{at} (run {holder.id})"


def printable(text: str) -> str:
    """Text of others, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def shown_time(text: str) -> str:
    """``2026-11-25 19:13:22 UTC`` for ``2026-11-25T19:13:22Z``."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return printable(text)


def _outcome(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, RefusedError):
        return "refused"
    code = getattr(error, "exit_code", getattr(error, "code", ExitCode.FAILED))
    return {ExitCode.OK: "ok", ExitCode.INTERRUPTED: "interrupted", ExitCode.REFUSED: "refused"}.get(code, "failed")


def _now() -> float:
    """Seconds that also pass while the machine sleeps: the node's do."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

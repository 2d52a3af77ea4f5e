"""``zentoria-state``: what a site remembers on its node: a lock, the history of runs, and small documents.

``zentoria-state --site ID VERB ...``: arguments by argv, content on standard input, one JSON object as the answer on
standard output, whatever happens. It is installed as ``/usr/local/sbin/zentoria-state`` and keeps its data in
``/var/lib/zentoria/ID`` (0700, files 0600). Safe for several at once: everything is done under one ``flock``.

A run is one id, made by its client: it is the name of the lock that the run holds and of its record in the history.
So every verb may be sent twice, when the answer to the first was lost on its way.

The lock expires when it is not renewed within its lease. Time is the node's alone: seconds since its boot, which no
correction of the clock moves. After a reboot of the node, a lock that was held before has its lease once more.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import fcntl
import json
import os
import re
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is not imported for real: it takes longer than all the rest
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, NoReturn

PROTOCOL = 1
"""In every answer, as ``zentoria-state``; higher when a client of before would be misled."""
ROOT = "/var/lib/zentoria"
ROOT_VARIABLE = "ZENTORIA_STATE_ROOT"
"""Environment variable with another data folder, for tests."""

USAGE, DATA, DAMAGED, BUG, IO, BUSY = 64, 65, 66, 70, 74, 75
"""Exit codes, after sysexits.h. ``BUSY``: somebody else holds the lock."""

DOCUMENT_BYTES = 16 << 20
DOCUMENTS = 64
DOCUMENTS_BYTES = 64 << 20
"""All documents of a site together."""
ANSWER_BYTES = 16 << 20
"""Documents in one answer together; what is more has to be asked for apart."""
MEMORY_BYTES = 512 << 20
"""Address space of the program: it runs as root of the node, on the word of a workstation."""
RECORD_BYTES = 64 << 10
INPUT_BYTES = 32 << 20
PLAN_BYTES = 8 << 20
HISTORY_BYTES = 1 << 20
"""A file of the history that has grown so long is put aside."""
HISTORY_FILES = 4
"""How many files that were put aside are kept."""
PLANS = 50
PLANS_BYTES = 64 << 20

_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_RUN = re.compile(r"[0-9a-f]{12,32}")
_RUN_BEGINS = re.compile(r"[0-9a-f]{1,32}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ADDRESS = re.compile(r"[0-9A-Za-z.:%_-]{1,64}")


class StateFailure(Exception):
    """Something cannot be done; ``code`` is the exit code, ``kind`` says in a word why."""

    def __init__(self, code: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.kind = kind


class Clock:
    """The node's time."""

    def utc(self) -> str:
        """Now, for people, as ``2026-11-25T19:13:22Z``."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def seconds(self) -> float:
        """Seconds since boot, with those in which the machine slept."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def boot(self) -> str:
        """Which boot it is; empty where the system does not say."""
        try:
            with open("/proc/sys/kernel/random/boot_id") as stream:
                return stream.read().strip()
        except OSError:
            return ""


class Folder:
    """The files of one site. Nothing is made before something is written."""

    def __init__(self, root: str, site: str) -> None:
        self.path = os.path.join(root, site)

    def file(self, *names: str) -> str:
        """The path of a file."""
        return os.path.join(self.path, *names)

    @contextlib.contextmanager
    def guarded(self, *, write: bool) -> Iterator[None]:
        """Keep others out (``write``), or those that write."""
        if write:
            _make(self.path)
        elif not os.path.isdir(self.path):  # nothing was ever written
            yield
            return
        guard = os.open(self.file(".guard"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            yield
        finally:
            os.close(guard)

    def size(self, *names: str) -> int:
        """A file's length; 0 when it is not there."""
        try:
            return os.stat(self.file(*names)).st_size
        except FileNotFoundError:
            return 0

    def read(self, *names: str) -> bytes | None:
        """A file's content; None when it is not there."""
        try:
            with open(self.file(*names), "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def write(self, content: bytes, *names: str) -> None:
        """Put content in a file's place: after a crash there is the old or the new, never a part."""
        path = self.file(*names)
        _make(os.path.dirname(path))
        new = os.path.join(os.path.dirname(path), f".{names[-1]}.new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)  # of a write that was killed
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.replace(new, path)
        _sync(os.path.dirname(path))

    def remove(self, *names: str) -> None:
        """Remove a file that may not be there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file(*names))

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, without those half written."""
        try:
            return sorted(name for name in os.listdir(self.file(folder)) if not name.startswith("."))
        except FileNotFoundError:
            return []


def _make(path: str) -> None:
    """Make a folder and those above it that are missing, all of them private."""
    if not os.path.isdir(path):
        _make(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Lock:
    """Who is at work on the site."""

    FILE = "lock.json"

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def read(self) -> dict[str, Any] | None:
        """What the file says, expired or not; None when nobody has the lock."""
        content = self._folder.read(self.FILE)
        if content is None:
            return None
        try:
            found = _object(content)
            right = (
                isinstance(found.get("record"), dict)
                and all(isinstance(found.get(name), str) for name in ("id", "since", "boot", "address"))
                and all(isinstance(found.get(name), (int, float)) for name in ("renewed", "lease"))
            )
        except (ValueError, RecursionError):
            right = False
        if not right:
            said = content[:60].decode("ascii", "backslashreplace")
            raise StateFailure(DAMAGED, "damaged", f"{self._folder.file(self.FILE)} is no lock: {said!r}")
        return found

    def left(self, found: Mapping[str, Any]) -> float:
        """Seconds until it expires; 0 or less when it has."""
        now = self._clock.seconds()
        renewed = float(found["renewed"]) if found["boot"] == self._clock.boot() else 0.0
        # What is said to have been renewed later than now is of another boot, where the system does not name boots.
        return min(renewed, now) + float(found["lease"]) - now

    def shown(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The holder, as answers tell it."""
        return {
            "id": found["id"], "since": found["since"], "address": found["address"], "record": found["record"],
            "lease": found["lease"], "left": round(self.left(found), 1),
        }  # fmt: skip

    def live(self) -> dict[str, Any] | None:
        """The lock, unless it has expired."""
        found = self.read()
        return found if found is not None and self.left(found) > 0 else None

    def take(self, run: str, record: Mapping[str, Any], lease: float, since: str) -> None:
        """Write it down for a run."""
        if (size := len(_json(record))) > RECORD_BYTES:
            raise StateFailure(DATA, "data", f"a record of {size} bytes; at most {RECORD_BYTES} are kept")
        self._write({"id": run, "since": since, "address": _client_address(), "lease": lease, "record": dict(record)})

    def renew(self, found: Mapping[str, Any]) -> None:
        """Begin its lease anew."""
        self._write(dict(found))

    def _write(self, values: dict[str, Any]) -> None:
        values.update(renewed=self._clock.seconds(), boot=self._clock.boot())
        self._folder.write(_json(values), self.FILE)

    def drop(self) -> None:
        """Nobody has it any more."""
        self._folder.remove(self.FILE)


class History:
    """Lines that are only ever added: ``{"id": run, "at": time, "what": "begin" or "note" or "end", "record": {}}``."""

    FILE = "history.jsonl"

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def append(self, run: str, what: str, record: Mapping[str, Any]) -> None:
        """Add a line."""
        line = _json({"id": run, "at": self._clock.utc(), "what": what, "record": dict(record)}) + b"\n"
        if len(line) > RECORD_BYTES:
            raise StateFailure(DATA, "data", f"a record of {len(line)} bytes; at most {RECORD_BYTES} are kept")
        path = self._folder.file(self.FILE)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size > HISTORY_BYTES:
                self._put_aside()
                os.close(descriptor)
                descriptor = os.open(path, flags, 0o600)
                size = 0
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # what is before was cut off by a crash: it must not spoil this one
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _put_aside(self) -> None:
        names = [self.FILE, *(f"history.{number}.jsonl" for number in range(1, HISTORY_FILES + 1))]
        for older, newer in zip(reversed(names), list(reversed(names))[1:], strict=False):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._folder.file(newer), self._folder.file(older))

    def runs(self, running: str) -> tuple[list[dict[str, Any]], int]:
        """All runs, the newest first, and how many lines could not be read. ``running`` is the run at work."""
        found: dict[str, dict[str, Any]] = {}
        damaged = 0
        for number in range(HISTORY_FILES, -1, -1):
            content = self._folder.read(f"history.{number}.jsonl" if number else self.FILE) or b""
            for text in content.splitlines():
                if not text:
                    continue
                try:
                    line = _object(text)
                    run, at, what, record = line["id"], line["at"], line["what"], line["record"]
                    if not (isinstance(run, str) and isinstance(at, str) and isinstance(record, dict)):
                        raise ValueError("not a line of the history")
                except (ValueError, KeyError, RecursionError):
                    damaged += 1
                    continue
                entry = found.setdefault(run, {"id": run, "begun": at, "ended": None, "running": False, "record": {}})
                entry["record"].update(record)
                if what == "end":
                    entry["ended"] = at
        if running in found and found[running]["ended"] is None:
            found[running]["running"] = True
        return list(reversed(found.values())), damaged


class Program:
    """Carries out verbs for one site.

    Args:
        root: the data folder.
        site: the site's id.
        clock: the node's time.
    """

    def __init__(self, root: str, site: str, clock: Clock) -> None:
        self._folder = Folder(root, site)
        self._clock = clock
        self._lock = Lock(self._folder, clock)
        self._history = History(self._folder, clock)

    def begin(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Take the lock, begin a record, and read documents. Somebody else's live lock stands in the way."""
        record = _object(content)
        with self._folder.guarded(write=True):
            before = self._lock.read()
            mine = before is not None and before["id"] == options.run
            if before is not None and not mine and self._lock.left(before) > 0 and before["id"] != options.instead:
                return BUSY, {"held": self._lock.shown(before)}
            if not mine:
                self._history.append(options.run, "begin", record)
            self._lock.take(
                options.run, record, options.lease, before["since"] if mine and before else self._clock.utc()
            )
            after = self._lock.shown(before) if before is not None and not mine else None
            return 0, {"after": after, "documents": self._documents(options.get)}

    def renew(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Begin the lease anew."""
        with self._folder.guarded(write=True):
            found = self._lock.read()
            if found is None or found["id"] != options.run:
                return BUSY, {"held": self._lock.shown(found) if found is not None else None}
            self._lock.renew(found)
            return 0, {}

    def note(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Add to a run's record; ``plan`` is kept apart, for the newest runs."""
        values = _object(content)
        record = _mapping(values, "record")
        with self._folder.guarded(write=True):
            if "plan" in values:
                self._keep_plan(options.run, _json(values["plan"]))
            self._history.append(options.run, "note", record)
            return 0, {}

    def end(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Write documents, end the record, give the lock back. Whoever has lost the lock writes no documents."""
        values = _object(content)
        record = _mapping(values, "record")
        documents = {_checked_name(name): _decoded(text) for name, text in _mapping(values, "documents").items()}
        with self._folder.guarded(write=True):
            found = self._lock.read()
            mine = found is not None and found["id"] == options.run
            if mine:
                for name, document in documents.items():
                    self._put(name, document)
            self._history.append(options.run, "end", record)
            if mine:
                self._lock.drop()
                return 0, {}
            return BUSY, {"held": self._lock.shown(found) if found is not None else None}

    def show(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Who holds the lock, expired or not."""
        with self._folder.guarded(write=False):
            found = self._lock.read()
            return 0, {"held": self._lock.shown(found) if found is not None else None}

    def break_(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Take the lock from whoever holds it; with an id, only from that run. A damaged one goes too."""
        with self._folder.guarded(write=True):
            try:
                found = self._lock.read()
            except StateFailure:
                self._lock.drop()
                return 0, {"held": None}
            if found is not None and options.run and found["id"] != options.run:
                return BUSY, {"held": self._lock.shown(found)}
            self._lock.drop()
            return 0, {"held": self._lock.shown(found) if found is not None else None}

    def history(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """The newest runs; with ``--id``, those whose id begins so, and the plan when it is one."""
        with self._folder.guarded(write=False):
            try:
                live = self._lock.live()
            except StateFailure:
                live = None
            runs, damaged = self._history.runs(live["id"] if live else "")
            if options.id is not None:
                runs = [run for run in runs if run["id"].startswith(options.id)]
            answer: dict[str, Any] = {
                "total": len(runs),
                "damaged": damaged,
                "runs": runs[: options.count],
                "plan": None,
            }
            if options.id is not None and len(runs) == 1:
                plan = self._folder.read("plans", f"{runs[0]['id']}.json")
                with contextlib.suppress(ValueError):
                    answer["plan"] = json.loads(plan) if plan is not None else None
            return 0, answer

    def get(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Documents by name; null for one that there is not."""
        with self._folder.guarded(write=False):
            return 0, {"documents": self._documents(options.names)}

    def put(self, options: argparse.Namespace, content: bytes) -> tuple[int, dict[str, Any]]:
        """Write a document."""
        with self._folder.guarded(write=True):
            self._put(options.name, content)
            return 0, {}

    def _documents(self, names: Sequence[str]) -> dict[str, str | None]:
        total = sum(self._folder.size("documents", name) for name in set(names))
        if total > ANSWER_BYTES:
            raise StateFailure(
                DATA, "data", f"these documents have {total} bytes; at most {ANSWER_BYTES} are given at a time"
            )
        found = {name: self._folder.read("documents", name) for name in dict.fromkeys(names)}
        return {name: None if one is None else base64.b64encode(one).decode() for name, one in found.items()}

    def _put(self, name: str, content: bytes) -> None:
        if len(content) > DOCUMENT_BYTES:
            raise StateFailure(DATA, "data", f"document {name} has {len(content)} bytes; at most {DOCUMENT_BYTES}")
        known = self._folder.names("documents")
        if name not in known and len(known) >= DOCUMENTS:
            raise StateFailure(DATA, "data", f"there are {len(known)} documents; at most {DOCUMENTS} are kept")
        total = len(content) + sum(self._folder.size("documents", one) for one in known if one != name)
        if total > DOCUMENTS_BYTES:
            raise StateFailure(
                DATA, "data", f"with document {name} there were {total} bytes; at most {DOCUMENTS_BYTES} are kept"
            )
        self._folder.write(content, "documents", name)

    def _keep_plan(self, run: str, plan: bytes) -> None:
        if len(plan) > PLAN_BYTES:
            return  # its record with hash and totals is kept all the same
        self._folder.write(plan, "plans", f"{run}.json")
        found = [(os.stat(self._folder.file("plans", name)), name) for name in self._folder.names("plans")]
        found.sort(key=lambda one: one[0].st_mtime_ns, reverse=True)
        total = 0
        for place, (stat, name) in enumerate(found):
            total += stat.st_size
            if place >= PLANS or (place and total > PLANS_BYTES):
                self._folder.remove("plans", name)


def _client_address() -> str:
    """Address of the SSH client on whose behalf we run (sshd sets it); empty without SSH."""
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return address if _ADDRESS.fullmatch(address) else ""


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object; ValueError when it is none."""
    found = json.loads(content, parse_constant=_no_constant)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} must be an object")
    return found


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("a document must be text in base64")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a document is no base64: {error}") from None


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a document ([a-z0-9-], at most 64)")
    return name


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StateFailure(USAGE, "usage", message)


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise argparse.ArgumentTypeError(f"{text[:80]!r} is no {what}")
        return text

    return check


def _lease(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or not 0 < float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no lease (seconds, at most 3600)")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no number of runs")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    run = _matching(_RUN, "id of a run")
    name = _matching(_NAME, "name of a document")
    parser = _Parser("zentoria-state", allow_abbrev=False, add_help=False)
    parser.add_argument("--site", required=True, type=_matching(_SITE, "id of a site"))
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=_Parser)

    def verb(word: str) -> argparse.ArgumentParser:
        return verbs.add_parser(word, allow_abbrev=False, add_help=False)

    begin = verb("begin")
    begin.add_argument("run", type=run)
    begin.add_argument("--lease", type=_lease, default=60.0)
    begin.add_argument("--instead", type=run)
    begin.add_argument("--get", type=name, action="append", default=[])
    for word in ("renew", "note", "end"):
        verb(word).add_argument("run", type=run)
    verb("show")
    verb("break").add_argument("run", type=run, nargs="?")
    history = verb("history")
    history.add_argument("--id", type=_matching(_RUN_BEGINS, "beginning of a run's id"))
    history.add_argument("--count", type=_count, default=20)
    verb("get").add_argument("names", type=name, nargs="+")
    verb("put").add_argument("name", type=name)
    return parser


def answer(
    argv: Sequence[str], read: Callable[[int], bytes], root: str, clock: Clock | None = None
) -> tuple[int, dict[str, Any]]:
    """Carry out one command line.

    Args:
        argv: without the program's name.
        read: gives at most so many bytes of standard input.
        root: the data folder.
        clock: the node's time.

    Returns:
        The exit code, and the answer.
    """
    head = {"zentoria-state": PROTOCOL}
    try:
        options = _parser().parse_args(argv)
        content = read(INPUT_BYTES + 1) if options.verb in ("begin", "note", "end", "put") else b""
        if len(content) > INPUT_BYTES:
            raise StateFailure(DATA, "data", f"more than {INPUT_BYTES} bytes of input")
        program = Program(root, options.site, clock or Clock())
        verb = program.break_ if options.verb == "break" else getattr(program, options.verb)
        code, found = verb(options, content)
        return code, {**head, **found}
    except StateFailure as failure:
        code, kind, text = failure.code, failure.kind, str(failure)
    except ValueError as error:
        code, kind, text = DATA, "data", str(error)
    except RecursionError:
        code, kind, text = DATA, "data", "JSON that is nested too deep"
    except MemoryError:
        code, kind, text = DATA, "data", f"it would take more than {MEMORY_BYTES} bytes of memory"
    except OSError as error:
        code, kind, text = IO, "io", f"{error.filename or root}: {error.strerror or error}"
    except Exception as error:  # the client gets an answer, whatever happens
        code, kind, text = BUG, "bug", f"{type(error).__name__}: {error}"
    return code, {**head, "error": {"kind": kind, "text": text[:2000]}}


def main(argv: Sequence[str], root: str | None = None) -> int:
    """Carry out a command line, and answer on standard output."""
    folder = root or os.environ.get(ROOT_VARIABLE) or ROOT
    code, found = answer(argv, sys.stdin.buffer.read, folder)
    try:
        sys.stdout.buffer.write(_json(found))
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the client has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


def confine() -> None:
    """Take no more of the node's memory than what is right takes, and when it is short, end before any guest does.

    However many of us a workstation starts at once.
    """
    import resource

    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as stream:
        stream.write("1000")

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    confine()
    sys.exit(main(sys.argv[1:]))

"""``pct`` on the node, over SSH: the only way into a container, since the API has none for LXC."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zentoria_infra.errors import ApiError, GuestError
from zentoria_infra.proxmox.gates import Gates
from zentoria_infra.proxmox.shell.ssh import SshConnection, SshTarget
from zentoria_infra.proxmox.shell.starting import UNKNOWN, Starts, announced
from zentoria_infra.proxmox.shell.stream import PctSession

_LAST_WORDS = 10.0
"""Seconds that a command has to end once it was told to."""

_TIMED_OUT = (124, 137)
"""How ``timeout`` ends when it has ended the command: with SIGTERM, or with SIGKILL. A command may end so by itself:
the kernel kills for want of memory, and lxc-attach tells that as 137."""
_NEARLY = 0.9
"""Of a time limit; the container's clock is not ours."""

_PUSH = 'set -e; umask 077; cat >"$1.zentoria-new"; chmod "$2" "$1.zentoria-new"; mv -f "$1.zentoria-new" "$1"'


@dataclass(frozen=True)
class ExecResult:
    """How a command ended, and its output as bytes."""

    exit: int
    stdout: bytes
    stderr: bytes


class Pct:
    """``pct`` on one node. Safe from several threads; at most eight commands run at a time.

    Commands go as one shell-quoted string, since that is all that SSH carries. On Proxmox VE 8 the environment
    of the node's SSH session reaches the container, on 9 it does not: commands must set what they need.

    Args:
        target: the node's SSH.
        gates: shared with the API's writer, for ``pct set``.
        timeout: seconds for a command, when a method is not told another.
        starts: how many commands may be about to begin at once; asked before the first.
    """

    def __init__(
        self,
        target: SshTarget,
        gates: Gates,
        *,
        timeout: float = 600.0,
        starts: Callable[[], int] = lambda: UNKNOWN,
    ) -> None:
        self._target = target
        self._gates = gates
        self._timeout = timeout
        self._ssh = SshConnection(target)
        self._starts = Starts(starts)

    @property
    def connection(self) -> SshConnection:
        """The SSH connection, for other commands of the node."""
        return self._ssh

    @property
    def round_trips(self) -> int:
        """Commands sent so far."""
        return self._ssh.round_trips

    def close(self) -> None:
        """Close the SSH connection."""
        self._ssh.close()

    def reach(self) -> None:
        """Log in, and run nothing: so that what is wrong with the way there is told before anything depends on it.

        Raises:
            UnreachableError: the node could not be reached over SSH, or showed another host key; AuthError when the key
                is not accepted.
        """
        with self._ssh.channel("log in over SSH, to work inside containers"):
            pass

    def exec(
        self,
        vmid: int,
        argv: Sequence[str],
        stdin: bytes | None = None,
        timeout: float | None = None,
        *,
        tried: str = "",
    ) -> ExecResult:
        """Run ``argv`` as root inside a container. A non-zero exit code is returned, not raised.

        Secrets belong into ``stdin``: ``argv`` shows in process lists.

        Args:
            vmid: the container.
            argv: the command.
            stdin: its input.
            timeout: seconds that it has.
            tried: what it is for, for error texts. With it, ``timeout`` counts from when the command begins in the
                container, however long the node takes until then, and it is ended there when its time is over.

        Raises:
            GuestError: it did not end within ``timeout`` seconds, or a signal killed it.
            UnreachableError: SSH could not be reached or broke; AuthError when the key is not accepted.
        """
        if not tried:
            return self._run(["pct", "exec", str(vmid), "--", *argv], _title(vmid, argv), stdin, timeout)
        seconds = self._timeout if timeout is None else timeout
        line = ["pct", "exec", str(vmid), "--", *announced(argv, seconds)]
        since = time.monotonic()
        # What ends it in the container comes before our own limit, so that its last words are heard.
        result = self._run(line, tried, stdin, seconds + _LAST_WORDS, announces=True)
        if result.exit in _TIMED_OUT and time.monotonic() - since >= _NEARLY * seconds:
            said = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()[-10:]
            raise GuestError(
                tried,
                on=self._target.where,
                got="\n".join(
                    [f"it began, and gave no answer within {seconds:.0f} s", *(f"    {line}" for line in said)]
                ),
                todo="it was ended; see what the container is at (`zentoria status`, `zentoria logs`), then run again",
            )
        return result

    @contextmanager
    def session(
        self, vmid: int, argv: Sequence[str], timeout: float | None = None, *, tried: str = ""
    ) -> Iterator[PctSession]:
        """Run ``argv`` inside a container and talk with it; ``timeout`` is for each read or write.

        With ``tried``, what it is for, it counts from when the command begins in the container.

        Call ``close()`` on it for the exit code; leaving the block without it cuts the stream.
        """
        line = announced(argv) if tried else argv
        with self._start(
            ["pct", "exec", str(vmid), "--", *line], tried or _title(vmid, argv), timeout, announces=bool(tried)
        ) as session:
            yield session

    def push(self, vmid: int, source: bytes | Path, dest: str, mode: int = 0o644, timeout: float | None = None) -> None:
        """Write a file into a running container, owned by root; it is whole or not there.

        It goes through ``pct exec``: ``pct push`` wants a file on the node, and secrets have no business there.

        Raises:
            GuestError: it could not be written.
        """
        data = source.read_bytes() if isinstance(source, Path) else source
        _check_path(dest)
        result = self.exec(vmid, ["sh", "-c", _PUSH, "push", dest, f"{mode:04o}"], data, timeout)
        if result.exit != 0:
            raise GuestError(
                f"write {dest} in container {vmid}",
                on=self._target.where,
                got=_ended(result),
                todo="see that there is room on the container's disk, then run again",
            )

    def pull(self, vmid: int, source: str, timeout: float | None = None) -> bytes:
        """Read a file of a running container.

        Raises:
            GuestError: it could not be read.
        """
        _check_path(source)
        result = self.exec(vmid, ["cat", "--", source], None, timeout)
        if result.exit != 0:
            raise GuestError(
                f"read {source} in container {vmid}",
                on=self._target.where,
                got=_ended(result),
                todo="see whether the file is there: `zentoria exec NAME -- ls -l`",
            )
        return result.stdout

    def set(self, vmid: int, **options: str | int | bool) -> None:
        """``pct set``: what only root@pam may change, such as ``features="keyctl=1,nesting=1"``.

        Raises:
            ApiError: refused; ``got`` is what pct said.
        """
        argv = ["pct", "set", str(vmid)]
        for name, value in options.items():
            argv += [f"--{name}", str(int(value)) if isinstance(value, bool) else str(value)]
        with self._gates.vmid(vmid):
            self._pct(argv, f"set {', '.join(options)} of container {vmid}")

    def status(self, vmid: int) -> str:
        """Either "running" or "stopped", as ``pct status`` says."""
        return self._pct(["pct", "status", str(vmid)], f"ask the status of {vmid}").removeprefix("status:").strip()

    def config(self, vmid: int) -> Mapping[str, str]:
        """``pct config``: option to value."""
        lines = self._pct(["pct", "config", str(vmid)], f"read the configuration of {vmid}").splitlines()
        return {key: value.strip() for key, mark, value in (line.partition(":") for line in lines) if mark}

    def _pct(self, argv: list[str], tried: str) -> str:
        result = self._run(argv, tried, None, None)
        if result.exit != 0:
            raise ApiError(tried, on=self._target.where, got=_ended(result), todo=_todo(result))
        return result.stdout.decode("utf-8", "replace").strip()

    def _run(
        self, argv: list[str], tried: str, stdin: bytes | None, timeout: float | None, *, announces: bool = False
    ) -> ExecResult:
        with self._start(argv, tried, timeout, announces=announces) as session:
            if stdin:
                try:
                    session.write(stdin)
                except GuestError:
                    # It ended without reading all of its input: its exit code and stderr say more.
                    if not session.ended:
                        raise
            session.close_stdin()
            stdout = session.read_all()
            return ExecResult(session.close(), stdout, session.stderr)

    @contextmanager
    def _start(
        self, argv: list[str], tried: str, timeout: float | None, *, announces: bool = False
    ) -> Iterator[PctSession]:
        seconds = self._timeout if timeout is None else timeout
        with self._ssh.channel(tried) as channel:
            begun = self._starts.take()
            try:
                self._ssh.begin(channel, shlex.join(argv), tried)
                yield PctSession(channel, self._target, tried, seconds, announced=announces, begun=begun)
            finally:
                begun()


def _title(vmid: int, argv: Sequence[str]) -> str:
    """``run apt-get update in container 404``: how the command begins, for error texts; of a script its first line."""
    words = [f"{word.strip().splitlines()[0]} ..." if "\n" in word.strip() else word for word in argv[:4]]
    line = shlex.join(words) + (" ..." if len(argv) > 4 else "")
    return f"run {line[:120]} in container {vmid}"


def _ended(result: ExecResult) -> str:
    said = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()[-10:]
    return "\n".join([f"exit code {result.exit}", *(f"    {line}" for line in said)])


def _todo(result: ExecResult) -> str:
    found = re.search(rb"is locked \(([^)]+)\)", result.stderr)
    return f"wait for the {found[1].decode()} to end, or `pct unlock` on the node" if found else ""


def _check_path(path: str) -> None:
    if not PurePosixPath(path).is_absolute() or "\0" in path:
        raise ValueError(f"not an absolute path: {path!r}")

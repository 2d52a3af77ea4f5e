"""What a site remembers between runs: who is at work on it, what was done, and small documents.

It is kept on the site's node, so that all who work on the site share it. Where the node cannot keep it (no SSH, or
``zentoria bootstrap`` was not run), it is kept on this machine, beside the site's secrets: by the same program.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from zentoria_infra.inventory.model import Site
from zentoria_infra.node import state as program
from zentoria_infra.proxmox.client import Proxmox
from zentoria_infra.proxmox.shell.node_state import (
    Begun,
    HeldError,
    Holder,
    MissingProgramError,
    ProgramState,
    Run,
    Runner,
    Runs,
    SshRunner,
    StateError,
)
from zentoria_infra.proxmox.shell.pct import ExecResult
from zentoria_infra.proxmox.shell.ssh import SshConnection

__all__ = [
    "Begun",
    "Documents",
    "HeldError",
    "Holder",
    "Run",
    "Runs",
    "SiteState",
    "StateError",
    "local_state",
    "memory",
    "site_state",
]

HERE = "this machine"


class Documents(Protocol):
    """Documents of one site, by name. Safe from several threads.

    All methods raise StateError where they cannot be read or written; UnreachableError where the node could not be
    reached over SSH, AuthError when it does not accept the key; ValueError for names and ids that are none.
    """

    @property
    def where(self) -> str:
        """Where it is kept, in words: ``node pve`` or ``this machine``."""
        ...

    def get(self, name: str) -> bytes | None:
        """A document; None when there is none of that name (``[a-z0-9][a-z0-9-]*``, at most 64 characters)."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write a document of at most 16 MiB: after a crash there is the old or the new, never a part."""
        ...


class SiteState(Documents, Protocol):
    """The memory of one site. Safe from several threads and processes; every call may be made again if it failed."""

    def begin(
        self, run: str, record: Mapping[str, Any], *, lease: float, instead: str = "", documents: Sequence[str] = ()
    ) -> Begun:
        """Take the lock for a run, begin its record, and read documents. HeldError when somebody else has it."""
        ...

    def renew(self, run: str) -> None:
        """Begin the lease of a run's lock anew. HeldError when it is not that run's any more."""
        ...

    def note(self, run: str, record: Mapping[str, Any], plan: Any = None) -> None:
        """Add to a run's record; ``plan`` is any JSON value."""
        ...

    def end(self, run: str, record: Mapping[str, Any], documents: Mapping[str, bytes] | None = None) -> None:
        """Write documents, end the record, give the lock back. HeldError when the lock was lost: no documents then."""
        ...

    def holder(self) -> Holder | None:
        """Whose lock is there, expired or not."""
        ...

    def break_lock(self, run: str = "") -> Holder | None:
        """Take the lock from whoever has it; with ``run``, only from that one. Gives back whose it was."""
        ...

    def runs(self, count: int = 20, begins: str = "") -> Runs:
        """The newest runs, or those whose id begins with ``begins``; the plan comes with it when it is one."""
        ...


class FolderRunner:
    """Runs the program in this process, on a folder of this machine.

    Args:
        root: its data folder; made when something is first written.
    """

    where = HERE

    def __init__(self, root: Path) -> None:
        self._root = root

    def run(self, argv: Sequence[str], stdin: bytes, tried: str) -> ExecResult:
        """Run it with arguments and input."""
        code, found = program.answer(argv, io.BytesIO(stdin).read, str(self._root))
        return ExecResult(code, json.dumps(found).encode(), b"")


class EitherRunner:
    """Runs the program on the node, or here when the node does not have it: the first call decides for all.

    Args:
        node: runs it on the node.
        here: runs it on this machine.
        note: told once, when it is here.
    """

    def __init__(self, node: Runner, here: Runner, note: Callable[[str], None]) -> None:
        self._node = node
        self._here = here
        self._note = note
        self._chosen: Runner | None = None
        self._guard = threading.Lock()

    @property
    def where(self) -> str:
        """Where it runs, in words; before the first call: where it shall."""
        return (self._chosen or self._node).where

    def run(self, argv: Sequence[str], stdin: bytes, tried: str) -> ExecResult:
        """Run it with arguments and input."""
        with self._guard:
            if self._chosen is None:
                return self._first(argv, stdin, tried)
        return self._chosen.run(argv, stdin, tried)

    def _first(self, argv: Sequence[str], stdin: bytes, tried: str) -> ExecResult:
        try:
            result = self._node.run(argv, stdin, tried)
        except MissingProgramError as error:
            self._note(only_here(f"{self._node.where} does not run zentoria-state ({error.got})"))
            self._chosen = self._here
            return self._here.run(argv, stdin, tried)
        self._chosen = self._node
        return result


def only_here(why: str) -> str:
    """The note for a memory that only this machine has."""
    return (
        f"The lock and the history are kept on this machine only: {why}. Nobody elsewhere sees them; "
        "`zentoria bootstrap` puts them on the node."
    )


def site_state(site: Site, proxmox: Proxmox, note: Callable[[str], None]) -> SiteState:
    """The memory of a site. Nothing is sent before the first call.

    Args:
        site: whose memory.
        proxmox: the client of its node.
        note: told once when it is kept on this machine only.
    """
    return memory(site, proxmox.ssh, note)


def memory(site: Site, ssh: SshConnection | None, note: Callable[[str], None]) -> SiteState:
    """The memory of a site: the node's, where SSH leads there and the node has one, else this machine's."""
    here = FolderRunner(_folder(site))
    if ssh is None:
        note(only_here("no SSH to the node is set up"))
        return ProgramState(site.id, here)
    return ProgramState(site.id, EitherRunner(SshRunner(ssh, site.proxmox.node), here, note))


def local_state(site: Site) -> SiteState:
    """What this machine remembers of a site, whether or not the node remembers more."""
    return ProgramState(site.id, FolderRunner(_folder(site)))


def _folder(site: Site) -> Path:
    return site.secrets_path.parent / "state"

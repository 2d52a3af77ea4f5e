"""What a guest shall be: plain values that the agent inside it checks and applies.

A :class:`GuestState` is pure data. It is made on the workstation by ``roles``, sent as JSON in one stream
and read by ``guest/agent.py``, which has only the standard library. Resources are handled in the order of the
list. A resource's ``id`` is unique in its state; it is what reports, plans and ``reads`` name.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from zentoria_infra.errors import visible
from zentoria_infra.guest.artifact import Content


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")


class Packages(_Resource):
    """Debian packages that are installed, in one apt transaction. Services they bring are not started by it.

    ``names`` are ``name`` or ``name=version``. An installed package that satisfies its entry is left alone.
    """

    kind: Literal["packages"] = "packages"
    id: str
    names: tuple[str, ...]


class File(_Resource):
    """A regular file. ``blob`` names content that is sent beside the state (SHA-256), else ``text`` is it.

    ``secret`` content never appears in a diff or a report. ``mode`` is octal text, as ``0644``.
    """

    kind: Literal["file"] = "file"
    id: str
    path: str
    text: str | None = None
    blob: str | None = None
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    secret: bool = False


class Directory(_Resource):
    """A directory with its mode and owner; parents are made as 0755 root."""

    kind: Literal["directory"] = "directory"
    id: str
    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"


class Symlink(_Resource):
    """A symbolic link, replaced atomically when its target differs."""

    kind: Literal["symlink"] = "symlink"
    id: str
    path: str
    target: str


class Absent(_Resource):
    """A path that does not exist. A directory is removed only when it is empty."""

    kind: Literal["absent"] = "absent"
    id: str
    path: str


class User(_Resource):
    """A system user (and its group of the same name). ``groups`` are additional ones, all of them existing."""

    kind: Literal["user"] = "user"
    id: str
    name: str
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"
    groups: tuple[str, ...] = ()


class Volume(_Resource):
    """A data volume that Proxmox mounts at ``path``. Not a mount point there is an error: data would land in rootfs."""

    kind: Literal["volume"] = "volume"
    id: str
    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"


class Command(_Resource):
    """Something that is not a file: done when ``check`` fails, right when it passes afterwards.

    ``check`` and ``apply`` are argument lists, run as ``user`` without a shell. ``check`` passes on exit 0 and,
    where ``expect`` is given, standard output that equals it after stripping white space. ``check_stdin`` and
    ``apply_stdin`` (SQL, secrets) go to standard input and never into reports when ``secret``.
    There is no command without a check: it could not be idempotent.
    """

    kind: Literal["command"] = "command"
    id: str
    check: tuple[str, ...]
    apply: tuple[str, ...]
    expect: str | None = None
    check_stdin: str | None = None
    apply_stdin: str | None = None
    user: str = "root"
    cwd: str = "/"
    timeout: int = 120
    secret: bool = False


class Release(_Resource):
    """A service in a folder of its own, one a release, switched atomically.

    The agent builds ``<root>/releases/<version>`` (a virtual environment from the wheels, no index, hashes checked; or
    what is in the archive), runs ``preflight`` in it, turns ``<root>/current`` to it, restarts ``units``, and asks
    ``health_url`` or ``health_tcp`` until it answers or ``health_timeout`` seconds have gone. When the gate fails it
    turns back to the last release, restarts, and reports an error. The last ``keep`` releases stay for a rollback.
    """

    kind: Literal["release"] = "release"
    id: str
    root: str
    version: str
    """Changes whenever the content, the lock or the Python version changes: a hash made on the workstation."""
    content: Content
    units: tuple[str, ...]
    preflight: tuple[str, ...] = ()
    """Argument list, relative to ``bin/`` of a virtual environment, or to the folder of an archive; run as
    ``user`` with ``environment_file``."""
    user: str = "root"
    environment_file: str | None = None
    health_url: str | None = None
    health_tcp: tuple[str, int] | None = None
    """Address and port that accept, where there is no URL to ask."""
    health_timeout: int = 30
    keep: int = 3
    nonce: str = ""
    """Set to a new value to redeploy the same version: the gate and the restart are done again."""


class Migration(_Resource):
    """A database whose tables are at a migration: ``head`` is a number with leading zeros, as ``0005``.

    The release at ``root`` has the ``program`` that migrates; it first dumps the database into the folder ``dumps``
    (where it has tables already), and keeps the last two dumps. It connects as ``user`` through the socket of ``port``.
    """

    kind: Literal["migration"] = "migration"
    id: str
    database: str
    head: str
    root: str
    program: str
    port: int
    user: str
    dumps: str
    timeout: int = 3600


class Restore(_Resource):
    """Brings a database back to the migration that an earlier release needs, from its dump; part of no desired state.

    ``release`` and ``back`` say which release, as in :class:`Rollback`, which comes after it.
    """

    kind: Literal["restore"] = "restore"
    id: str
    migration: Migration
    release: Release
    back: int


class Rollback(_Resource):
    """Goes back to a release that was there before; not part of any desired state.

    ``back`` counts the releases before the current one that passed their health gate; with 0 the report's detail is a
    JSON list of all that are kept, newest first. ``by`` is who asked, for the next plan to say.
    """

    kind: Literal["rollback"] = "rollback"
    id: str
    release: Release
    back: int = 0
    by: str = ""


class Unit(_Resource):
    """A systemd unit. It restarts only when something in ``reads`` is not what it last started with.

    ``reads`` are ids of resources in the same state; for a change of those that are in ``reloads`` too, a reload is
    enough. The agent keeps the hash of what a unit last (re)started
    with, so that a run that was killed between a file and the restart is made good by the next run.
    """

    kind: Literal["unit"] = "unit"
    id: str
    name: str
    enabled: bool | None = True
    """None leaves it as it is (static units)."""
    running: bool = True
    masked: bool = False
    reads: tuple[str, ...] = ()
    reloads: tuple[str, ...] = ()
    on_change: Literal["restart", "none"] = "restart"


class Health(_Resource):
    """A check at the end: a TCP port that accepts, or a URL that answers 200, within ``timeout`` seconds."""

    kind: Literal["health"] = "health"
    id: str
    tcp: tuple[str, int] | None = None
    url: str | None = None
    timeout: int = 30


Resource = Annotated[
    Packages
    | File
    | Directory
    | Symlink
    | Absent
    | User
    | Volume
    | Command
    | Release
    | Migration
    | Restore
    | Rollback
    | Unit
    | Health,
    Field(discriminator="kind"),
]


class GuestState(BaseModel):
    """The desired state of one guest. Blobs are named by SHA-256 and kept apart."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    vmid: int
    hostname: str
    resources: tuple[Resource, ...]
    whole: bool = False
    """All that the guest shall be: what an earlier whole state made and this one does not have is removed. Checks
    alone, or the way back to a release, are not whole."""

    def blobs(self) -> frozenset[str]:
        """SHA-256 of every blob that the state may need."""
        found: set[str] = set()
        for resource in self.resources:
            if isinstance(resource, File) and resource.blob:
                found.add(resource.blob)
            elif isinstance(resource, Release):
                found |= resource.content.blobs
        return frozenset(found)

    def digest(self) -> str:
        """SHA-256 of the state: equal states have equal digests."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


ORPHAN = "orphan:"
"""What the ids of reports begin with that tell of a removal: nothing asks for that any more (``agent/owned.py``)."""


def in_words(report_id: str) -> str:
    """The id of a report as a plan prints it: ``file:/etc/motd``, or ``remove file:/etc/motd``."""
    return f"remove {report_id.removeprefix(ORPHAN)}" if report_id.startswith(ORPHAN) else report_id


def _one_line(value: object) -> object:
    return visible(value)[:4096] if isinstance(value, str) else value


def _lines(value: object) -> object:
    return visible(value[: 256 << 10], keep="\n\t") if isinstance(value, str) else value


Line = Annotated[str, BeforeValidator(_one_line)]
"""What a guest says, in one line: nothing in it that a terminal would act on, and not too much of it."""
Lines = Annotated[str, BeforeValidator(_lines)]
"""Likewise, in several."""

Outcome = Literal["unchanged", "changed", "would-change", "failed", "skipped"]


class ResourceReport(BaseModel):
    """What happened to one resource. ``detail`` says it in a line; ``diff`` is a unified diff, never of a secret."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    id: Line
    outcome: Outcome
    detail: Lines = ""
    diff: Lines = ""
    command: Line = ""
    output: Lines = ""
    """Tail of the output of a failed command."""
    before: Line = ""
    """What was there, in a few words; of a secret, a keyed fingerprint."""
    after: Line = ""
    beneath: Annotated[int, Field(ge=0)] = 0
    """Of a volume that is not mounted: bytes of files in the container's own disk, which it would hide."""
    restarts: tuple[Line, ...] = ()
    """Units that restart for it."""
    reloads: tuple[Line, ...] = ()
    """Units that reload for it."""


class GuestReport(BaseModel):
    """The agent's answer. ``failed`` names the resource that stopped the run, or is empty.

    ``restarted`` and ``reloaded`` are units that were started or reloaded, or would be where it only looked.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    vmid: int
    mode: Literal["check", "apply"]
    resources: tuple[ResourceReport, ...]
    restarted: tuple[Line, ...] = ()
    reloaded: tuple[Line, ...] = ()
    failed: Line = ""
    seconds: float = 0.0

    @property
    def changes(self) -> tuple[ResourceReport, ...]:
        """Reports of resources that changed or would change."""
        return tuple(r for r in self.resources if r.outcome in ("changed", "would-change"))

"""One tree of errors. Each says what was tried, on what, what came back and what to do."""

from __future__ import annotations

import enum


def visible(text: str, *, keep: str = "") -> str:
    r"""The text with ``\x1b`` in place of an escape character, and so with everything that a terminal would act on.

    Args:
        text: of a file, a guest, a node: of whoever.
        keep: control characters that stay, as line breaks in what has lines.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)


class ExitCode(enum.IntEnum):
    """Exit codes of the ``zentoria`` command."""

    OK = 0
    FAILED = 1
    """Something was tried and did not work; the next run goes on."""
    USAGE = 2
    """The command line was wrong (the code that Click and Typer use)."""
    INVALID = 3
    """The inventory is wrong; nothing was contacted."""
    UNREACHABLE = 4
    """The node could not be reached, or did not accept who we are."""
    REFUSED = 5
    """It could be done, and Zentoria will not: not ours, protected, or not confirmed."""
    LOCKED = 6
    """Another run is at work on the site, or took the lock from this one; nothing, or nothing more, was begun."""
    INTERRUPTED = 130


class ZentoriaError(Exception):
    """Base of all errors that a user may see.

    Args:
        tried: what was tried, as "create container 404".
        on: the object it was tried on, as "node pve1"; empty when ``tried`` names it.
        got: what came back, quoted from the other side where there is one.
        todo: what the user can do now; empty only when nothing sensible can be said.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, tried: str, *, on: str = "", got: str = "", todo: str = "") -> None:
        super().__init__(tried)
        self.tried = tried
        self.on = on
        self.got = got
        self.todo = todo

    def __str__(self) -> str:
        head = f"{self.tried} on {self.on}" if self.on else self.tried
        lines = [f"{head}: {self.got}" if self.got else head]
        if self.todo:
            lines.append(f"  what to do: {self.todo}")
        return "\n".join(lines)


class InventoryError(ZentoriaError):
    """The inventory cannot be used. ``got`` lists every problem, one a line, with file:line:column."""

    exit_code = ExitCode.INVALID


class UnreachableError(ZentoriaError):
    """The node, its API or its SSH service could not be reached or trusted."""

    exit_code = ExitCode.UNREACHABLE


class AuthError(UnreachableError):
    """The node answered and did not accept the credentials (HTTP 401, SSH authentication)."""


class ApiError(ZentoriaError):
    """The Proxmox API refused or failed a call.

    Args:
        status: the HTTP status code.
        errors: Proxmox's own ``errors`` object, parameter to text.
    """

    def __init__(
        self,
        tried: str,
        *,
        on: str = "",
        got: str = "",
        todo: str = "",
        status: int = 0,
        errors: dict[str, str] | None = None,
    ) -> None:
        super().__init__(tried, on=on, got=got, todo=todo)
        self.status = status
        self.errors = errors or {}


class PermissionDeniedError(ApiError):
    """HTTP 403: the token or user lacks a right; ``got`` names path and privilege."""


class TaskError(ZentoriaError):
    """A Proxmox task ended badly. ``got`` holds its exit status and the tail of its log."""


class GuestError(ZentoriaError):
    """Something inside a container failed. ``got`` holds the command and the tail of its output."""


class RefusedError(ZentoriaError):
    """Zentoria will not do this: not its own, protected, or not confirmed."""

    exit_code = ExitCode.REFUSED


class LabError(ZentoriaError):
    """The lab on this machine could not do what was asked."""

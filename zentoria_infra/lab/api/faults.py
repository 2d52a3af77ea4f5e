"""What the API answers when it refuses or fails: status, message and the errors by parameter."""

from __future__ import annotations

from collections.abc import Mapping


class Fault(Exception):
    """A refusal with an HTTP status.

    Args:
        status: HTTP status code.
        message: text of the reason phrase and of the body's ``message``, without the last newline.
        errors: parameter name to text, as Proxmox's ``errors`` object; None when the body has none.
    """

    def __init__(self, status: int, message: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = dict(errors) if errors is not None else None


def internal(message: str) -> Fault:
    """Status 500, which Proxmox uses for every ``die`` (a missing object too)."""
    return Fault(500, message)


def bad_params(errors: Mapping[str, str]) -> Fault:
    """Status 400 with one text a parameter."""
    return Fault(400, "Parameter verification failed.", errors)


def forbidden(what: str = "") -> Fault:
    """Status 403; ``what`` is ``path, privilege`` or a sentence."""
    return Fault(403, f"Permission check failed ({what})" if what else "Permission check failed")


def unauthorized(message: str) -> Fault:
    """Status 401: who are you?"""
    return Fault(401, message)


def modified() -> Fault:
    """The digest that came with a change is not the digest of what is there now."""
    return internal("detected modified configuration - file changed by other user? Try again.")

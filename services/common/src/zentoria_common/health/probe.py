"""What a probe is: one small question to a dependency, over the same pool that the service works with."""

from __future__ import annotations

from typing import Protocol


class ProbeError(Exception):
    """A dependency did not answer as it should.

    Args:
        reason: short and public: no addresses, no names, no secrets.
        detail: what the other side or the driver said; for the log and for ``check``, with passwords removed.
        fatal: waiting does not mend it: a service that meets it at its start refuses to serve.
    """

    def __init__(self, reason: str, detail: str = "", *, fatal: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.fatal = fatal


class Probe(Protocol):
    """A dependency that can be asked. ``ask`` may be cancelled at any time."""

    @property
    def name(self) -> str:
        """The dependency's name in reports and metrics."""

    async def ask(self) -> dict[str, str]:
        """Ask it, and return what it says about itself.

        Raises:
            ProbeError: it refused, failed, or could not be reached.
        """

    async def close(self) -> None:
        """Give its connections back."""


def one_line(text: str, password: str = "") -> str:
    """What a driver said, as one line and without the password."""
    line = " ".join(text.split())
    return line.replace(password, "***") if password else line

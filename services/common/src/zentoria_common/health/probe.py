"""What a probe is: one small question to a dependency, over the same pool that the service works with."""

from __future__ import annotations

from typing import Protocol


class ProbeError(Exception):
    """A dependency did not answer as it should.

    Args:
        reason: short and public: no addresses, no names, no secrets.
        detail: what the other side or the driver said; for the log and for ``check``, with passwords removed.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


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

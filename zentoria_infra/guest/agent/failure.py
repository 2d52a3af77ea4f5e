"""How a resource fails."""

from __future__ import annotations


class Failed(Exception):
    """A resource could not be brought to its state.

    Args:
        detail: what is wrong, in a line.
        command: the command that failed, if one did.
        output: its output, as it came: secrets are taken out when it is reported.
    """

    def __init__(self, detail: str, command: str = "", output: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.command = command
        self.output = output

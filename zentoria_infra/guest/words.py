"""What an agent may say: each line is one of these messages, bounded, and clean of what a terminal would act on.

Whoever is root in a guest can say anything in the agent's place. What is not of the protocol is that guest's error.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from zentoria_infra.errors import visible
from zentoria_infra.guest.state import GuestReport, Line, Lines

LINE_BYTES = 16 << 20
"""Of the longest message: a report with every difference of every file."""


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Need(_Message):
    """Blobs that it lacks; said once."""

    need: Annotated[tuple[Sha256, ...], Field(max_length=10_000)]


class Event(_Message):
    """It begins with a resource, or goes on with one."""

    event: Literal["start", "progress"]
    id: Line = ""
    text: Line = ""

    def told(self) -> dict[str, Any]:
        """As it came: a start has no text."""
        return self.model_dump(exclude={"text"} if self.event == "start" else set())


class Report(_Message):
    """The end of its work."""

    report: GuestReport


class Refusal(_Message):
    """It could not work at all."""

    error: Lines
    command: Line = ""
    output: Lines = ""


Message = Need | Event | Report | Refusal
_KINDS: dict[str, TypeAdapter[Any]] = {
    "need": TypeAdapter(Need),
    "event": TypeAdapter(Event),
    "report": TypeAdapter(Report),
    "error": TypeAdapter(Refusal),
}


def read(line: bytes) -> Message:
    """The message in a line.

    Raises:
        ValueError: it is none.
    """
    if len(line) > LINE_BYTES:
        raise ValueError(f"a line of more than {LINE_BYTES} bytes")
    try:
        value = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError:
        raise ValueError("it is not JSON") from None
    kind = next((one for one in _KINDS if isinstance(value, dict) and one in value), None)
    if kind is None:
        raise ValueError("it is no message")
    try:
        message: Message = _KINDS[kind].validate_python(value)
    except ValidationError as error:
        places = ", ".join(sorted({".".join(map(str, one["loc"]))[:60] for one in error.errors()})[:3])
        raise ValueError(f"{visible(places)} of it is not as it should be") from None
    return message

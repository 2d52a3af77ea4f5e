"""What a run says while it works: plain values for whoever shows them."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable

from zentoria_infra.errors import ZentoriaError
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.stages.types import AnyStage


class Status(enum.StrEnum):
    """How a stage ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """A stage that it needs failed."""
    STOPPED = "stopped"
    """The run was interrupted before it began."""
    SPARED = "not needed"
    """It is for a failure, and nothing has failed."""


WELL = frozenset({Status.DONE, Status.SPARED})
"""How a stage ends that nothing is wrong with."""


@dataclasses.dataclass(frozen=True)
class Started:
    """A stage begins."""

    stage: AnyStage


@dataclasses.dataclass(frozen=True)
class Progress:
    """A stage is at work on something, told in a few words."""

    stage: AnyStage
    text: str


@dataclasses.dataclass(frozen=True)
class Ended:
    """A stage is over. ``seconds`` is wall time; ``because`` names the stage that failed for a skipped one."""

    stage: AnyStage
    status: Status
    seconds: float = 0.0
    error: ZentoriaError | None = None
    because: str = ""
    report: GuestReport | None = None


Event = Started | Progress | Ended
Listener = Callable[[Event], None]
"""Called from worker threads, one call at a time."""

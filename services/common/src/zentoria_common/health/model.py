"""The answer to "are you well?", as JSON clients see it."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["ok", "error"]


class DependencyHealth(BaseModel):
    """What one dependency answered.

    ``saw`` is what it said about itself (``server``, ``database``, ``redis_version``); empty when it did not answer.
    ``error`` is a short reason without addresses or secrets: it is public. The log and ``check`` have the detail.
    """

    model_config = ConfigDict(frozen=True)

    status: Status
    saw: dict[str, str] = {}
    latency_ms: float
    error: str | None = None


class HealthReport(BaseModel):
    """All dependencies, asked at ``checked_at`` (UTC). ``status`` is ok when every one of them is."""

    model_config = ConfigDict(frozen=True)

    status: Status
    service: str
    version: str
    checked_at: datetime.datetime
    dependencies: dict[str, DependencyHealth]

    @property
    def states(self) -> dict[str, Status]:
        """The status of each dependency: what has to differ for a report to be news."""
        return {name: dependency.status for name, dependency in self.dependencies.items()}

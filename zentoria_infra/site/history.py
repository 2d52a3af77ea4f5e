"""What the history keeps of a run: who, when, which plan, how it ended. Never a secret."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import zentoria_infra
from zentoria_infra.errors import ExitCode, ZentoriaError
from zentoria_infra.execute.run.engine import Result
from zentoria_infra.execute.run.events import Ended, Status
from zentoria_infra.plan.stages.types import Create, Destroy, GoBack, Restart, Snapshot
from zentoria_infra.site import revision
from zentoria_infra.site.site_state import Run

Outcome = Literal["ok", "failed", "interrupted", "refused", "running", "died", "unknown"]

_MOST_FAILURES = 20
_MOST_LETTERS = 300


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class InventoryRecord(_Record):
    """Which inventory it was. ``commit`` is git's, empty outside a repository; ``dirty`` when files differ from it."""

    hash: str = ""
    commit: str = ""
    dirty: bool = False


class PlanRecord(_Record):
    """Which plan it was: the SHA-256 of its document, the saved file that it came from, containers by action."""

    hash: str = ""
    saved: str = ""
    totals: dict[str, int] = {}


class FailureRecord(_Record):
    """A stage that failed, and the first line of why."""

    container: str
    stage: str
    error: str


class RunRecord(_Record):
    """What a run says of itself, bit by bit: at its beginning, with its plan, at its end."""

    who: str = ""
    command: str = ""
    version: str = ""
    inventory: InventoryRecord = InventoryRecord()
    plan: PlanRecord | None = None
    outcome: str = ""
    stages: dict[str, int] = {}
    """How many ended how: ``done``, ``failed``, ``skipped``, ``stopped``."""
    failures: tuple[FailureRecord, ...] = ()
    made: tuple[str, ...] = ()
    """Containers that were created."""
    destroyed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    """Containers, and units as ``db: postgresql@17-main.service``."""
    reloaded: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    """Snapshots that were taken, as ``db: zentoria-20261125-223100``."""
    back: tuple[str, ...] = ()
    """Containers that went back, as ``db: zentoria-20261125-223100``."""


def command_line() -> str:
    """The command as it was typed. No command of ours takes a secret by argument."""
    return shlex.join(["zentoria", *sys.argv[1:]])


def begun(root: Path, inventory_hash: str = "") -> dict[str, Any]:
    """What a run says at its beginning, besides who and what.

    Args:
        root: the project folder.
        inventory_hash: of the inventory as it was read.
    """
    commit, dirty = _revision(root)
    inventory = InventoryRecord(hash=inventory_hash, commit=commit, dirty=dirty)
    return _said(RunRecord(version=zentoria_infra.__version__, inventory=inventory))


def planned(document: Mapping[str, Any], *, saved: str = "") -> dict[str, Any]:
    """What a run says of its plan, before it carries it out.

    Args:
        document: the plan as ``plan --json`` prints it.
        saved: the file that it came from, if it is a saved plan.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    totals = {str(action): int(number) for action, number in document.get("summary", {}).items()}
    plan = PlanRecord(hash=hashlib.sha256(text.encode()).hexdigest()[:16], saved=saved, totals=totals)
    return _said(RunRecord(plan=plan))


def ended(result: Result) -> dict[str, Any]:
    """What a run says at its end: counts, failures, and what was made, destroyed, restarted and reloaded."""
    done = [one for one in result.ended if one.status is Status.DONE]
    failed = result.failed[:_MOST_FAILURES]
    outcome = {ExitCode.OK: "ok", ExitCode.INTERRUPTED: "interrupted"}.get(result.exit_code, "failed")
    return _said(
        RunRecord(
            outcome=outcome,
            stages={
                str(status): number
                for status in Status
                if (number := sum(one.status is status for one in result.ended))
            },
            failures=tuple(
                FailureRecord(container=one.stage.container, stage=one.stage.says(), error=_first_line(one.error))
                for one in failed
            ),
            made=_containers(done, Create),
            destroyed=_containers(done, Destroy),
            restarted=(*_containers(done, Restart), *_units(result.ended, "restarted")),
            reloaded=_units(result.ended, "reloaded"),
            snapshots=_named(done, Snapshot),
            back=_named(done, GoBack),
        )
    )


def record_of(run: Run) -> RunRecord:
    """What a run said of itself. What another version wrote, and we cannot read, is left out."""
    known = {name: value for name, value in run.record.items() if name in RunRecord.model_fields}
    while True:
        try:
            return RunRecord.model_validate(known)
        except ValidationError as error:
            for name in {str(one["loc"][0]) for one in error.errors()}:
                del known[name]


def outcome_of(run: Run) -> Outcome:
    """How a run ended. One that neither ended nor holds the lock any more has died."""
    if run.ended is None:
        return "running" if run.running else "died"
    said = record_of(run).outcome
    return said if said in ("ok", "failed", "interrupted", "refused") else "unknown"  # type: ignore[return-value]


def _said(record: RunRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_defaults=True)


def _containers(ended: Sequence[Ended], kind: type[Create | Destroy | Restart]) -> tuple[str, ...]:
    return tuple(one.stage.container for one in ended if isinstance(one.stage, kind))


def _named(ended: Sequence[Ended], kind: type[Snapshot | GoBack]) -> tuple[str, ...]:
    return tuple(f"{one.stage.container}: {one.stage.name}" for one in ended if isinstance(one.stage, kind))


def _units(ended: Sequence[Ended], what: Literal["restarted", "reloaded"]) -> tuple[str, ...]:
    """Units of containers that were there before: in a new one, every unit starts for the first time."""
    new = _containers(ended, Create)
    reports = [(one.stage.container, one.report) for one in ended if one.report is not None]
    return tuple(f"{name}: {unit}" for name, report in reports if name not in new for unit in getattr(report, what))


def _first_line(error: ZentoriaError | None) -> str:
    return str(error).partition("\n")[0][:_MOST_LETTERS] if error is not None else ""


def _revision(root: Path) -> tuple[str, bool]:
    """The commit of the project folder, and whether the inventory differs from it; an empty one without git."""
    try:
        return revision.commit_of(root, "HEAD"), revision.is_changed(root)
    except ZentoriaError:
        return "", False

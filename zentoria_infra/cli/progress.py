"""Shows a run: a live table on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rich.console
import rich.live
import rich.table
import rich.text

from zentoria_infra.execute.run.events import WELL, Ended, Event, Listener, Progress, Started, Status
from zentoria_infra.plan.stages.types import AnyStage, GoBack

_GAP = 2
"""Blanks between the columns of the table."""


def as_data(event: Event) -> dict[str, Any]:
    """An event as plain data."""
    data: dict[str, Any] = {"vmid": event.stage.vmid, "container": event.stage.container, "stage": event.stage.says()}
    match event:
        case Started():
            return {"event": "started", **data}
        case Progress(text=text):
            return {"event": "progress", **data, "text": text}
        case Ended():
            data |= {"event": "ended", "status": event.status.value, "seconds": round(event.seconds, 3)}
            if event.error is not None:
                data["error"] = str(event.error)
            if event.because:
                data["because"] = event.because
            if event.report is not None:
                data["changed"] = [change.id for change in event.report.changes]
                data["restarted"] = list(event.report.restarted)
    return data


class JsonLines:
    """One JSON object a line, on standard output."""

    def __call__(self, event: Event) -> None:
        """Print one event; progress within a stage is left out."""
        if not isinstance(event, Progress):
            print(json.dumps(as_data(event)), flush=True)


class PlainLines:
    """One line when a stage ends, for pipes and logs."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Print the end of a stage; of what fails, also why."""
        if not isinstance(event, Ended) or event.status is Status.SPARED:
            return
        at = time.monotonic() - self._begun
        print(f"[{at:6.1f}s] {title(event.stage)}: {_end(event)}", flush=True)


class _Row:
    def __init__(self, stages: Sequence[AnyStage]) -> None:
        self.name = title(stages[0])
        self.left = len(stages)
        self.says = "waits"
        self.style = "dim"
        self.failed = False
        self.begun: float | None = None
        self.ended: float | None = None

    def seconds(self) -> str:
        if self.begun is None:
            return ""
        return f"{(self.ended or time.monotonic()) - self.begun:.1f} s"


class LiveTable:
    """A table with one line a container: what it is at, and for how long."""

    def __init__(self, stages: Sequence[AnyStage]) -> None:
        self._rows: dict[int, _Row] = {}
        for vmid in sorted({stage.vmid for stage in stages}):
            self._rows[vmid] = _Row([stage for stage in stages if stage.vmid == vmid])

    def __call__(self, event: Event) -> None:
        """Take one event into the table."""
        row = self._rows[event.stage.vmid]
        match event:
            case Started():
                row.begun = row.begun or time.monotonic()
                row.ended = None
                if not row.failed:  # what comes after a failure puts things away, and is not to hide it
                    row.says, row.style = event.stage.says(), "cyan"
            case Progress(text=text) if not row.failed:
                row.says = f"{event.stage.says()}: {text}"
            case Ended():
                row.left -= 1
                row.ended = time.monotonic()
                if isinstance(event.stage, GoBack) and event.status is Status.DONE:
                    row.says, row.style = f"is back on snapshot {event.stage.name}", "yellow"
                elif row.failed:
                    pass
                elif event.status not in WELL:
                    row.failed = event.status is Status.FAILED
                    row.says, row.style = _end(event).splitlines()[0], "red" if event.error else "yellow"
                elif row.left == 0:
                    row.says, row.style = "done", "green"
                else:
                    row.ended = None

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> rich.console.RenderResult:
        rows = [(row.name, rich.text.Text(row.says, style=row.style), row.seconds()) for row in self._rows.values()]
        name = max(len(text) for text in ("container", *(row[0] for row in rows)))
        elapsed = max(len(text) for text in ("elapsed", *(row[2] for row in rows)))
        # Where a line is too long, it is the stage's words that are cut.
        longest = max(len("stage"), max((len(row[1]) for row in rows), default=0))
        says = min(longest, options.max_width - name - elapsed - 2 * _GAP)
        table = rich.table.Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
        table.add_column("container", no_wrap=True, width=name)
        table.add_column("stage", no_wrap=True, overflow="ellipsis", width=max(says, 1))
        table.add_column("elapsed", justify="right", no_wrap=True, width=elapsed)
        for row in rows:
            table.add_row(*row)
        yield table


@contextmanager
def shown(stages: Sequence[AnyStage], *, as_json: bool) -> Iterator[Listener]:
    """Give a listener that shows a run in the way that fits where standard output goes."""
    if as_json:
        yield JsonLines()
    elif sys.stdout.isatty():
        table = LiveTable(stages)
        with rich.live.Live(table, console=rich.console.Console(), refresh_per_second=8):
            yield table
    else:
        yield PlainLines()


def title(stage: AnyStage) -> str:
    """``404 db``; what is the datacenter's has no VMID."""
    return f"{stage.vmid} {stage.container}" if stage.vmid else stage.container


def _end(event: Ended) -> str:
    words = event.stage.says()
    match event.status:
        case Status.DONE:
            return f"{words} ({event.seconds:.1f} s{_changed(event)})"
        case Status.FAILED:
            return f"{words} FAILED ({event.seconds:.1f} s)"
        case Status.SKIPPED:
            return f"{words} skipped, since {event.because} did not succeed"
        case Status.STOPPED:
            return f"{words} not begun"
        case Status.SPARED:
            return f"{words} not needed"


def _changed(event: Ended) -> str:
    if event.report is None:
        return ""
    changed, restarted = len(event.report.changes), len(event.report.restarted)
    return f", {changed} changed" + (f", {restarted} restarted" if restarted else "")

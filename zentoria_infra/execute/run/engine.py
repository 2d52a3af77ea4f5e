"""Runs stages in parallel, each after those it needs. Knows nothing of Proxmox."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from zentoria_infra.errors import ExitCode, ZentoriaError
from zentoria_infra.execute.run.events import WELL, Ended, Event, Listener, Progress, Started, Status
from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.stages.types import AnyStage

Perform = Callable[[AnyStage, Callable[[str], None]], GuestReport | None]
"""Carries out one stage; the second argument takes progress in words. Raises ZentoriaError."""


class Halfway:
    """Points that stages have passed on their way, told while they are at work. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passed: list[str] = []
        self.news: concurrent.futures.Future[None] = concurrent.futures.Future()
        """Done when there is something to take."""

    def passed(self, name: str) -> None:
        """A point was passed: a stage's ``halfway``."""
        with self._lock:
            self._passed.append(name)
            if not self.news.done():
                self.news.set_result(None)

    def take(self) -> list[str]:
        """What was passed since this was asked last."""
        with self._lock:
            found, self._passed = self._passed, []
            self.news = concurrent.futures.Future()
            return found


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended. ``ended`` holds every stage once, in the order in which they ended."""

    ended: tuple[Ended, ...]
    interrupted: bool = False

    @property
    def failed(self) -> tuple[Ended, ...]:
        """The stages that failed, without those that were skipped for it."""
        return tuple(e for e in self.ended if e.status is Status.FAILED)

    @property
    def exit_code(self) -> ExitCode:
        """The code that the command ends with."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.FAILED if self.failed else ExitCode.OK


def run(
    stages: Sequence[AnyStage],
    perform: Perform,
    listen: Listener,
    *,
    stop: threading.Event | None = None,
    workers: int = 24,
    halfway: Halfway | None = None,
) -> Result:
    """Run all stages. A failure stops what needs it, everything else goes on.

    Args:
        stages: a list in which every id in ``after`` names an earlier stage of the list, or a point on its way.
        perform: carries out one stage, called from worker threads.
        listen: told of every beginning, progress and end, one call at a time.
        stop: once set (by Ctrl-C), the stages at work end, and no other begins but those that finish them.
        workers: stages at work at once; the node's own limits are kept by the client's gates.
        halfway: which points stages have passed. What is not told there is passed when the stage ends.
    """
    return _Run(stages, perform, listen, halfway or Halfway()).run(workers, stop or threading.Event())


class _Run:
    def __init__(self, stages: Sequence[AnyStage], perform: Perform, listen: Listener, halfway: Halfway) -> None:
        self._perform = perform
        self._listen = listen
        self._halfway = halfway
        self._telling = threading.Lock()
        self._waiting = {stage.id: stage for stage in stages}
        self._status: dict[str, Status] = {}
        self._ended: list[Ended] = []
        known = {*self._waiting, *(stage.halfway for stage in stages)}
        unknown = {need for stage in stages for need in stage.after} - known
        if unknown:
            raise ValueError(f"stages need {sorted(unknown)}, which are not in the list")

    def _tell(self, event: Event) -> None:
        with self._telling:
            self._listen(event)

    def _end(self, ended: Ended) -> None:
        self._status[ended.stage.id] = ended.status
        if ended.stage.halfway:
            self._status.setdefault(ended.stage.halfway, ended.status)
        self._ended.append(ended)
        self._tell(ended)

    def _work(self, stage: AnyStage) -> Ended:
        self._tell(Started(stage))
        begun = time.monotonic()
        try:
            report = self._perform(stage, lambda text: self._tell(Progress(stage, text)))
        except ZentoriaError as error:
            return Ended(stage, Status.FAILED, time.monotonic() - begun, error)
        except Exception as error:
            # A bug, or this machine's own trouble (a full disk): it must not stop the other containers.
            wrapped = ZentoriaError(
                f"{stage.says()} of container {stage.vmid}",
                got=f"{type(error).__name__}: {error}",
                todo="if it is about this machine (disk, memory), put that right; then run the command again",
            )
            return Ended(stage, Status.FAILED, time.monotonic() - begun, wrapped)
        return Ended(stage, Status.DONE, time.monotonic() - begun, report=report)

    def _ready(self) -> list[AnyStage]:
        """Take the stages that can begin; those whose needs failed end as skipped, and so on down the line."""
        ready: list[AnyStage] = []
        progress = True
        while progress:
            progress = False
            for stage in list(self._waiting.values()):
                if stage.after_failure:
                    if self._is_spared(stage):
                        self._end(Ended(self._waiting.pop(stage.id), Status.SPARED))
                        progress = True
                    elif all(need in self._status for need in stage.after):
                        ready.append(self._waiting.pop(stage.id))
                    continue
                bad = next((n for n in stage.after if self._status.get(n, Status.DONE) not in WELL), "")
                ended = all(need in self._status for need in stage.after)
                if bad and (not stage.anyway or (ended and self._has_nothing_to_finish(stage))):
                    del self._waiting[stage.id]
                    self._end(Ended(stage, Status.SKIPPED, because=bad))
                    progress = True
                elif ended:
                    ready.append(self._waiting.pop(stage.id))
        return ready

    def _has_nothing_to_finish(self, stage: AnyStage) -> bool:
        return bool(stage.finishes) and not any(self._has_begun(name) for name in stage.finishes)

    def _is_spared(self, stage: AnyStage) -> bool:
        """Whether a stage that is for a failure is not needed: all that it is for has ended, and nothing failed."""
        ended = [self._status.get(name) for name in stage.after]
        return None not in ended and Status.FAILED not in ended

    def _unfinished(self) -> list[AnyStage]:
        """Take the stages that finish something which was at work, and those for what has failed, in their order."""
        found = [
            one
            for one in self._waiting.values()
            if any(self._has_begun(name) for name in one.finishes)
            or (one.after_failure and any(self._status.get(name) is Status.FAILED for name in one.after))
        ]
        ids = {one.id for one in found}
        return [self._waiting.pop(one.id) for one in found if not ids & set(one.after)]

    def _has_begun(self, name: str) -> bool:
        return self._status.get(name) in (Status.DONE, Status.FAILED)

    def run(self, workers: int, stop: threading.Event) -> Result:
        working: set[concurrent.futures.Future[Ended]] = set()
        with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="stage") as pool:
            while True:
                for name in self._halfway.take():
                    self._status.setdefault(name, Status.DONE)
                ready = self._ready() if not stop.is_set() else self._unfinished() if not working else []
                working |= {pool.submit(self._work, stage) for stage in ready}
                if not working:
                    break
                either: set[concurrent.futures.Future[Any]] = {*working, self._halfway.news}
                concurrent.futures.wait(either, return_when=concurrent.futures.FIRST_COMPLETED)
                done = {future for future in working if future.done()}
                working -= done
                for future in done:
                    self._end(future.result())
        for stage in list(self._waiting.values()):
            if stage.after_failure and self._is_spared(stage):
                self._end(Ended(self._waiting.pop(stage.id), Status.SPARED))
        left = tuple(self._waiting.values())
        for stage in left:
            self._end(Ended(stage, Status.STOPPED))
        return Result(tuple(self._ended), interrupted=bool(left))

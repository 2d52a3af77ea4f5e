"""Asks all dependencies at once, remembers the last answer, and tells those who wait when it changes."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Sequence

import structlog

from zentoria_common.health.model import DependencyHealth, HealthReport
from zentoria_common.health.probe import Probe, ProbeError
from zentoria_common.metrics import Metrics

_log = structlog.stdlib.get_logger("zentoria_common.health")


class HealthService:
    """The health of the dependencies.

    Args:
        probes: one a dependency, each with a name of its own.
        name: the service's own, as ``zentoria-backend``.
        version: its version.
        timeout: seconds that each of them has; they are asked at the same time.
        metrics: where the gauges of the dependencies are kept.
    """

    def __init__(
        self, probes: Sequence[Probe], *, name: str, version: str, timeout: float, metrics: Metrics | None = None
    ) -> None:
        self._name, self._version = name, version
        self._probes = tuple(probes)
        self._timeout = timeout
        self._metrics = metrics
        self._running: asyncio.Task[HealthReport] | None = None
        self._abandoned: set[asyncio.Task[dict[str, str]]] = set()
        self.latest: HealthReport | None = None
        self.details: dict[str, str] = {}
        """The long form of each error, by dependency; not for the public."""

    async def check(self) -> HealthReport:
        """Ask every dependency now. Callers that come while a question is on its way share its answer."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._check(), name="health-check")
        return await asyncio.shield(self._running)

    async def watch(self, interval: float) -> None:
        """Ask again and again, ``interval`` seconds apart, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(interval)

    async def close(self) -> None:
        """Stop asking, and close the probes."""
        tasks = [task for task in (self._running, *self._abandoned) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._timeout)
        for probe in self._probes:
            await probe.close()

    async def _check(self) -> HealthReport:
        answers = await asyncio.gather(*(self._ask(probe) for probe in self._probes))
        dependencies = dict(zip((probe.name for probe in self._probes), answers, strict=True))
        report = HealthReport(
            status="ok" if all(answer.status == "ok" for answer in answers) else "error",
            service=self._name,
            version=self._version,
            checked_at=datetime.datetime.now(datetime.UTC),
            dependencies=dependencies,
        )
        self._publish(report)
        return report

    async def _ask(self, probe: Probe) -> DependencyHealth:
        start = time.perf_counter()
        task = asyncio.create_task(probe.ask(), name=f"ask-{probe.name}")
        try:
            # Not wait_for(): it waits until a cancelled driver has cleaned up, which takes another timeout or two.
            done, _ = await asyncio.wait({task}, timeout=self._timeout)
        except asyncio.CancelledError:
            task.cancel()
            raise
        latency = round((time.perf_counter() - start) * 1000, 2)
        if not done:
            self._abandon(task)
            return self._failed(probe, ProbeError(f"no answer in {self._timeout:g} s"), latency)
        error = task.exception()
        if error is None:
            self.details.pop(probe.name, None)
            return DependencyHealth(status="ok", saw=task.result(), latency_ms=latency)
        if not isinstance(error, ProbeError):
            _log.error("probe failed", dependency=probe.name, exc_info=error)
            error = ProbeError("probe failed", type(error).__qualname__)
        return self._failed(probe, error, latency)

    def _failed(self, probe: Probe, error: ProbeError, latency: float) -> DependencyHealth:
        self.details[probe.name] = error.detail or error.reason
        return DependencyHealth(status="error", latency_ms=latency, error=error.reason)

    def _abandon(self, task: asyncio.Task[dict[str, str]]) -> None:
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[dict[str, str]]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not report it as lost: the timeout was reported

    def _publish(self, report: HealthReport) -> None:
        before, self.latest = self.latest, report
        for name, health in report.dependencies.items():
            if self._metrics is not None:
                self._metrics.dependency(name, up=health.status == "ok", seconds=health.latency_ms / 1000)
            if before is None or before.states.get(name) != health.status:
                _log.log(
                    20 if health.status == "ok" else 40,
                    "dependency answers" if health.status == "ok" else "dependency fails",
                    dependency=name,
                    saw=health.saw,
                    latency_ms=health.latency_ms,
                    error=self.details.get(name),
                )

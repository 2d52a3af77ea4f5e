"""Prometheus metrics of this process, in a registry of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counters and gauges. Labels take route templates, never paths: a scanner cannot make series without end."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Counter(
            "zentoria_http_requests",
            "HTTP requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "zentoria_http_request_duration_seconds",
            "Time from the request's head to the end of the answer",
            ("method", "route"),
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self._up = Gauge(
            "zentoria_dependency_up", "1 when the dependency answers", ("dependency",), registry=self.registry
        )
        self._latency = Gauge(
            "zentoria_dependency_latency_seconds",
            "How long the last question to the dependency took",
            ("dependency",),
            registry=self.registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        method = method if method in METHODS else "OTHER"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def dependency(self, name: str, *, up: bool, seconds: float) -> None:
        """Keep what a dependency answered last."""
        self._up.labels(name).set(1 if up else 0)
        self._latency.labels(name).set(seconds)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)


class _Gathered(Collector):
    def __init__(self, families: Mapping[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()


def merged(texts: Mapping[int, bytes]) -> bytes:
    """The metrics of several workers as one text.

    Each sample gets the label ``worker``: so a worker that is replaced begins its own counters anew, and no others.

    Args:
        texts: of :meth:`Metrics.render`, by the worker's index.
    """
    families: dict[str, Metric] = {}
    for index, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text.decode()):
            whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                whole.add_sample(sample.name, {**sample.labels, "worker": str(index)}, sample.value)
    registry = CollectorRegistry()
    registry.register(_Gathered(families))
    return generate_latest(registry)

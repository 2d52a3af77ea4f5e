"""Prometheus metrics of this process, in a registry of their own."""

from __future__ import annotations

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

"""Metrics of the engine."""

from __future__ import annotations

from functools import partial

from prometheus_client import Counter, Gauge, Histogram
from zentoria_common.metrics import Metrics

from zentoria_engine.models import Held, Models


class EngineMetrics(Metrics):
    """Requests, tokens and lines by model; names of models are the inventory's, so they are few."""

    def __init__(self) -> None:
        super().__init__()
        labels = ("model",)
        self._tokens = Counter(
            "zentoria_engine_tokens", "Tokens, as the engine counted them", ("model", "kind"), registry=self.registry
        )
        self._refused = Counter(
            "zentoria_engine_refused", "Requests that were refused", ("model", "code"), registry=self.registry
        )
        self._left = Counter(
            "zentoria_engine_left", "Answers that were ended since the asker left", labels, registry=self.registry
        )
        self._first = Histogram(
            "zentoria_engine_first_piece_seconds",
            "Time until the first piece of an answer, with the wait for a turn",
            labels,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
            registry=self.registry,
        )
        self._ready = Gauge("zentoria_engine_model_ready", "1 when it can be asked", labels, registry=self.registry)
        self._loaded = Gauge("zentoria_engine_model_loaded", "1 when it is in memory", labels, registry=self.registry)
        self._waiting = Gauge("zentoria_engine_waiting", "Requests that wait", labels, registry=self.registry)
        self._working = Gauge("zentoria_engine_working", "Requests at work", labels, registry=self.registry)

    def tokens(self, model: str, prompt: int, completion: int) -> None:
        """Count what one answer took."""
        self._tokens.labels(model, "prompt").inc(prompt)
        self._tokens.labels(model, "completion").inc(completion)

    def refused(self, model: str, code: str) -> None:
        """Count a request that was refused."""
        self._refused.labels(model, code).inc()

    def left(self, model: str) -> None:
        """Count an answer whose asker left."""
        self._left.labels(model).inc()

    def first(self, model: str, seconds: float) -> None:
        """Keep how long the first piece of an answer took."""
        self._first.labels(model).observe(seconds)

    def watch(self, models: Models) -> None:
        """Show how the models are, whenever it is asked."""
        for name, held in models.all.items():
            self._ready.labels(name).set_function(partial(_ready, held))
            self._loaded.labels(name).set_function(partial(_loaded, held))
            self._waiting.labels(name).set_function(partial(_waiting, held))
            self._working.labels(name).set_function(partial(_working, held))


def _ready(held: Held) -> float:
    return float(held.status().state == "ready")


def _loaded(held: Held) -> float:
    return float(held.loaded)


def _waiting(held: Held) -> float:
    return float(held.line.waiting)


def _working(held: Held) -> float:
    return float(held.line.working)

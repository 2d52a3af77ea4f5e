"""Metrics of this process, beside those that every service has."""

from __future__ import annotations

from prometheus_client import Gauge
from zentoria_common.metrics import Metrics


class BackendMetrics(Metrics):
    """The common ones, and who is connected."""

    def __init__(self) -> None:
        super().__init__()
        self.websocket_clients = Gauge(
            "zentoria_websocket_clients", "WebSocket connections that are open", registry=self.registry
        )

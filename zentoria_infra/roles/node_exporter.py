"""Metrics of the machine, at each container's address only."""

from __future__ import annotations

from zentoria_infra.roles.kit.debian_server import exporter

ROLE = exporter("node-exporter", port="node")

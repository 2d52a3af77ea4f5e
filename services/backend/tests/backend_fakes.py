"""Fakes at the seam: probes that answer as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from zentoria_backend.app import create_app
from zentoria_backend.services import make_services
from zentoria_backend.settings import Secrets, Settings
from zentoria_common.health.probe import ProbeError


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "database_host": "db.test",
        "database_user": "backend",
        "redis_host": "redis.test",
        "redis_user": "backend",
        "s3_endpoint": "http://files.test:9000",
        "s3_access_key": "backend",
        "health_interval": 3600.0,
        "dependency_timeout": 0.2,
        "max_body_bytes": 1000,
    }
    return Settings(**(values | changes))


def app_with(probes: Sequence[FakeProbe], **changes: Any) -> FastAPI:
    """An application whose database and Redis are not there, and which says of them what the probes say."""
    made = settings(**changes)
    return create_app(made, make_services(made, Secrets(SecretStr("x"), SecretStr("x"), SecretStr("x"))), probes)


class FakeProbe:
    """Answers ``saw``, fails with ``error``, or hangs until cancelled (and then for as long as the driver likes)."""

    def __init__(self, name: str, saw: dict[str, str] | None = None) -> None:
        self.name = name
        self.saw = saw or {"server": name}
        self.error: Exception | None = None
        self.hang = False
        self.asked = 0
        self.cancelled = 0
        self.closed = False
        self.before: Callable[[], Any] | None = None

    async def ask(self) -> dict[str, str]:
        self.asked += 1
        if self.before is not None:
            await self.before()
        if self.hang:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.error is not None:
            raise self.error
        return self.saw

    async def close(self) -> None:
        self.closed = True

    def fail(self, reason: str, detail: str = "") -> None:
        self.error = ProbeError(reason, detail)

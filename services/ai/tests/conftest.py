"""Fixtures of the orchestrator's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from ai_kit import World, world
from real_servers import RedisServer


@pytest_asyncio.fixture
async def here(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    """An orchestrator without weights: intents by words alone."""
    redis_server.flush()
    async with world(redis_server, tmp_path) as found:
        yield found

"""``/ws``: the health of the dependencies as it changes.

The server sends ``{"type": "health", "health": {...}}`` when a client connects and whenever the status of a dependency
changes. A client may send ``{"type": "ping"}``, with an ``id`` of its own, and gets ``{"type": "pong"}`` back: browsers
cannot send WebSocket pings themselves. The server sends those (every 20 s) and closes with 1001 when it stops.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from zentoria_common.health.model import HealthReport
from zentoria_common.health.service import HealthService
from zentoria_common.lifecycle import Lifecycle

from zentoria_backend.metrics import BackendMetrics
from zentoria_backend.settings import Settings

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013
"""Close codes of RFC 6455, section 7.4.1, and of its registry at IANA."""

router = APIRouter()


class Ping(BaseModel):
    """What a client may say."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["ping"]
    id: Annotated[str, Field(max_length=64)] | int | None = None


class Clients:
    """How many are connected."""

    def __init__(self) -> None:
        self.count = 0


@router.websocket("/ws")
async def stream(websocket: WebSocket) -> None:
    """Serve one client until it leaves, breaks the rules, or the server stops."""
    state = websocket.app.state
    settings: Settings = state.settings
    metrics: BackendMetrics = state.metrics
    clients: Clients = state.websocket_clients
    lifecycle: Lifecycle = state.lifecycle
    await websocket.accept()
    if lifecycle.draining.is_set():
        await websocket.close(GOING_AWAY)
        return
    if clients.count >= settings.max_websocket_clients:
        await websocket.close(TRY_AGAIN_LATER)
        return
    clients.count += 1
    metrics.websocket_clients.set(clients.count)
    try:
        await _serve(websocket, state.health, lifecycle)
    except WebSocketDisconnect:
        return
    finally:
        clients.count -= 1
        metrics.websocket_clients.set(clients.count)


async def _serve(websocket: WebSocket, health: HealthService, lifecycle: Lifecycle) -> None:
    async with health.changes() as queue:
        await _send_health(websocket, await health.check())
        if not queue.empty():
            queue.get_nowait()  # the check above was itself the change
        listening = asyncio.create_task(_listen(websocket))
        draining = asyncio.create_task(lifecycle.draining.wait())
        try:
            while True:
                news = asyncio.create_task(queue.get())
                done, _ = await asyncio.wait({listening, draining, news}, return_when=asyncio.FIRST_COMPLETED)
                if news in done:
                    await _send_health(websocket, news.result())
                else:
                    news.cancel()
                if listening in done:
                    listening.result()
                    await websocket.close(POLICY_VIOLATION)
                    return
                if draining in done:
                    await websocket.close(GOING_AWAY)
                    return
        finally:
            listening.cancel()
            draining.cancel()


async def _listen(websocket: WebSocket) -> None:
    """Answer pings; return when the client says anything else.

    Raises:
        WebSocketDisconnect: the client left.
    """
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        try:
            ping = Ping.model_validate_json(message.get("text") or "")
        except ValidationError:
            return
        pong = {"type": "pong"} if ping.id is None else {"type": "pong", "id": ping.id}
        await websocket.send_json(pong)


async def _send_health(websocket: WebSocket, report: HealthReport) -> None:
    await websocket.send_json({"type": "health", "health": report.model_dump(mode="json", exclude_none=True)})

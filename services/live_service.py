"""A service of ours as its unit runs it, on a port of loopback, and containers that call it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from fastapi import FastAPI
from pydantic import SecretStr
from zentoria_common.identity import Identity
from zentoria_common.server import make_server


def caller(name: str) -> Identity:
    """A container with a key of its own."""
    made = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Identity(name, SecretStr(made.decode()))


def callers_file(folder: Path, *known: Identity) -> Path:
    """The file from which a service knows them."""
    path = folder / "callers.json"
    path.write_text(json.dumps({"keys": [one.public_jwk() for one in known]}))
    return path


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncGenerator[httpx2.AsyncClient]:
    """Serve an application until the end of the block, and give a client of it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        server = make_server(app.state.settings.model_copy(update={"drain_timeout": 0.0}), app)
        task = asyncio.create_task(server.serve([sock]))
        try:
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
            async with httpx2.AsyncClient(base_url=url, timeout=240, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            await task

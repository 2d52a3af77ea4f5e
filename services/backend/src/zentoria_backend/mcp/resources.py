"""The user's documents as resources: ``zentoria://files/<id>``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer

from zentoria_backend.mcp.call import Call


def add_to(server: MCPServer[Any]) -> None:
    """Put the template into a server."""


async def listed(call: Call, parameters: Mapping[str, Any] | None, result: dict[str, Any]) -> dict[str, Any]:
    """Put a page of the user's documents into a list of resources."""
    return result

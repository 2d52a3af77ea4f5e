"""The tools, by domain. Who may use which stands in the permission table (``access/rules/events.py``)."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer

from zentoria_backend.mcp.tools import (
    conversations,
    documents,
    files,
    jobs,
    keys,
    mail,
    memory,
    search,
    security,
    workflows,
)
from zentoria_backend.mcp.tools.kit import Offer, guarded

OFFERS: tuple[Offer, ...] = (
    *conversations.OFFERS,
    *documents.OFFERS,
    *files.OFFERS,
    *jobs.OFFERS,
    *keys.OFFERS,
    *mail.OFFERS,
    *memory.OFFERS,
    *search.OFFERS,
    *security.OFFERS,
    *workflows.OFFERS,
)


def add_to(server: MCPServer[Any]) -> None:
    """Put all tools into a server."""
    for offer in sorted(OFFERS, key=lambda offer: offer.name):
        server.add_tool(
            guarded(offer.function),
            name=offer.name,
            title=offer.title,
            description=offer.description,
            annotations=offer.annotations,
            structured_output=True,
        )

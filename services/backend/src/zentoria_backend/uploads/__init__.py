"""What is on its way into S3: in one request, or in several by tus 1.0."""

from __future__ import annotations

ROUTES = ("/api/v1/mcp/upload", "/api/v1/uploads")
"""Beginnings of the paths where whole files come: their bodies have a limit of their own, and go on as they come."""

"""Filters as conditions of SQL on ``documents d``."""

from __future__ import annotations

from typing import Any

from zentoria_rag.index.model import Filters


def conditions(filters: Filters) -> tuple[str, dict[str, Any]]:
    """What follows ``WHERE ...``, beginning with `` AND``, and its values."""
    parts: list[tuple[str, str, Any]] = []
    if filters.file_ids:
        parts.append(("d.file_id = ANY(:file_ids)", "file_ids", list(filters.file_ids)))
    if filters.project is not None:
        parts.append(("d.project = :project", "project", filters.project))
    if filters.mimes:
        parts.append(("d.mime = ANY(:mimes)", "mimes", list(filters.mimes)))
    if filters.tags:
        parts.append(("d.tags @> CAST(:tags AS text[])", "tags", list(filters.tags)))
    if filters.since is not None:
        parts.append(("d.made_at >= :since", "since", filters.since))
    if filters.until is not None:
        parts.append(("d.made_at < :until", "until", filters.until))
    return "".join(f" AND {text}" for text, _, _ in parts), {name: value for _, name, value in parts}

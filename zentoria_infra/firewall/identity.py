"""Whose is a firewall object? The first word of its comment tells, never its position."""

from __future__ import annotations

import functools

PREFIX = "zt/"
"""The first word of every comment of ours begins so."""

OPENING = f"{PREFIX}opening/"
"""How the identities of openings begin: package sources, for the time of a deploy."""


@functools.lru_cache(maxsize=65536)  # rules are compared by it again and again
def identity(comment: str) -> str:
    """The identity in a comment, as ``zt/row-7/backend/db/tcp``; empty for what is not ours."""
    text = comment.lstrip()
    return text.split(maxsplit=1)[0] if text.startswith(PREFIX) else ""


def is_ours(comment: str) -> bool:
    """Whether a comment carries an identity of ours."""
    return bool(identity(comment))

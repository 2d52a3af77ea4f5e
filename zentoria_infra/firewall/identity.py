"""Whose is a firewall object? The first word of its comment tells, never its position.

What all sites of a cluster share, the datacenter's objects, is told apart by the site's id in that word, as in
``zt/site:home/alias/db``. A guest's own rules carry none: the guest carries the mark of its site itself.
"""

from __future__ import annotations

import functools

PREFIX = "zt/"
"""The first word of every comment of ours begins so."""

OPENING = f"{PREFIX}opening/"
"""How the identities of openings begin: package sources, for the time of a deploy."""

_SITE = f"{PREFIX}site:"


@functools.lru_cache(maxsize=65536)  # rules are compared by it again and again
def identity(comment: str) -> str:
    """The identity in a comment, as ``zt/row-7/backend/db/tcp``; empty for what is not ours."""
    text = comment.lstrip()
    return text.split(maxsplit=1)[0] if text.startswith(PREFIX) else ""


def is_ours(comment: str) -> bool:
    """Whether a comment carries an identity of Zentoria, whichever site's."""
    return bool(identity(comment))


def site_identity(site: str, *words: str) -> str:
    """The identity of an object in the datacenter, as ``zt/site:home/alias/db``."""
    return "/".join((f"{_SITE}{site}", *words))


def site_of(comment: str) -> str:
    """The id of the site whose object it is; empty where the comment names none."""
    word = identity(comment)
    return word.removeprefix(_SITE).partition("/")[0] if word.startswith(_SITE) else ""


def is_of_site(comment: str, site: str) -> bool:
    """Whether a comment carries an identity of ours that is of this very site."""
    return is_ours(comment) and site_of(comment) == site

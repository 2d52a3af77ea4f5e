"""Scopes: what a credential may do. The same everywhere: web session, API key, OAuth token, MCP tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

Role = Literal["owner", "member"]

SCOPES: Mapping[str, str] = {
    "approvals:decide": "Approve or deny what waits for your approval",
    "audit:read": "Read who did what",
    "chat:read": "Read your conversations",
    "chat:write": "Talk to the assistant",
    "files:read": "List, search and download your files",
    "files:write": "Upload, change and delete your files",
    "jobs:read": "See how your jobs go on",
    "keys:read": "List your API keys",
    "keys:write": "Make and revoke API keys",
    "profile:read": "See your name and e-mail address",
    "profile:write": "Change your name, password and second factors",
    "search:read": "Search your documents",
    "sessions:read": "List where you are signed in",
    "sessions:write": "End your sessions",
    "settings:read": "Read settings",
    "settings:write": "Change settings",
    "workflows:read": "List workflows",
    "workflows:run": "Start workflows",
}
"""Every scope that can be given to a key or a client, with what the consent page says of it."""

ADMIN = "admin:users"
"""Belongs to the owner's own web sessions alone: no key and no client is given it."""

ROLES: Mapping[Role, frozenset[str]] = {
    "owner": frozenset({*SCOPES, ADMIN}),
    "member": frozenset(SCOPES) - {"settings:write"},
}
"""What a web session of each role may do. ``audit:read`` of a member is of its own rows."""


class UnknownScope(ValueError):
    """A scope that there is not; the text names it."""


def parse(text: str) -> frozenset[str]:
    """Scopes of a space-separated list (RFC 6749, section 3.3).

    Raises:
        UnknownScope: one of them is none of ours.
    """
    found = frozenset(text.split())
    if unknown := sorted(found - SCOPES.keys() - {ADMIN}):
        raise UnknownScope(f"there is no scope {unknown[0][:64]!r}")
    return found


def text(scopes: Iterable[str]) -> str:
    """The same the other way round, in alphabetical order."""
    return " ".join(sorted(set(scopes)))


def granted(role: Role, asked: Iterable[str]) -> frozenset[str]:
    """What of ``asked`` a key or a client of a user with that role can be given."""
    return frozenset(asked) & ROLES[role] & frozenset(SCOPES)

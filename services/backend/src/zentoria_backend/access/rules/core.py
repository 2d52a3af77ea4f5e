"""Health, sign-in, accounts, keys, approvals, audit, settings, and what is forwarded to other containers."""

from __future__ import annotations

from zentoria_backend.access.rule import OWN, PUBLIC, Rule

_SESSION = ("session",)
"""For what only somebody who sits there may do: no key, and no program that was given a token."""

RULES = (
    Rule("GET", "/api/v1/health", PUBLIC),
    Rule("GET", "/api/v1/health/live", PUBLIC),
    Rule("GET", "/api/v1/openapi.json", PUBLIC),
    Rule("HEAD", "/api/v1/openapi.json", PUBLIC),
    Rule("GET", "/metrics", PUBLIC),
    Rule("POST", "/api/v1/auth/login", PUBLIC),
    Rule("POST", "/api/v1/auth/refresh", PUBLIC),
    Rule("POST", "/api/v1/auth/logout", PUBLIC),
    Rule("GET", "/api/v1/keys", "keys:read"),
    Rule("POST", "/api/v1/keys", "keys:write"),
    Rule("GET", "/api/v1/keys/{key_id}", "keys:read", OWN),
    Rule("DELETE", "/api/v1/keys/{key_id}", "keys:write", OWN),
)

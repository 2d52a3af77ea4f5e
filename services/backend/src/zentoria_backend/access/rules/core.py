"""Health, sign-in, accounts, keys, approvals, audit, settings, and what is forwarded to other containers."""

from __future__ import annotations

from zentoria_backend.access.rule import ALL, OWN, PUBLIC, Rule

_SESSION = ("session",)
"""For what only somebody who sits there may do: no key, and no program that was given a token."""

RULES = (
    Rule("GET", "/api/v1/health", PUBLIC),
    Rule("GET", "/api/v1/health/live", PUBLIC),
    Rule("GET", "/api/v1/openapi.json", PUBLIC),
    Rule("HEAD", "/api/v1/openapi.json", PUBLIC),
    Rule("GET", "/metrics", PUBLIC),
    Rule("POST", "/api/v1/auth/login", PUBLIC),
    Rule("POST", "/api/v1/auth/passkeys/options", PUBLIC),
    Rule("POST", "/api/v1/auth/refresh", PUBLIC),
    Rule("POST", "/api/v1/auth/logout", PUBLIC),
    Rule("GET", "/api/v1/keys", "keys:read"),
    Rule("POST", "/api/v1/keys", "keys:write"),
    Rule("GET", "/api/v1/keys/{key_id}", "keys:read", OWN),
    Rule("DELETE", "/api/v1/keys/{key_id}", "keys:write", OWN),
    Rule("GET", "/api/v1/users/me", "profile:read"),
    Rule("PATCH", "/api/v1/users/me", "profile:write"),
    Rule("POST", "/api/v1/users/me/password", "profile:write", kinds=_SESSION),
    Rule("POST", "/api/v1/users/me/totp", "profile:write", kinds=_SESSION),
    Rule("POST", "/api/v1/users/me/totp/confirm", "profile:write", kinds=_SESSION),
    Rule("POST", "/api/v1/users/me/totp/remove", "profile:write", kinds=_SESSION),
    Rule("POST", "/api/v1/users/me/recovery-codes", "profile:write", kinds=_SESSION),
    Rule("GET", "/api/v1/users/me/passkeys", "profile:read"),
    Rule("POST", "/api/v1/users/me/passkeys", "profile:write", kinds=_SESSION),
    Rule("POST", "/api/v1/users/me/passkeys/options", "profile:write", kinds=_SESSION),
    Rule("POST", "/api/v1/users/me/passkeys/{passkey_id}/remove", "profile:write", OWN, kinds=_SESSION),
    Rule("GET", "/api/v1/sessions", "sessions:read"),
    Rule("DELETE", "/api/v1/sessions/{session_id}", "sessions:write", OWN),
    Rule("GET", "/api/v1/approvals", "approvals:decide"),
    Rule("GET", "/api/v1/approvals/{approval_id}", "approvals:decide", OWN),
    Rule("POST", "/api/v1/approvals/{approval_id}/approve", "approvals:decide", OWN, kinds=_SESSION),
    Rule("POST", "/api/v1/approvals/{approval_id}/deny", "approvals:decide", OWN, kinds=_SESSION),
    Rule("GET", "/api/v1/audit", "audit:read", ALL),
    Rule("GET", "/api/v1/audit/export", "audit:read", ALL),
    Rule("GET", "/api/v1/settings", "settings:read"),
    Rule("GET", "/api/v1/settings/{key}", "settings:read"),
    Rule("PUT", "/api/v1/settings/{key}", "settings:write"),
    Rule("DELETE", "/api/v1/settings/{key}", "settings:write"),
    Rule("POST", "/api/v1/mcp/command", "chat:write"),
    Rule("POST", "/api/v1/mcp/workflow", "workflows:run"),
    Rule("GET", "/api/v1/models", "chat:read"),
    Rule("GET", "/api/v1/system", "settings:read"),
)

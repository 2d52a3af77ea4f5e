"""Conversations, events, and the tools of ``/mcp``."""

from __future__ import annotations

from zentoria_backend.access.rule import ANY, OWN, PUBLIC, Rule

RULES = (
    Rule("GET", "/api/v1/conversations", "chat:read"),
    Rule("POST", "/api/v1/conversations", "chat:write"),
    Rule("GET", "/api/v1/conversations/search", "chat:read"),
    Rule("GET", "/api/v1/conversations/{conversation_id}", "chat:read", OWN),
    Rule("PATCH", "/api/v1/conversations/{conversation_id}", "chat:write", OWN),
    Rule("DELETE", "/api/v1/conversations/{conversation_id}", "chat:write", OWN),
    Rule("GET", "/api/v1/conversations/{conversation_id}/export", "chat:read", OWN),
    Rule("GET", "/api/v1/conversations/{conversation_id}/messages", "chat:read", OWN),
    Rule("POST", "/api/v1/conversations/{conversation_id}/messages", "chat:write", OWN),
    Rule("GET", "/api/v1/events", ANY),  # each topic wants the scope of events.schemas.SCOPES
    Rule("POST", "/api/v1/tickets", ANY),
    Rule("WS", "/ws", PUBLIC),  # its credential is the ticket
    Rule("GET", "/mcp", ANY),  # each tool wants its own
    Rule("HEAD", "/mcp", ANY),
    Rule("POST", "/mcp", ANY),
    Rule("DELETE", "/mcp", ANY),
    Rule("GET", "/.well-known/oauth-protected-resource", PUBLIC),
    Rule("GET", "/.well-known/oauth-protected-resource/mcp", PUBLIC),
    Rule("TOOL", "chat_send", "chat:write"),
    Rule("TOOL", "conversations_delete", "chat:write", OWN),
    Rule("TOOL", "conversations_list", "chat:read"),
    Rule("TOOL", "conversations_messages", "chat:read", OWN),
    Rule("TOOL", "conversations_search", "chat:read"),
    Rule("TOOL", "files_delete", "files:write", OWN),
    Rule("TOOL", "files_get", "files:read", OWN),
    Rule("TOOL", "files_list", "files:read"),
    Rule("TOOL", "files_read", "files:read", OWN),
    Rule("TOOL", "files_search", "files:read"),
    Rule("TOOL", "jobs_get", "jobs:read", OWN),
    Rule("TOOL", "jobs_list", "jobs:read"),
    Rule("TOOL", "keys_list", "keys:read"),
    Rule("TOOL", "keys_revoke", "keys:write", OWN),
    Rule("TOOL", "search", "search:read"),
    Rule("TOOL", "workflows_list", "workflows:read"),
    Rule("TOOL", "workflows_run", "workflows:run", OWN),
)

"""Files, uploads and jobs."""

from __future__ import annotations

from zentoria_backend.access.rule import OWN, PUBLIC, Rule

RULES = (
    Rule("GET", "/api/v1/files", "files:read"),
    Rule("GET", "/api/v1/mcp/files", "files:read"),
    Rule("GET", "/api/v1/files/{file_id}", "files:read", OWN),
    Rule("PATCH", "/api/v1/files/{file_id}", "files:write", OWN),
    Rule("DELETE", "/api/v1/files/{file_id}", "files:write", OWN),
    Rule("POST", "/api/v1/files/{file_id}/restore", "files:write", OWN),
    Rule("GET", "/api/v1/files/{file_id}/versions", "files:read", OWN),
    Rule("GET", "/api/v1/files/{file_id}/content", "files:read", OWN),
    Rule("GET", "/api/v1/files/{file_id}/pages", "files:read", OWN),
    Rule("GET", "/api/v1/files/{file_id}/passages/{chunk_id}", "files:read", OWN),
    Rule("POST", "/api/v1/files/{file_id}/read", "files:write", OWN),
    Rule("GET", "/api/v1/content/{ticket}", PUBLIC),  # the ticket is its credential
    Rule("GET", "/api/v1/projects", "files:read"),
    Rule("GET", "/api/v1/search", "search:read"),
    Rule("POST", "/api/v1/mcp/upload", "files:write"),
    Rule("PUT", "/api/v1/uploads", "files:write"),
    Rule("OPTIONS", "/api/v1/uploads", PUBLIC),
    Rule("POST", "/api/v1/uploads", "files:write"),
    Rule("HEAD", "/api/v1/uploads/{upload_id}", "files:write", OWN),
    Rule("GET", "/api/v1/uploads/{upload_id}", "files:write", OWN),
    Rule("PATCH", "/api/v1/uploads/{upload_id}", "files:write", OWN),
    Rule("DELETE", "/api/v1/uploads/{upload_id}", "files:write", OWN),
    Rule("GET", "/api/v1/jobs", "jobs:read"),
    Rule("GET", "/api/v1/jobs/{job_id}", "jobs:read", OWN),
)

"""Tools as the gateway offers them."""

from __future__ import annotations

from typing import Any

STRING: dict[str, Any] = {"type": "string"}
STRINGS: dict[str, Any] = {"type": "array", "items": STRING}
NOW = {"now": "2026-11-29T12:00:00Z", "time_zone": "Europe/Berlin"}
FILE_ID = "0198c1f2-7c11-4e0b-9f3e-3f8d1f0c4b7a"


def tool(name: str, effect: str, required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": name.replace("_", " "), "input_schema": schema, "effect": effect, "scopes": []}


TOOLS = [
    tool("files_upload", "write", ("file_ids",), file_ids=STRINGS, project={"anyOf": [STRING, {"type": "null"}]}),
    tool("files_search", "read", ("words",), words=STRING, limit={"type": "integer"}),
    tool("files_list", "read", limit={"type": "integer"}),
    tool("files_get", "read", ("file_id",), file_id=STRING),
    tool("files_delete", "destroy", ("file_id",), file_id=STRING, approval_id=STRING),
    tool("files_move", "write", ("file", "project"), file=STRING, project=STRING),
    tool("keys_create", "write", ("name", "scopes"), name=STRING, scopes=STRINGS, days={"type": "integer"}),
    tool("keys_list", "read"),
    tool("keys_revoke", "destroy", ("key_id",), key_id=STRING),
    tool("mail_send", "send", ("to", "subject", "body"), to=STRINGS, subject=STRING, body=STRING, attachments=STRINGS),
    tool("mail_search", "read", words=STRING, since=STRING),
    tool("workflows_run", "send", ("workflow_id",), workflow_id=STRING, input={"type": "object"}),
    tool("workflows_list", "read"),
    tool("audit_search", "read", actor=STRING, action=STRING, since=STRING, until=STRING),
    tool("sessions_list", "read"),
    tool("firewall_list", "read"),
    tool("memory_add", "write", ("text",), text=STRING),
]

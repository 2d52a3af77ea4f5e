"""Who may do what in zentoria_core, and which rows: one table, from which the matrix of tests is made.

The migrations grant it; this says what has to come out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

BACKEND, AUTH = "svc_backend", "svc_auth"
OPERATIONS = ("select", "insert", "update", "delete", "truncate")

READ, WRITE, KEEP, ALL = (
    frozenset({"select"}),
    frozenset({"select", "insert", "delete"}),
    frozenset({"select", "insert", "update"}),
    frozenset({"select", "insert", "update", "delete"}),
)


@dataclasses.dataclass(frozen=True)
class Rights:
    """Rights in one table.

    Args:
        groups: what each group may do. A group that is not here may do nothing.
        rows: which rows svc_backend sees: ``own`` (``user_id`` is the transaction's user), ``own id`` (``id`` is),
            ``own or shared`` (rows without an owner as well; only an owner changes those), ``own or owner`` (an owner
            sees all), or none.
        columns: the only columns that a group may read.
    """

    groups: Mapping[str, frozenset[str]]
    rows: str | None = "own"
    columns: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)


_USER = frozenset(
    {"id", "email", "email_verified_at", "name", "role", "preferences", "last_login_at", "disabled_at"}
    | {"created_at", "updated_at"}
)

RIGHTS: Mapping[str, Rights] = {
    "api_keys": Rights({BACKEND: KEEP}),
    "approvals": Rights({BACKEND: KEEP}),
    "audit_head": Rights({}, None),
    "audit_log": Rights({BACKEND: READ}, "own or owner"),
    "conversations": Rights({BACKEND: ALL}),
    "document_pages": Rights({BACKEND: ALL}),
    "documents": Rights({BACKEND: ALL}),
    "file_versions": Rights({BACKEND: ALL}),
    "files": Rights({BACKEND: ALL}),
    "idempotency_keys": Rights({BACKEND: ALL}),
    "identities": Rights({AUTH: ALL}, None),
    "jobs": Rights({BACKEND: ALL}),
    "memories": Rights({BACKEND: ALL}),
    "messages": Rights({BACKEND: ALL}),
    "oauth_clients": Rights({AUTH: ALL}, None),
    "oauth_grants": Rights({AUTH: ALL}, None),
    "passkeys": Rights({AUTH: ALL}, None),
    "recovery_codes": Rights({AUTH: ALL}, None),
    "sessions": Rights({AUTH: ALL}, None),
    "settings": Rights({BACKEND: ALL}, "own or shared"),
    "setup_links": Rights({AUTH: ALL}, None),
    "totp_factors": Rights({AUTH: ALL}, None),
    "uploads": Rights({BACKEND: ALL}),
    "users": Rights({BACKEND: READ, AUTH: KEEP}, "own id", {BACKEND: _USER}),
    "workflows": Rights({BACKEND: ALL}),
}

FUNCTIONS: Mapping[str, frozenset[str]] = {
    "append_audit": frozenset({BACKEND, AUTH}),
    "append_audit_many": frozenset({BACKEND, AUTH}),
    "audit_page": frozenset({BACKEND}),
    "ensure_audit_partitions": frozenset({BACKEND, AUTH}),
    "find_api_key": frozenset({BACKEND}),
    "touch_api_key": frozenset({BACKEND}),
    "session_live": frozenset({BACKEND}),
    "rows_due": frozenset({BACKEND}),
}
"""Functions with more rights than their caller, and who may call each."""

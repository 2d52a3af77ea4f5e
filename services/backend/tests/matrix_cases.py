"""What the permission matrix needs to know of each route: a body that is good, and a thing of somebody's to name.

A route without its line here fails ``test_backend_matrix.py``: no cell stays untested.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from gateway_kit import Person, World

Maker = Callable[[World, Person], str]


def some_key(world: World, person: Person) -> str:
    text = world.key(person.id, "keys:read")
    row = world.admin.execute("select id from api_keys where prefix = %s", [text.split("_")[1]]).fetchone()
    assert row is not None
    return str(row[0])


def some_session(world: World, person: Person) -> str:
    world.auth.sessions[person.sid] = person.id
    return person.sid


def some_passkey(world: World, person: Person) -> str:
    identifier = str(uuid.uuid4())
    world.auth.passkeys[identifier] = person.id
    return identifier


def some_approval(world: World, person: Person) -> str:
    row = world.admin.execute(
        "insert into approvals (user_id, digest, tool, arguments, actor, expires_at)"
        " values (%s, %s, 'files_delete', '{}', 'oauth:x', now() + interval '5 minutes') returning id",
        [person.id, secrets.token_bytes(32)],
    ).fetchone()
    assert row is not None
    return str(row[0])


def some_conversation(world: World, person: Person) -> str:
    row = world.admin.execute("insert into conversations (user_id) values (%s) returning id", [person.id]).fetchone()
    assert row is not None
    return str(row[0])


def some_setting(world: World, person: Person) -> str:
    key = f"test.{uuid.uuid4().hex}"
    world.admin.execute("insert into settings (user_id, key, value) values (null, %s, '1')", [key])
    return key


def some_file(world: World, person: Person) -> str:
    row = world.admin.execute(
        "insert into files (user_id, filename, bucket, path, size, mime_type, sha256)"
        " values (%s, 'a.txt', 'uploads', %s, 0, 'text/plain', %s) returning id",
        [person.id, f"uploads/{person.id}/{uuid.uuid4()}", bytes(32)],
    ).fetchone()
    assert row is not None
    world.admin.execute(
        "insert into file_versions (file_id, user_id, number, bucket, object_key, size, mime_type, sha256)"
        " values (%s, %s, 1, 'uploads', %s, 0, 'text/plain', %s)",
        [row[0], person.id, str(uuid.uuid4()), bytes(32)],
    )
    return str(row[0])


def some_upload(world: World, person: Person) -> str:
    row = world.admin.execute(
        "insert into uploads (user_id, filename, bucket, object_key, size, expires_at)"
        " values (%s, 'a.txt', 'uploads', %s, 10, now() + interval '1 hour') returning id",
        [person.id, str(uuid.uuid4())],
    ).fetchone()
    assert row is not None
    return str(row[0])


def some_job(world: World, person: Person) -> str:
    row = world.admin.execute(
        "insert into jobs (user_id, kind, state) values (%s, 'test', 'done') returning id", [person.id]
    ).fetchone()
    assert row is not None
    return str(row[0])


def some_memory(world: World, person: Person) -> str:
    row = world.admin.execute(
        "insert into memories (user_id, text) values (%s, 'x') returning id", [person.id]
    ).fetchone()
    assert row is not None
    return str(row[0])


MAKERS: Mapping[str, Maker] = {
    "answer_id": lambda _world, _person: str(uuid.uuid4()),
    "approval_id": some_approval,
    "chunk_id": lambda _world, _person: str(uuid.uuid4()),
    "conversation_id": some_conversation,
    "file_id": some_file,
    "job_id": some_job,
    "key": some_setting,
    "key_id": some_key,
    "memory_id": some_memory,
    "passkey_id": some_passkey,
    "session_id": some_session,
    "upload_id": some_upload,
}
"""By the name of the parameter in the path."""

BODIES: Mapping[tuple[str, str], Any] = {
    ("PATCH", "/api/v1/conversations/{conversation_id}"): {"title": "x"},
    ("PATCH", "/api/v1/files/{file_id}"): {"filename": "b.txt"},
    ("PATCH", "/api/v1/uploads/{upload_id}"): None,
    ("PATCH", "/api/v1/users/me"): {"name": "Ada"},
    ("POST", "/api/v1/approvals/{approval_id}/deny"): {},
    ("POST", "/api/v1/approvals/{approval_id}/approve"): None,
    ("POST", "/api/v1/conversations"): {},
    ("POST", "/api/v1/conversations/{conversation_id}/messages"): {"content": "x"},
    ("POST", "/api/v1/audio/speech"): {"input": "x"},
    ("POST", "/api/v1/audio/transcriptions"): {"no": "form"},
    ("POST", "/api/v1/conversations/{conversation_id}/answers"): {"content": "x"},
    ("POST", "/api/v1/conversations/{conversation_id}/answers/{answer_id}/cancel"): None,
    ("POST", "/api/v1/files/{file_id}/read"): None,
    ("POST", "/api/v1/files/{file_id}/restore"): None,
    ("POST", "/api/v1/memory"): {"text": "x"},
    ("POST", "/api/v1/keys"): {"name": "x", "scopes": ["keys:write"]},
    ("POST", "/api/v1/mcp/command"): {"text": "hello"},
    ("POST", "/api/v1/mcp/upload"): {"any": "bytes"},
    ("POST", "/api/v1/uploads"): None,
    ("PUT", "/api/v1/uploads"): {"any": "bytes"},
    ("POST", "/api/v1/mcp/workflow"): {"workflow_id": str(uuid.uuid4())},
    ("POST", "/api/v1/users/me/passkeys"): {"id": "q", "credential": {}},
    ("POST", "/api/v1/users/me/passkeys/options"): {},
    ("POST", "/api/v1/users/me/passkeys/{passkey_id}/remove"): {},
    ("POST", "/api/v1/users/me/recovery-codes"): {},
    ("POST", "/api/v1/users/me/totp"): {},
    ("POST", "/api/v1/users/me/totp/confirm"): {"code": "123456"},
    ("POST", "/api/v1/users/me/totp/remove"): {},
    ("POST", "/api/v1/users/me/password"): {"new_password": "correct horse battery"},
    ("PUT", "/api/v1/settings/{key}"): {"value": 1},
}
"""Good bodies of routes that take one."""

ANSWERS: Mapping[tuple[str, str], int] = {
    ("GET", "/api/v1/conversations/search"): 422,  # it is asked without a query
    ("GET", "/api/v1/conversations/{conversation_id}/answers/{answer_id}/events"): 404,  # a made up answer
    ("GET", "/api/v1/files/{file_id}/passages/{chunk_id}"): 503,
    ("GET", "/api/v1/models"): 503,
    ("GET", "/api/v1/search"): 422,  # it is asked without a query
    ("POST", "/api/v1/audio/speech"): 503,
    ("POST", "/api/v1/audio/transcriptions"): 415,
    ("POST", "/api/v1/conversations/{conversation_id}/answers/{answer_id}/cancel"): 404,
    ("POST", "/api/v1/files/{file_id}/read"): 503,
    ("POST", "/api/v1/mcp/command"): 503,
    ("POST", "/api/v1/mcp/upload"): 503,
    ("POST", "/api/v1/mcp/workflow"): 503,
    ("PUT", "/api/v1/uploads"): 503,
}
"""What a good request is answered, where it is not 2xx: the container behind it is not there."""

_TUS = {"Tus-Resumable": "1.0.0"}
HEADERS: Mapping[tuple[str, str], dict[str, str]] = {
    ("HEAD", "/api/v1/uploads/{upload_id}"): _TUS,
    ("PATCH", "/api/v1/uploads/{upload_id}"): {
        **_TUS,
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    },
    ("POST", "/api/v1/uploads"): {**_TUS, "Upload-Length": "10"},
}
"""Without which a route does not look any further."""

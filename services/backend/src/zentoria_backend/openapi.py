"""What FastAPI cannot know for the OpenAPI document: credentials and scopes, headers, answers that middleware gives."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from zentoria_common.problems import answers

from zentoria_backend import uploads
from zentoria_backend.access.rules import TABLE
from zentoria_backend.idempotency.middleware import METHODS, PATTERN

_DESCRIPTION = """\
Programs send an API key (`Authorization: Bearer zt_...` or `X-API-Key: zt_...`) or an OAuth access token; never two
credentials at once. Errors are problem documents (RFC 9457). Lists come in pages: give `next_cursor` as `cursor`.
A write with an `Idempotency-Key` is done once, however often it is sent within a day. `RateLimit` headers say how many
requests are left (draft-ietf-httpapi-ratelimit-headers-10).
"""

_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "a UUID, say: the same key and body again give the same answer, and nothing is done twice",
    "schema": {"type": "string", "pattern": PATTERN, "minLength": 16, "maxLength": 255},
}
_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an access token, or an API key"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "an API key `zt_...`"},
}


def install(app: FastAPI) -> None:
    """Complete the document that ``app`` makes."""
    made = app.openapi
    app.description = _DESCRIPTION

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(made())
        return made()

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI's documentation gives


def _complete(document: dict[str, Any]) -> None:
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for path, operations in document.get("paths", {}).items():
        for method, operation in operations.items():
            rule = TABLE.get((method.upper(), path))
            if rule is None or rule.scope is None:
                continue
            wanted = [rule.scope] if rule.scope else []
            schemes = ("bearer", "key") if "api_key" in rule.kinds else ("bearer",)
            operation["security"] = [{scheme: wanted} for scheme in schemes]
            scope = f"Scope: `{rule.scope}`." if rule.scope else "Any credential; its scopes say how much it sees."
            operation["description"] = f"{operation.get('description', '')}\n\n{scope}".strip()
            if method.upper() in METHODS:
                if not path.startswith(uploads.ROUTES):
                    operation.setdefault("parameters", []).append(_KEY)
                for status, answer in answers(400, 409, 422).items():
                    operation["responses"].setdefault(str(status), answer)

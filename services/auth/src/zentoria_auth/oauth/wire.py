"""Requests and answers of the endpoints that programs talk to: forms in, JSON out, as RFC 6749 has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from zentoria_auth.oauth.errors import OAuthError
from zentoria_auth.oauth.requests import MAX_VALUE, single

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 60
MAX_FORM_BYTES = 64 * 1024
NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
# Programs in browsers (the MCP Inspector is one) call these endpoints; no cookie means anything there.
CORS = {"access-control-allow-origin": "*"}
PREFLIGHT = {
    **CORS,
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type, mcp-protocol-version",
    "access-control-max-age": "600",
}


class Refusal(BaseModel):
    """An error as RFC 6749 has it (section 5.2)."""

    error: str
    error_description: str


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says in OpenAPI of its errors."""
    return {status: {"model": Refusal} for status in statuses}


def form(*required: str) -> dict[str, Any]:
    """What a route says in OpenAPI of the form that it takes: the RFC that it follows knows the other fields."""
    fields = {name: {"type": "string", "maxLength": MAX_VALUE} for name in required}
    schema = {"type": "object", "properties": fields, "additionalProperties": {"type": "string"}}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


METADATA: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}
"""The same of a client's metadata (RFC 7591 section 2)."""


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, each once.

    Raises:
        OAuthError: ``invalid_request``.
    """
    return single(await pairs_of(request))


async def pairs_of(request: Request) -> list[tuple[str, str]]:
    """The fields of a form as they come.

    Raises:
        OAuthError: ``invalid_request``.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"the body must be {FORM}")
    body = await request.body()
    if len(body) > MAX_FORM_BYTES:
        raise OAuthError("invalid_request", f"the body is longer than {MAX_FORM_BYTES} bytes")
    return _pairs(body)


def query_of(request: Request) -> list[tuple[str, str]]:
    """The parameters of the query as they come.

    Raises:
        OAuthError: ``invalid_request``.
    """
    query: bytes = request.scope["query_string"]
    return _pairs(query)


async def object_of(request: Request) -> dict[str, Any]:
    """The JSON object that a client registers with.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    body = await request.body()
    try:
        if len(body) > MAX_FORM_BYTES:
            raise ValueError
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise OAuthError("invalid_client_metadata", "the body must be a JSON object of at most 64 KiB") from None
    if not isinstance(found, dict):
        raise OAuthError("invalid_client_metadata", "the body must be a JSON object")
    return found


def check_origin(request: Request, own: str) -> None:
    """Refuse a form that another site's page has sent, beside what the cookie's SameSite does.

    Raises:
        OAuthError: ``access_denied``.
    """
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and origin != own) or site not in ("same-origin", "none"):
        raise OAuthError("access_denied", "the form was sent from another site's page", 403)


def answer(body: Mapping[str, Any], status: int = 200) -> JSONResponse:
    """An answer that nobody keeps."""
    return JSONResponse(dict(body), status_code=status, headers={**NO_STORE, **CORS})


def refusal(error: OAuthError) -> JSONResponse:
    """An error as JSON (RFC 6749 section 5.2)."""
    response = answer({"error": error.code, "error_description": error.description}, error.status)
    if error.status == 401:
        response.headers["www-authenticate"] = 'Basic realm="zentoria"'
    return response


def preflight() -> Response:
    """The answer to a browser that asks whether a page of another origin may call."""
    return Response(status_code=204, headers=PREFLIGHT)


def _pairs(octets: bytes) -> list[tuple[str, str]]:
    try:
        text = octets.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "the parameters are not form-encoded UTF-8, or are too many") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise OAuthError("invalid_request", "a parameter holds a NUL")
    return pairs

"""Errors as ``application/problem+json`` (RFC 9457), every one of them with the id of its request."""

from __future__ import annotations

import http
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
"""What a client is told to wait when a dependency does not answer."""

_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "An error, as RFC 9457 has it. Some have further members.",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "description": "about:blank, or a path that names the kind: /problems/..."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "the same as in the header X-Request-ID"},
    },
    "additionalProperties": True,
}
_REFERENCE = {"$ref": "#/components/schemas/Problem"}


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = MEDIA_TYPE


class Problem(Exception):
    """Raised anywhere in a service, it becomes the answer.

    Args:
        status: the HTTP status, 400 to 599.
        detail: one sentence for whoever reads it; never what came in, which may be a secret.
        kind: the last part of ``/problems/<kind>``, for clients that act on it; without it, ``about:blank``.
        headers: of the answer.
        members: extension members (RFC 9457, section 3.2), as JSON.
    """

    def __init__(
        self, status: int, detail: str = "", *, kind: str = "", headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(f"{status} {detail or kind}")
        self.status, self.detail, self.kind = status, detail, kind
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> ProblemResponse:
        """The answer, for code that sends it itself."""
        return problem(self.status, self.detail, self.headers, kind=self.kind, **self.members)


class Unavailable(Problem):
    """A dependency does not answer now: 503, and when to come again.

    Args:
        service: the dependency, as ``database``.
        detail: what cannot be done without it.
        retry_after: seconds.
    """

    def __init__(self, service: str, detail: str = "", *, retry_after: int = RETRY_SECONDS) -> None:
        super().__init__(
            503,
            detail or f"{service} does not answer at the moment",
            kind="unavailable",
            headers={"retry-after": str(retry_after)},
            service=service,
        )
        self.service = service


def problem(
    status: int, detail: str = "", headers: Mapping[str, str] | None = None, *, kind: str = "", **members: Any
) -> ProblemResponse:
    """Make a problem document; the arguments are those of :class:`Problem`."""
    try:
        title = http.HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    body: dict[str, Any] = {"type": f"/problems/{kind}" if kind else "about:blank", "title": title, "status": status}
    if detail and detail != title:
        body["detail"] = detail
    if request_id := structlog.contextvars.get_contextvars().get("request_id"):
        body["request_id"] = request_id
    return ProblemResponse(body | members, status_code=status, headers={"cache-control": "no-store", **(headers or {})})


def answers(*statuses: int, **examples: str) -> dict[int | str, dict[str, Any]]:
    """What a route says in OpenAPI of its errors: ``responses=answers(404, 409)``.

    Args:
        statuses: those that it answers with, beside the ones that every route may have (:func:`install`).
        examples: an example of ``detail`` by status, as ``e404="there is no such file"``.
    """
    return {status: _answer(status, examples.get(f"e{status}", "")) for status in statuses}


def install(
    app: FastAPI,
    *,
    outages: Mapping[type[Exception], str] | None = None,
    always: Collection[int] = (),
) -> None:
    """Give ``app`` the handlers, and an OpenAPI document in which errors have the form that they have.

    Args:
        app: the application.
        outages: exceptions that mean "it does not answer", and of which dependency; they become 503.
        always: statuses that any route may answer with, for instance 401.
    """
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Problem, _problem)
    for kind, service in (outages or {}).items():
        app.add_exception_handler(kind, _outage(service))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version=app.openapi_version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                separate_input_output_schemas=app.separate_input_output_schemas,
            )
            _document(made, frozenset(always))
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI's documentation gives


def _answer(status: int, detail: str = "") -> dict[str, Any]:
    title = http.HTTPStatus(status).phrase
    example = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "request_id": "0c6a5a4d6d5b4ad3a4a5d4c0f3b1e2a7",
    }
    if detail:
        example["detail"] = detail
    return {"description": title, "content": {MEDIA_TYPE: {"schema": _REFERENCE, "example": example}}}


def _document(document: dict[str, Any], always: frozenset[int]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _SCHEMA
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in document.get("paths", {}).values():
        for operation in path.values():
            given = operation["responses"]
            own = {"422": _answer(422)} if "422" in given else {}
            # 400: a body that is no UTF-8 or no JSON at all. 413: a body over the limit, on any method.
            wanted = always | {413, 500, 503} | ({400} if "requestBody" in operation else set())
            operation["responses"] = {str(one): _answer(one) for one in sorted(wanted)} | given | own


async def _http_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the only type that this handler is registered for
    return problem(error.status_code, str(error.detail), error.headers)


async def _validation_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the only type it is registered for
    # Place and complaint only: the input may be a password, and an error is copied into tickets.
    errors = [{"loc": list(each["loc"]), "msg": each["msg"], "type": each["type"]} for each in error.errors()]
    return problem(422, "the request does not have the form that this route takes", errors=errors)


async def _problem(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, Problem)  # noqa: S101 - the only type it is registered for
    return error.response()


def _outage(service: str) -> Any:
    async def handler(_request: Request, error: Exception) -> ProblemResponse:
        _log.warning("dependency fails", dependency=service, error_type=type(error).__qualname__)
        return Unavailable(service).response()

    return handler


_log = structlog.stdlib.get_logger("zentoria_common.problems")

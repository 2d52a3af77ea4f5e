"""Errors as ``application/problem+json`` (RFC 9457), every one of them with the id of its request."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"


def problem(status: int, detail: str = "", headers: Mapping[str, str] | None = None, **members: Any) -> ProblemResponse:
    """Make a problem document; ``members`` are RFC 9457 extension members."""
    try:
        title = http.HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail and detail != title:
        body["detail"] = detail
    if request_id := structlog.contextvars.get_contextvars().get("request_id"):
        body["request_id"] = request_id
    return ProblemResponse(body | members, status_code=status, headers={"cache-control": "no-store", **(headers or {})})


async def _http_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the only type that this handler is registered for
    return problem(error.status_code, str(error.detail), error.headers)


async def _validation_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the only type it is registered for
    # Place and complaint only: the input may be a password, and an error is copied into tickets.
    errors = [{"loc": list(each["loc"]), "msg": each["msg"], "type": each["type"]} for each in error.errors()]
    return problem(422, "the request does not have the form that this route takes", errors=errors)


def install(app: FastAPI) -> None:
    """Give ``app`` the handlers."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)

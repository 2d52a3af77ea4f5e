"""Errors of the routes, in the form that OpenAI's have: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse


class EngineError(Exception):
    """Raised anywhere, it becomes the answer.

    Args:
        status: of HTTP.
        code: for programs.
        message: for people.
        param: which member of the request is meant.
        retry_after: seconds.
    """

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.retry_after = status, code, message, param, retry_after

    def body(self) -> dict[str, Any]:
        """The error's object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The answer."""
        headers = {"retry-after": str(self.retry_after)} if self.retry_after is not None else None
        return JSONResponse(self.body(), self.status, headers)


def bad(message: str, param: str | None = None) -> EngineError:
    """The question is wrong."""
    return EngineError(400, "invalid_request", message, param=param)


def too_long(tokens: int, context: int, param: str = "messages") -> EngineError:
    """More tokens than a model takes."""
    text = f"this has {tokens} tokens, and the model takes {context} with its answer: nothing was cut, nothing done"
    return EngineError(400, "context_length_exceeded", text, param=param)


def busy(message: str, retry_after: int) -> EngineError:
    """Others are before."""
    return EngineError(503, "queue_full", message, retry_after=retry_after)


def failed(message: str) -> EngineError:
    """A model cannot be used for now."""
    return EngineError(503, "model_failed", message, param="model", retry_after=30)

"""One JSON line an event on standard output, with an allow-list of fields.

A field that is not on the list does not reach the log, whoever adds it: a secret cannot leak through a log call that
was written in a hurry. For the same reason an exception is logged as its type and place, without its message.
"""

from __future__ import annotations

import logging
import logging.config
import sys
import traceback
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

FIELDS = frozenset(
    {
        "action", "address", "attempt", "bucket", "bytes_out", "caller", "client", "client_id", "container", "count",
        "credential_id", "dependency", "dropped", "duration_ms", "error", "error_type", "event", "frames", "job_id",
        "kind", "latency_ms", "level", "limit", "logger", "method", "names", "provider", "reason", "request_id",
        "role", "route", "saw", "size", "sockets", "sqlstate", "state", "status", "task", "timestamp", "tool", "topic",
        "user_id", "version",
    }
)  # fmt: skip
MAX_FRAMES = 8


def allow_listed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep the fields of :data:`FIELDS`; say how many others were dropped, never which values."""
    extra = [name for name in event if name not in FIELDS and not name.startswith("_")]
    for name in extra:
        del event[name]
    if extra:
        event["dropped"] = len(extra)
    return event


def exception_place(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn ``exc_info`` into ``error_type`` and ``frames``: where it happened, without texts that may hold data."""
    info = event.pop("exc_info", None)
    if not info:
        return event
    error = info if isinstance(info, BaseException) else (info if isinstance(info, tuple) else sys.exc_info())[1]
    if error is not None:
        event["error_type"] = type(error).__qualname__
        event["frames"] = [
            f"{frame.filename.rpartition('/site-packages/')[2]}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
        ]
    return event


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Not what uvicorn says of a WebSocket that was refused with an answer: it was not left without one."""
    return record.name != "uvicorn.error" or record.msg != "ASGI callable returned without completing handshake."


def configure(level: str, stream: Literal["stdout", "stderr"] = "stdout", package: str = "") -> None:
    """Send structlog's and the standard library's events (uvicorn's, the drivers') down the same path."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        exception_place,
    ]
    formatter: dict[str, Any] = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            allow_listed,
            structlog.processors.JSONRenderer(default=str),
        ],
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": formatter},
            "handlers": {
                "lines": {
                    "class": "logging.StreamHandler",
                    "stream": f"ext://sys.{stream}",
                    "formatter": "json",
                    "filters": [_worth_a_line],
                }
            },
            # Libraries write URLs and queries into their messages at INFO: from them we take warnings only.
            "root": {"handlers": ["lines"], "level": level.upper() if level in ("error", "critical") else "WARNING"},
            "loggers": {
                **{name: {"level": level.upper()} for name in ("zentoria_common", package) if name},
                # At DEBUG it writes whole handshakes of WebSockets, with their credentials.
                "uvicorn": {"level": "INFO" if level == "debug" else level.upper()},
            },
        }
    )
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )

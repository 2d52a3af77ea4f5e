"""Traces by OpenTelemetry, where the settings say where they go. Off by default.

The exporter is not loaded then. The SDK may be: redis-py imports it by itself wherever it is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zentoria_common.settings import CommonSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def install(app: FastAPI, settings: CommonSettings, *, name: str, version: str) -> None:
    """Trace each request of ``app`` and send the spans to ``settings.otlp_endpoint``, if there is one.

    ``app.state.tracer_provider`` is the provider, or None; a service makes further spans with it.
    """
    app.state.tracer_provider = None
    if not settings.otlp_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": name, "service.version": version, "host.name": settings.container_name})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    endpoint = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=settings.dependency_timeout)))
    app.state.tracer_provider = provider
    app.add_middleware(Traced, provider=provider)


class Traced:
    """Pure ASGI middleware: a server span for each request (OpenTelemetry's semantic conventions for HTTP).

    It takes over a ``traceparent`` (W3C Trace Context). Neither path, query nor headers are recorded: they may hold
    secrets; the route's template is.
    """

    def __init__(self, app: ASGIApp, *, provider: TracerProvider) -> None:
        self._app = app
        self._provider = provider
        self._tracer = provider.get_tracer("zentoria_common")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Trace one request; at the end of the application's life, send what is left."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                self._provider.shutdown()
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = Headers(scope=scope)
        parent = TraceContextTextMapPropagator().extract(
            {key: headers[key] for key in ("traceparent", "tracestate") if key in headers}
        )
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"]
        with self._tracer.start_as_current_span(
            method, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                await self._app(scope, receive, observed)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if isinstance(route, str):
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("http.request.method", method)
                span.set_attribute("http.response.status_code", status or 500)
                if not status or status >= 500:
                    span.set_status(Status(StatusCode.ERROR))

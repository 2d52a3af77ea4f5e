from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from zentoria_common.application import make_app
from zentoria_common.settings import CommonSettings

TRACE = "0af7651916cd43dd8448eb211c80319c"
CANARY = "canary-93ab"


class Collector(HTTPServer):
    """Takes traces over HTTP."""

    def __init__(self) -> None:
        self.taken: list[ExportTraceServiceRequest] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:
                body = handler.rfile.read(int(handler.headers["content-length"]))
                if handler.headers.get("content-encoding") != "gzip" and handler.path == "/v1/traces":
                    self.taken.append(ExportTraceServiceRequest.FromString(body))
                handler.send_response(200)
                handler.end_headers()

            def log_message(handler, *_: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.asyncio
async def test_spans_have_templates_and_nothing_of_the_request(collector: Collector) -> None:
    settings = CommonSettings(otlp_endpoint=f"http://127.0.0.1:{collector.server_port}/", container_name="auth")
    app = make_app(settings, (), name="zentoria-x", title="x", version="9")

    @app.get("/boom/{name}")
    async def boom(name: str) -> None:
        raise RuntimeError(f"{name} {CANARY}")

    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "authorization": f"Bearer {CANARY}"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x.test") as client,
    ):
        await client.get(f"/health/live?token={CANARY}", headers=headers)
        await client.get(f"/boom/{CANARY}", headers=headers)
        await client.get(f"/{CANARY}")
    app.state.tracer_provider.shutdown()
    spans = [
        span
        for request in collector.taken
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [span.name for span in spans] == ["GET /health/live", "GET /boom/{name}", "GET"]
    assert [span.trace_id.hex() for span in spans[:2]] == [TRACE, TRACE]
    assert [span.status.code for span in spans] == [0, 2, 0]
    assert CANARY not in str(collector.taken)
    assert "zentoria-x" in str(collector.taken)


def test_nothing_of_it_is_loaded_while_it_is_off() -> None:
    program = """
import sys
from zentoria_common.application import make_app
from zentoria_common.settings import CommonSettings
make_app(CommonSettings(), (), name="x", title="x", version="1")
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"

"""The proxy's configuration in a real NGINX on loopback."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.roles.roles_support import FixedMaterials, files, state
from tests.support.needs import need_program
from zentoria_infra.materials.site_ca import SiteCa

SITE = "/etc/nginx/zentoria/site.conf"
TLS = "/etc/zentoria/tls"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Upstream(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self.send_response_only(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(b"frame")
            self.close_connection = True
            return
        if "stream" in self.path:
            self._stream()
            return
        body = json.dumps({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response_only(503 if self.path.endswith("/health") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Powered-By", "something")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def _stream(self) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"8\r\ndata: 1\n\r\n")
        self.server.released.wait(10)  # type: ignore[attr-defined] # ours, below
        self.wfile.write(b"8\r\ndata: 2\n\r\n0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Proxy:
    """A running NGINX with the rendered configuration."""

    def __init__(self, https: int, http: int, cafile: Path, server: ThreadingHTTPServer) -> None:
        self.https, self.http, self.server = https, http, server
        self._trust = ssl.create_default_context(cafile=str(cafile))

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.https, timeout=10, context=self._trust)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self.connection()
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    program = need_program("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    ca = SiteCa(folder / "ca", "Test")
    guest = state("proxy", materials=FixedMaterials(ca.server_certificate("proxy", ("localhost", "127.0.0.1"))))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    server.released = threading.Event()  # type: ignore[attr-defined] # set by the test of streams
    threading.Thread(target=server.serve_forever, daemon=True).start()
    http_port, https_port, closed = free_port(), free_port(), free_port()
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    old = tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < (1, 25, 1)
    for path, one in files(guest).items():
        if not path.startswith(("/etc/nginx", TLS)):
            continue
        content = one.text or ""
        content = content.replace("/etc/nginx/mime.types", "@mime@")
        for wanted, here in (
            ("/etc/nginx/", f"{folder}/etc/nginx/"),
            (TLS, f"{folder}{TLS}"),
            ("@mime@", "/etc/nginx/mime.types"),
        ):
            content = content.replace(wanted, here)
        content = re.sub(r"listen 80\b", f"listen 127.0.0.1:{http_port}", content)
        content = re.sub(r"listen 443\b", f"listen 127.0.0.1:{https_port}", content)
        content = content.replace("listen 127.0.0.1:8081", f"listen 127.0.0.1:{free_port()}")
        content = re.sub(r"server 10\.10\.40\.1:400[01];", f"server 127.0.0.1:{server.server_port};", content)
        content = re.sub(r"server 10\.10\.\d+\.\d+:\d+;", f"server 127.0.0.1:{closed};", content)
        content = content.replace("pid /run/nginx.pid", f"pid {folder}/nginx.pid")
        content = content.replace("syslog:server=unix:/dev/log,tag=nginx,nohostname", f"{folder}/nginx.log")
        content = re.sub(r"(?m)^(user|include /etc/nginx/modules).*$", "", content)
        if old:  # 1.25.1 made it a directive of its own
            content = content.replace("http2 on;", "")
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    (folder / "etc/nginx/modules-enabled").mkdir()
    command = [program, "-c", f"{folder}/etc/nginx/nginx.conf", "-p", str(folder), "-e", f"{folder}/nginx.log"]
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in TEMPORARY)
    # the folders of tests are closed to others: as root, NGINX would change to one of them
    user = "user root;\n" if os.geteuid() == 0 else ""
    main = folder / "etc/nginx/nginx.conf"
    main.write_text(user + main.read_text().replace("http {", f"http {{\n{temporary}", 1))
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "warn" not in tried.stderr.replace("protocol options redefined", ""), tried.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", https_port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.05)
        yield Proxy(https_port, http_port, ca.certificate_path, server)
    finally:
        process.terminate()
        process.wait(10)
        server.shutdown()
        server.server_close()


def test_a_request_reaches_the_backend_with_the_clients_address(proxy: Proxy) -> None:
    answer, body = proxy.ask("/api/v1/things?x=1", X_Forwarded_For="203.0.113.9", X_Real_IP="203.0.113.9")
    assert answer.status == 200
    seen = json.loads(body)
    assert seen["path"] == "/api/v1/things?x=1"
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert seen["headers"]["x-real-ip"] == "127.0.0.1"
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert seen["headers"]["host"] == f"127.0.0.1:{proxy.https}"
    assert "upgrade" not in seen["headers"]


def test_headers_are_there_once(proxy: Proxy) -> None:
    answer, _ = proxy.ask("/api/v1/things")
    assert answer.headers.get_all("Strict-Transport-Security") == ["max-age=31536000"]
    assert answer.headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers["X-Powered-By"] is None
    assert answer.headers["Server"] == "nginx"


def test_answers_of_the_backend_pass_as_they_are(proxy: Proxy) -> None:
    answer, body = proxy.ask("/api/v1/health")
    assert answer.status == 503
    assert json.loads(body)["path"] == "/api/v1/health"


def test_a_service_that_is_not_there_is_said_at_once(proxy: Proxy) -> None:
    page, content = proxy.ask("/")
    api, problem = proxy.ask("/oauth/callback")
    assert (page.status, api.status) == (503, 503)
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"<h1>" in content
    assert page.headers["Retry-After"] == "5"
    assert page.headers["Strict-Transport-Security"]
    assert b"<h1>" in problem


def test_plain_http_is_redirected_and_strangers_are_refused(proxy: Proxy) -> None:
    def ask(host: str, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=10)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    answer = ask("localhost", "/a?b=c")
    assert (answer.status, answer.headers["Location"]) == (308, "https://localhost/a?b=c")
    assert ask("localhost", "/.well-known/acme-challenge/x").status == 404
    assert ask("evil.example", "/").status == 421
    assert proxy.ask("/api/v1/x", Host="evil.example")[0].status == 421


def test_closed_and_shortened_paths(proxy: Proxy) -> None:
    assert proxy.ask("/n8n/webhook/abc")[0].status == 404
    answer, _ = proxy.ask("/n8n")
    assert (answer.status, answer.headers["Location"]) == (308, "/n8n/")
    assert proxy.ask("/n8n/")[0].status == 503
    assert proxy.ask("/monitoring/prometheus/")[0].status == 503


def test_websocket(proxy: Proxy) -> None:
    connection = proxy.connection()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    connection.request("GET", "/ws", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 101
    assert answer.headers["Upgrade"] == "websocket"
    connection.close()
    # elsewhere, nobody may change the protocol
    answer, body = proxy.ask("/api/v1/x", Upgrade="websocket", Connection="Upgrade")
    assert answer.status == 200
    assert "upgrade" not in json.loads(body)["headers"]
    assert proxy.ask("/ws", Upgrade="h2c", Connection="Upgrade")[0].status == 200


def test_a_stream_arrives_piece_by_piece(proxy: Proxy) -> None:
    connection = proxy.connection()
    connection.request("GET", "/api/v1/chat/stream", headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    assert answer.read(8) == b"data: 1\n"  # the second piece is sent only after this
    proxy.server.released.set()  # type: ignore[attr-defined] # ours
    assert answer.read() == b"data: 2\n"
    connection.close()


def test_an_upload_over_the_limit_is_refused_in_json(proxy: Proxy) -> None:
    connection = proxy.connection()
    connection.putrequest("POST", "/api/v1/files")
    connection.putheader("Content-Length", str(101 * 1024 * 1024))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["status"] == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    connection.close()
    assert proxy.ask("/api/v1/files", "POST", b"x" * 2_000_000)[0].status == 200


def test_sign_in_is_limited_and_a_loop_of_requests_is_not(proxy: Proxy) -> None:
    answers = [proxy.ask("/api/v1/auth/login", "POST", b"{}") for _ in range(40)]
    assert [answer.status for answer, _ in answers[:10]] == [200] * 10
    refused = [(answer, body) for answer, body in answers if answer.status != 200]
    assert refused
    for answer, body in refused:
        assert (answer.status, json.loads(body)["status"]) == (429, 429)
        assert answer.headers["Retry-After"] == "1"
    assert {proxy.ask("/api/v1/things")[0].status for _ in range(60)} == {200}


def test_old_tls_is_refused(proxy: Proxy) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", proxy.https), 5) as raw,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(raw),
    ):
        pass

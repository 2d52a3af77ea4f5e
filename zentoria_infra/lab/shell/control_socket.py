"""Calls to the API over the lab's control socket. Only the standard library: ``pct`` behind sshd uses it as well."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from collections.abc import Mapping


class ApiFailure(Exception):
    """The API refused. ``errors`` is parameter to text; ``status`` is 0 when it could not be asked at all."""

    def __init__(self, status: int, message: str, errors: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors


def call(
    socket_path: str, method: str, path: str, values: Mapping[str, str] | None = None, timeout: float = 120.0
) -> object:
    """One call to the API over the lab's control socket, as root@pam; gives back its ``data``.

    Raises:
        ApiFailure: it refused, or nobody answers.
    """
    body = urllib.parse.urlencode(values or {})
    url = f"/api2/json{urllib.parse.quote(path)}"
    headers = {}
    if method in ("GET", "DELETE"):
        url += f"?{body}" if body else ""
        body = ""
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    try:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(timeout)
        connection.sock.connect(socket_path)
        connection.request(method, url, body or None, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise ApiFailure(0, f"ipcc_send_rec failed: {error or type(error).__name__}", {}) from None
    finally:
        connection.close()
    try:
        decoded = json.loads(text) if text else {}
    except ValueError:
        decoded = {}
    found = decoded if isinstance(decoded, dict) else {}
    if answer.status == 200:
        return found.get("data")
    message = str(found.get("message") or answer.reason).rstrip("\n")
    raise ApiFailure(answer.status, message, found.get("errors") or {})

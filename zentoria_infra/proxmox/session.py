"""The HTTP session below proxmoxer: TLS that is always verified, our tickets, Proxmox's error texts."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from proxmoxer.backends import https as proxmoxer_https
from requests.adapters import HTTPAdapter

from zentoria_infra.proxmox.secret import Secret

POOL_SIZE = 32
"""Kept connections; 17 containers in parallel plus polling stay below it."""

RENEW_AFTER = 3600.0
"""Seconds after which a ticket is renewed; Proxmox's live 2 h."""


class _QuietFilter(logging.Filter):
    """Drops what proxmoxer logs below WARNING: at INFO whole request bodies, at DEBUG whole answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


_QUIET = _QuietFilter()


def silence_proxmoxer() -> None:
    """Keep passwords out of the log, whatever level somebody sets on proxmoxer's loggers."""
    for name in ("proxmoxer.core", "proxmoxer.backends.https"):
        logging.getLogger(name).addFilter(_QUIET)


class _PinAdapter(HTTPAdapter):
    """Accepts exactly one certificate, known by its SHA-256 fingerprint, whatever name it carries.

    urllib3 compares the fingerprint right after the handshake, before anything is sent.
    """

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__(pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, assert_fingerprint=self._fingerprint)


class NotProxmoxError(requests.RequestException):
    """The answer is not what a Proxmox API sends (a redirect, a web page)."""


class PveSession(proxmoxer_https.ProxmoxHttpSession):  # type: ignore[misc]  # proxmoxer has no types
    """One kept-alive session for all threads.

    requests.Session is safe to share as long as nobody changes it after it was made: cookies and tokens come
    from the ``auth`` object a request, and urllib3's pool has its own lock.
    """

    def __init__(self, *, verify: bool | str, fingerprint: str | None) -> None:
        super().__init__()
        # No proxy, CA bundle or .netrc from the environment: the node is on our own network, and what is
        # trusted stands in the site file alone.
        self.trust_env = False
        self.verify = verify
        self.headers["Connection"] = "keep-alive"
        self.headers["Accept"] = "application/json"
        self.adapters.clear()  # no plain http at all
        self.mount("https://", _PinAdapter(fingerprint) if fingerprint else HTTPAdapter(pool_maxsize=POOL_SIZE))

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """Send one request; put Proxmox's own message where proxmoxer looks for it (the reason phrase)."""
        kwargs["allow_redirects"] = False
        response: requests.Response = super().request(method, url, **kwargs)
        if 300 <= response.status_code < 400:
            raise NotProxmoxError(f"a redirect to {response.headers.get('Location', 'nowhere')}")
        if response.status_code >= 400 and (message := _message(response)):
            response.reason = message
        return response


def _message(response: requests.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    return str(body.get("message") or "").strip() if isinstance(body, dict) else ""


class PveSerializer(proxmoxer_https.JsonSerializer):  # type: ignore[misc]  # proxmoxer has no types
    """Refuses what is no Proxmox answer, where proxmoxer would hand it on as data."""

    def loads(self, response: requests.Response) -> Any:
        """The ``data`` of an answer."""
        try:
            body = json.loads(response.content)
        except ValueError as error:
            raise NotProxmoxError("an answer that is not JSON") from error
        if not isinstance(body, dict) or "data" not in body:
            raise NotProxmoxError("JSON without `data`")
        return body["data"]

    def loads_errors(self, response: requests.Response) -> dict[str, Any] | None:
        """The ``errors`` of a refusal, when there are any."""
        try:
            body = json.loads(response.content)
        except ValueError:
            return None
        errors = body.get("errors") if isinstance(body, dict) else None
        return errors if isinstance(errors, dict) else None


def no_auth(*, verify: bool | str, timeout: Any) -> Any:
    """Nobody yet: for the call that takes the ticket."""
    return proxmoxer_https.ProxmoxHTTPAuthBase(timeout=timeout, verify_ssl=verify)


def token_auth(user: str, token_id: str, secret: Secret, *, verify: bool | str, timeout: Any) -> Any:
    """Return proxmoxer's own API token header."""
    return proxmoxer_https.ProxmoxHTTPApiTokenAuth(user, token_id, secret.reveal(), verify_ssl=verify, timeout=timeout)


class TicketAuth(proxmoxer_https.ProxmoxHTTPAuthBase):  # type: ignore[misc]  # proxmoxer has no types
    """A ticket, taken at the first call and renewed when it is old or was refused.

    proxmoxer's own takes tickets outside the session, past the pin, and cannot renew one that has expired.

    Args:
        login: makes a new ticket: returns (ticket, CSRF token) or raises one of our errors.
        verify: what requests gets as ``verify``.
        timeout: what requests gets as ``timeout``.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        login: Callable[[], tuple[Secret, Secret]],
        *,
        verify: bool | str,
        timeout: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(timeout=timeout, verify_ssl=verify)
        self._login = login
        self._clock = clock
        self._guard = threading.Lock()
        self._ticket: Secret | None = None
        self._csrf = Secret("")
        self._born = 0.0

    def current(self) -> Secret:
        """The ticket in use; logs in when there is none or it is old."""
        with self._guard:
            if self._ticket is None or self._clock() - self._born >= RENEW_AFTER:
                self._ticket, self._csrf = self._login()
                self._born = self._clock()
            return self._ticket

    def forget(self, refused: Secret | None) -> None:
        """Drop ``refused``, unless another thread has renewed it meanwhile."""
        with self._guard:
            if self._ticket == refused:
                self._ticket = None

    def get_cookies(self) -> Any:
        """The ticket as a cookie; asked by proxmoxer's session for each request."""
        jar = requests.cookies.RequestsCookieJar()
        jar.set("PVEAuthCookie", self.current().reveal())
        return jar

    def get_tokens(self) -> tuple[str | None, str | None]:
        """Nothing: nobody outside this class needs them."""
        return None, None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the CSRF token to a write."""
        if request.method != "GET":
            request.headers["CSRFPreventionToken"] = self._csrf.reveal()
        return request


def verification(ca_file: Path | None, fingerprint: str | None) -> bool | str:
    """What requests gets as ``verify``.

    False appears only together with a pinned fingerprint, which is then the whole check: the certificate's
    name and issuer say nothing more once its every bit is known.
    """
    if ca_file is not None:
        return str(ca_file)
    return fingerprint is None

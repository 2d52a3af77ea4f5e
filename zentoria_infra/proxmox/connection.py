"""One connection to the Proxmox API: who we are, what we trust, how long we wait, when we ask again."""

from __future__ import annotations

import enum
import io
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import proxmoxer.core
import requests
import tenacity

from zentoria_infra.errors import ApiError, AuthError, UnreachableError
from zentoria_infra.proxmox import endpoints, errors, session
from zentoria_infra.proxmox.secret import Secret
from zentoria_infra.proxmox.stats import CallStats


@dataclass(frozen=True)
class Endpoint:
    """Where the API is and how it is recognised.

    Attributes:
        host: name or address.
        node: the node's name in Proxmox; case counts.
        port: TCP port.
        ca_file: PEM file with the CA; ``/etc/pve/pve-root-ca.pem`` of the cluster.
        fingerprint: SHA-256 of the certificate, ``AA:BB:..``. With ``ca_file`` both must hold. With neither,
            the certificate must come from a public CA.
        connect_timeout: seconds for the TCP connection and TLS handshake.
        read_timeout: seconds of silence; Proxmox itself waits 10 s for locks and holds a 401 back for 3 s.
    """

    host: str
    node: str
    port: int = 8006
    ca_file: Path | None = None
    fingerprint: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.fingerprint is not None and not re.fullmatch(r"[0-9A-Fa-f]{64}", self.fingerprint.replace(":", "")):
            raise UnreachableError(
                "read the pinned fingerprint",
                on=self.where,
                got=f"{self.fingerprint!r} is not a SHA-256 fingerprint (32 pairs AA:BB:..)",
                todo="take it from `pvenode cert info` on the node",
            )

    @property
    def where(self) -> str:
        """``host:port``, for error texts."""
        return f"{self._host}:{self.port}"

    @property
    def base_url(self) -> str:
        """URL that all paths start with."""
        return f"https://{self.where}/api2/json"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host


@dataclass(frozen=True)
class ApiToken:
    """An API token: user ``zentoria@pve``, token id ``up``, its secret."""

    user: str
    token_id: str
    secret: Secret

    @property
    def who(self) -> str:
        """The full token id, ``zentoria@pve!up``."""
        return f"{self.user}!{self.token_id}"


@dataclass(frozen=True)
class Password:
    """A user with a password (``root@pam``); a ticket is taken with it and renewed."""

    user: str
    password: Secret

    @property
    def who(self) -> str:
        """The user."""
        return self.user


Credentials = ApiToken | Password


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast a call is sent again.

    Attributes:
        attempts: how often it is sent at most, the first time included.
        first_wait: seconds before the second; doubled (with jitter) each time.
        max_wait: seconds that a wait takes at most.
        lost: how often a call is sent at most with a ticket, while its answers get lost.
    """

    attempts: int = 5
    first_wait: float = 0.25
    max_wait: float = 5.0
    lost: int = 12
    """Proxmox VE 9 loses about 1 in 8 POST and PUT of a session with a ticket; five in a row were seen."""


class Repeat(enum.Enum):
    """What may be sent again."""

    SAFE = enum.auto()
    """Twice does what once does: also after a lost answer."""
    UNSENT = enum.auto()
    """Only when it was certainly not carried out: no connection, or refused for a busy lock."""


class Reader(Protocol):
    """Asks with GET, and can do nothing else."""

    def __call__(self, template: str, params: Mapping[str, Any] | None = None, /, **path: object) -> Any:
        """Return the ``data`` of ``GET template``, with ``{names}`` in it filled from ``path``."""


class Connection:
    """Calls of the Proxmox API. Safe from several threads; keeps its connections alive.

    Errors raised by every call: AuthError, PermissionDeniedError, ApiError and its kinds in
    :mod:`zentoria_infra.proxmox.errors`, UnreachableError.

    Args:
        endpoint: where, and what to trust.
        credentials: token or password.
        retry: how often to send again.
        sleep: seconds to wait; replaced in tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        *,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        session.silence_proxmoxer()
        self.endpoint = endpoint
        self.stats = CallStats()
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._credentials = credentials
        self._verify = session.verification(endpoint.ca_file, endpoint.fingerprint)
        self._timeout = (endpoint.connect_timeout, endpoint.read_timeout)
        _check_ca_file(endpoint)
        self._session = session.PveSession(verify=self._verify, fingerprint=endpoint.fingerprint)
        self._tickets: session.TicketAuth | None = None
        self._session.auth = self._auth()
        self._api = proxmoxer.core.ProxmoxResource(
            base_url=endpoint.base_url, session=self._session, serializer=session.PveSerializer()
        )

    def __repr__(self) -> str:
        return f"Connection({self.endpoint.where} as {self._credentials.user})"

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()

    def reader(self) -> Reader:
        """A function that can only GET."""

        def get(template: str, params: Mapping[str, Any] | None = None, /, **path: object) -> Any:
            return self._send("GET", template, params, Repeat.SAFE, "", path)

        return get

    def call(
        self,
        verb: str,
        template: str,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        repeat: Repeat = Repeat.UNSENT,
        tried: str = "",
        again: Callable[[], object] | None = None,
        **path: object,
    ) -> Any:
        """Send one call, again where that is safe, and return its ``data``.

        Args:
            verb: GET, POST, PUT or DELETE.
            template: path below ``/api2/json`` with ``{names}``, filled from ``path`` and counted as it is.
            params: parameters; None values are left out, booleans become 0 and 1. An open file is uploaded.
            repeat: what may be sent again.
            tried: what it is for, in the user's words, for errors: "create container 404".
            again: called before the call is repeated after a lost answer or a busy lock, which somebody else held
                then; what it raises ends it.
            path: values for the names in the template.

        Raises:
            UnknownEndpointError: the endpoint is not in :data:`~zentoria_infra.proxmox.endpoints.ENDPOINTS`.
        """
        return self._send(verb, template, params, repeat, tried, path, again)

    def _send(
        self,
        verb: str,
        template: str,
        params: Mapping[str, Any] | None,
        repeat: Repeat,
        tried: str,
        path: Mapping[str, object],
        look: Callable[[], object] | None = None,
    ) -> Any:
        endpoints.require(verb, template)
        where = template.format_map({key: quote(str(value), safe="") for key, value in path.items()})
        sent = {key: _plain(value) for key, value in (params or {}).items() if value is not None}
        what = errors.Call(verb, where, self.endpoint.where, self._secrets(sent), tried, self._credentials.who)
        again: tuple[type[Exception], ...] = (errors.LockBusyError, errors.NotSentError)
        if repeat is Repeat.SAFE:
            again += (errors.TransientError, errors.LostAnswerError)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(again)
            & tenacity.retry_if_not_exception_type(errors.AnswerTimeoutError),
            stop=self._enough,
            wait=tenacity.wait_random_exponential(multiplier=self._retry.first_wait, max=self._retry.max_wait),
            sleep=self._sleep,
            reraise=True,
        )
        changed = False

        def once() -> Any:
            nonlocal changed
            if changed and look is not None:
                look()
            try:
                return self._once_renewing(what, template, sent)
            except (errors.TransientError, errors.LostAnswerError, errors.LockBusyError):
                changed = True
                raise

        return retrying(once)

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        lost = self._tickets is not None and isinstance(error, errors.LostAnswerError)
        return state.attempt_number >= (self._retry.lost if lost else self._retry.attempts)

    def _once_renewing(self, what: errors.Call, template: str, params: dict[str, Any]) -> Any:
        """One call; after a 401 on a ticket, which was not carried out then, a new ticket and once more."""
        if self._tickets is None:
            return self._once(what, template, params)
        ticket = self._tickets.current()
        try:
            return self._once(what, template, params)
        except AuthError:
            self._tickets.forget(ticket)
            self._tickets.current()
            return self._once(what, template, params)

    def _once(self, what: errors.Call, template: str, params: dict[str, Any]) -> Any:
        self.stats.add(what.verb, template)
        for value in params.values():
            if isinstance(value, io.IOBase):
                value.seek(0)  # a file that was sent once is read to its end
        # A path is handed over whole: proxmoxer would split and join it, and %2F must survive.
        resource = self._api(what.path.strip("/"))
        send = {"GET": resource.get, "POST": resource.post, "PUT": resource.put, "DELETE": resource.delete}[what.verb]
        return self._translated(what, lambda: send(**params))

    def _translated(self, what: errors.Call, send: Callable[[], Any]) -> Any:
        try:
            return send()
        except proxmoxer.core.ResourceException as error:
            raise errors.from_answer(error, what) from None
        except session.NotProxmoxError as error:
            raise UnreachableError(
                what.tried,
                on=what.where,
                got=what.clean(str(error)),
                todo="is that a Proxmox VE API? check host and port in the site file",
            ) from None
        except requests.RequestException as error:
            raise errors.from_transport(error, what, pin=self.endpoint.fingerprint) from None

    def _secrets(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        own = self._credentials.secret if isinstance(self._credentials, ApiToken) else self._credentials.password
        named = [str(value) for key, value in params.items() if "password" in key]
        return (own.reveal(), *named)

    def _auth(self) -> Any:
        if isinstance(self._credentials, ApiToken):
            return session.token_auth(
                self._credentials.user,
                self._credentials.token_id,
                self._credentials.secret,
                verify=self._verify,
                timeout=self._timeout,
            )
        self._tickets = session.TicketAuth(self._login, verify=self._verify, timeout=self._timeout)
        return self._tickets

    def _login(self) -> tuple[Secret, Secret]:
        """Take a ticket through the same session, so that the same TLS checks hold."""
        assert isinstance(self._credentials, Password)  # noqa: S101  # TicketAuth is only made for a password
        template = "/access/ticket"
        form = {"username": self._credentials.user, "password": self._credentials.password.reveal()}
        what = errors.Call("POST", template, self.endpoint.where, self._secrets(form), f"log in as {form['username']}")
        self.stats.add("POST", template)
        nobody = session.no_auth(verify=self._verify, timeout=self._timeout)
        resource = proxmoxer.core.ProxmoxResource(
            base_url=self.endpoint.base_url + template,
            session=_WithAuth(self._session, nobody),
            serializer=session.PveSerializer(),
        )
        data = self._translated(what, lambda: resource.post(**form))
        if data.get("NeedTFA"):
            raise AuthError(
                f"log in as {self._credentials.user}",
                on=self.endpoint.where,
                got="the user has a second factor",
                todo="use an API token instead: it needs none",
            )
        return Secret(data["ticket"]), Secret(data["CSRFPreventionToken"])


@dataclass(frozen=True)
class _WithAuth:
    """The session with another ``auth``, for the one call that has no ticket yet."""

    session: session.PveSession
    auth: Any

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        return self.session.request(method, url, auth=self.auth, **kwargs)


def _plain(value: Any) -> Any:
    """Form booleans are 0 and 1 to Proxmox, nothing else."""
    return int(value) if isinstance(value, bool) else value


def _check_ca_file(endpoint: Endpoint) -> None:
    if endpoint.ca_file is None:
        return
    try:
        with endpoint.ca_file.open("rb") as handle:
            readable = b"BEGIN CERTIFICATE" in handle.read()
        got = "" if readable else "there is no certificate in it"
    except OSError as error:
        got = error.strerror or str(error)
    if got:
        raise UnreachableError(
            f"read the CA file {endpoint.ca_file}",
            got=got,
            todo="copy /etc/pve/pve-root-ca.pem from the node and name it in the site file",
        )


__all__ = [
    "ApiError",
    "ApiToken",
    "Connection",
    "Credentials",
    "Endpoint",
    "Password",
    "Reader",
    "Repeat",
    "RetryPolicy",
    "Secret",
]

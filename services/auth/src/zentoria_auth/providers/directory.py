"""Sign-in against a directory (LDAP): found by a search, and bound as with the password that was typed.

ldap3 is pure Python and waits in threads; a bounded pool of them keeps a slow directory from taking the service along.
Its own check of certificates' names is not used: Python's is (RFC 9525), since it knows addresses as well as names.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import ssl
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from zentoria_common.problems import Unavailable

from zentoria_auth.providers.claims import Claim, plain_address

with warnings.catch_warnings():
    # it takes names of pyasn1's that have newer ones; ldap3 2.10 mends that, and sends filters unescaped instead
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import LDAPException
    from ldap3.utils.conv import escape_filter_chars

WORKERS = 4
WAITING = 16
"""Sign-ins that may wait for a worker; more are told to come again."""
MAX_LOGIN, MAX_PASSWORD = 320, 1024
_SUCCESS, _INVALID_CREDENTIALS = 0, 49
_log = structlog.stdlib.get_logger("zentoria_auth.directory")


class DirectorySettings(BaseModel):
    """Where the directory is, and how people are found in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(pattern=r"^ldaps?://[A-Za-z0-9.:\[\]-]+$", max_length=300)]
    """``ldaps://host[:636]``, or ``ldap://host[:389]``, which then begins TLS before anything else is said."""
    ca_file: Path | None = None
    """Certificates that the directory's may be signed by; the system's where it is None."""
    bind_dn: Annotated[str, Field(max_length=1000)] = ""
    """Who searches; nobody (anonymous) where it is empty."""
    base_dn: Annotated[str, Field(min_length=1, max_length=1000)]
    user_filter: Annotated[str, Field(max_length=1000)] = "(&(objectClass=person)(|(uid={login})(mail={login})))"
    """RFC 4515; ``{login}`` stands for what was typed, escaped."""
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds for each step."""
    trust_mail: bool = True
    """Whether ``mail`` is kept by administrators: if people can change it themselves, an account is only linked by
    who is signed in."""

    @model_validator(mode="after")
    def _has_login(self) -> DirectorySettings:
        if "{login}" not in self.user_filter:
            raise ValueError("user_filter must hold {login}")
        return self


class DirectoryError(Exception):
    """The directory cannot be asked, or not in safety. The text is for logs and holds nothing that was typed."""


@dataclasses.dataclass(frozen=True)
class _Entry:
    dn: str
    attributes: dict[str, Any]


class Directory:
    """One directory.

    Args:
        settings: where it is.
        password: of ``settings.bind_dn``.
        name: of the provider, as identities have it.
    """

    def __init__(self, settings: DirectorySettings, password: SecretStr | None, name: str = "ldap") -> None:
        self._settings = settings
        self._password = password
        self._name = name
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="ldap")
        self._places = WORKERS + WAITING
        self._server = _server(settings)

    async def sign_in(self, login: str, password: str) -> Claim | None:
        """See whether somebody is in the directory and has this password; None where not, whatever is wrong.

        Raises:
            Unavailable: the directory does not answer, or too many wait for it.
        """
        # An empty password would bind as nobody, and succeed (RFC 4513 section 5.1.2).
        if not _is_text(login, MAX_LOGIN) or not _is_text(password, MAX_PASSWORD):
            return None
        if self._places <= 0:
            raise Unavailable("directory")
        self._places -= 1
        try:
            work = functools.partial(self._sign_in, login, password)
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except DirectoryError as error:
            _log.warning("directory fails", reason=str(error))
            raise Unavailable("directory") from None
        finally:
            self._places += 1

    def close(self) -> None:
        """End the threads; those that wait for the directory end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _sign_in(self, login: str, password: str) -> Claim | None:
        try:
            entry = self._find(login)
            if entry is None or not self._binds(entry.dn, password):
                return None
        except LDAPException as error:
            raise DirectoryError(type(error).__name__) from None
        except (OSError, ssl.SSLError) as error:
            raise DirectoryError(type(error).__name__) from None
        return self._claim(entry)

    def _find(self, login: str) -> _Entry | None:
        who = self._settings.bind_dn
        connection = self._connect(who or None, self._password.get_secret_value() if self._password and who else None)
        try:
            if not connection.bind():
                raise DirectoryError("the directory refuses the account that searches")
            wanted = self._settings.user_filter.replace("{login}", escape_filter_chars(login))
            connection.search(
                self._settings.base_dn,
                wanted,
                attributes=[ldap3.ALL_ATTRIBUTES, "entryUUID"],
                size_limit=2,
                time_limit=max(1, round(self._settings.timeout)),
            )
            found = [each for each in connection.response or [] if each.get("type") == "searchResEntry"]
        finally:
            connection.unbind()
        if len(found) != 1:
            return None  # two that answer to one name are nobody
        return _Entry(found[0]["dn"], dict(found[0]["attributes"]))

    def _binds(self, dn: str, password: str) -> bool:
        connection = self._connect(dn, password)
        try:
            connection.bind()
            result = connection.result["result"]
        finally:
            connection.unbind()
        if result not in (_SUCCESS, _INVALID_CREDENTIALS):
            # locked, expired, not allowed to bind: no for this person, and worth a line for whoever keeps the directory
            _log.info("directory refuses a bind", reason=str(connection.result.get("description")))
        return bool(result == _SUCCESS)

    def _connect(self, dn: str | None, password: str | None) -> ldap3.Connection:
        connection = ldap3.Connection(
            self._server,
            user=dn,
            password=password,
            authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
            auto_referrals=False,
            read_only=True,
            raise_exceptions=False,
            receive_timeout=max(1, round(self._settings.timeout)),  # ldap3 takes whole seconds
        )
        try:
            connection.open()
            if not self._server.ssl:
                # before the bind: no password goes over a connection that anybody can read
                connection.start_tls()
        except BaseException:
            if connection.socket is not None:  # ldap3 leaves it to the garbage collector
                connection.socket.close()
            raise
        return connection

    def _claim(self, entry: _Entry) -> Claim:
        email = plain_address(_first(entry.attributes.get("mail")))
        return Claim(
            provider=self._name,
            issuer=self._settings.url,
            subject=_subject(entry),
            email=email,
            email_verified=email is not None and self._settings.trust_mail,
            name=str(_first(entry.attributes.get("displayName") or entry.attributes.get("cn")) or "")[:200],
            amr=("pwd",),
        )


class _VerifiedTls(ldap3.Tls):  # type: ignore[misc] # ldap3 has no types
    """TLS as Python itself does it for clients: the chain and the name are verified in the handshake."""

    def __init__(self, host: str, ca_file: Path | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._host = host
        self._context = ssl.create_default_context(cafile=ca_file)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Begin TLS on the connection's socket."""
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=self._host, do_handshake_on_connect=True
        )


def _server(settings: DirectorySettings) -> ldap3.Server:
    parts = urlsplit(settings.url)
    secure = parts.scheme == "ldaps"
    host = parts.hostname or ""
    return ldap3.Server(
        host,
        port=parts.port or (636 if secure else 389),
        use_ssl=secure,
        tls=_VerifiedTls(host, settings.ca_file),
        connect_timeout=settings.timeout,
        get_info=ldap3.NONE,
    )


def _is_text(typed: str, longest: int) -> bool:
    try:
        return 0 < len(typed.encode()) <= longest and "\0" not in typed
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _first(value: Any) -> Any:
    return (value[0] if value else None) if isinstance(value, list) else value


def _subject(entry: _Entry) -> str:
    """What stays when somebody is renamed: ``entryUUID`` (RFC 4530), Active Directory's ``objectGUID``, or the DN."""
    if found := _first(entry.attributes.get("entryUUID")):
        return str(found)
    guid = _first(entry.attributes.get("objectGUID"))
    if isinstance(guid, bytes) and len(guid) == 16:
        return str(uuid.UUID(bytes_le=guid))
    return str(guid) if guid else entry.dn

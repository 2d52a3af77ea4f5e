"""Settings from the environment (prefix ``ZENTORIA_``) and secrets from files. Nothing else configures a service."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "ZENTORIA_"

Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:_-]+$")]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9_.-]+$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class SettingsError(Exception):
    """The environment cannot be used. The text is one line and names every variable that is wrong."""


class CommonSettings(BaseSettings):
    """What every service is told by its unit; each adds its own. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    bind_host: Host = "127.0.0.1"
    """Address of all ports, where systemd does not pass the sockets."""
    http_port: Port = 8000
    trusted_proxies: str = ""
    """Comma-separated addresses or networks whose ``X-Forwarded-For`` is believed, walked from the right."""
    dependency_timeout: Annotated[float, Field(gt=0, le=30)] = 2.0
    """How long one dependency may take to answer a health question."""
    health_interval: Seconds = 10.0
    """How often the dependencies are asked when nobody asks us."""
    max_body_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024
    """The largest body of a route that takes files; the proxy has the same limit."""
    max_json_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024
    """The largest body of any other route."""
    keep_alive_timeout: Annotated[int, Field(ge=1, le=3600)] = 75
    """Longer than the proxy keeps an idle connection (nginx: 60 s), so that it is the proxy that closes it."""
    drain_timeout: Annotated[float, Field(ge=0, le=30)] = 1.0
    """How long a stopping server still answers on connections that are open and quiet."""
    shutdown_timeout: Annotated[int, Field(ge=1, le=300)] = 20
    """How long a request in flight may take to finish after that."""
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    """Processes that serve the same ports; with more than one, a further one watches over them."""
    container_name: Name = "localhost"
    """The container that it runs in: its name where services call each other, its user at database and Redis."""
    otlp_endpoint: str = ""
    """Where traces go (OTLP over HTTP, as ``http://10.10.40.6:4318``). Empty: none are made."""
    metrics: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class DatabaseSettings(CommonSettings):
    """Where the service's database is: PgBouncer's address, or a folder with PostgreSQL's own socket."""

    database_host: Annotated[
        str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:_-]+$|^/[A-Za-z0-9._/-]+$")
    ]
    database_port: Port = 6432
    database_name: Name = "zentoria_core"
    database_user: Name
    database_password_file: Path | None = None


class RedisSettings(CommonSettings):
    """Where Redis is, and as whom the service uses it."""

    redis_host: Host
    redis_port: Port = 6379
    redis_user: Name
    redis_password_file: Path | None = None


class S3Settings(CommonSettings):
    """Where objects are kept. Which buckets a service uses is its own."""

    s3_endpoint: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:_-]+$")]
    s3_region: Name = "us-east-1"
    s3_access_key: Name
    s3_secret_key_file: Path | None = None
    s3_ca_file: Path | None = None
    """Certificates that are trusted beside the system's; only with https."""


class IdentitySettings(CommonSettings):
    """Who the service is to other containers, and which of them it answers."""

    identity_key_file: Path | None = None
    """Its own private key, Ed25519 in PEM form; only what calls others has one."""
    callers_file: Path | None = None
    """JWK set of those that may call: ``kid`` is the container's name."""


_Settings = TypeVar("_Settings", bound=CommonSettings)
_Secrets = TypeVar("_Secrets")


def read_settings(settings: type[_Settings], secrets: type[Any]) -> _Settings:
    """Read the settings from the process's environment.

    Args:
        settings: the service's own kind.
        secrets: a dataclass with a field for each of its secrets; none of them may be in the environment.

    Raises:
        SettingsError: a variable is missing or wrong, or holds a password.
    """
    for field in dataclasses.fields(secrets):
        variable = f"{PREFIX}{field.name}".upper()
        if variable in os.environ:
            raise SettingsError(
                f"{variable} holds a password, which every child process could read: set {variable}_FILE"
            )
    try:
        return settings()
    except ValidationError as error:
        # The input is left out on purpose: it could be a secret in the wrong variable.
        raise SettingsError(
            "; ".join(
                f"{PREFIX}{'.'.join(str(part) for part in problem['loc'])}".upper() + f": {_complaint(problem['msg'])}"
                for problem in error.errors(include_input=False, include_url=False, include_context=False)
            )
        ) from None


def read_secrets(
    secrets: type[_Secrets], settings: CommonSettings, environ: Mapping[str, str] | None = None
) -> _Secrets:
    """Read the secrets.

    Each comes from its ``*_FILE``, else from the systemd credential of that name (``LoadCredential=``, which
    systemd.exec(5) puts below ``$CREDENTIALS_DIRECTORY``).

    Args:
        secrets: a dataclass whose fields are all ``SecretStr``.
        settings: have ``<field>_file`` for each of them.
        environ: in place of the process's environment.

    Raises:
        SettingsError: a file is missing, unreadable, empty, or readable by every user.
    """
    folder = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")

    def read(name: str, path: Path | None) -> SecretStr:
        variable = f"{PREFIX}{name}_file".upper()
        if path is None:
            if not folder:
                raise SettingsError(f"{variable}: not set, and systemd passed no credential {name}")
            path = Path(folder) / name
        return SecretStr(_secret_text(variable, path))

    names = [field.name for field in dataclasses.fields(secrets)]  # type: ignore[arg-type] # a type of a dataclass
    return secrets(**{name: read(name, getattr(settings, f"{name}_file")) for name in names})


def unknown_variables(settings: type[CommonSettings], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Names of ``ZENTORIA_`` variables that mean nothing here.

    They are logged and do not stop the service: a release that is rolled back may meet the environment of a newer one.
    """
    known = {f"{PREFIX}{name}".upper() for name in settings.model_fields}
    return tuple(sorted(name for name in environ if name.startswith(PREFIX) and name not in known))


def _secret_text(variable: str, path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {path} is not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{variable}: {path}: {error.strerror}") from None
    if mode & stat.S_IROTH:
        raise SettingsError(f"{variable}: {path} is readable by every user: its mode must be 0640 or less")
    if not text:
        raise SettingsError(f"{variable}: {path} is empty")
    return text


def _complaint(message: Any) -> str:
    text = " ".join(str(message).split())
    return "not set" if text == "Field required" else text[:1].lower() + text[1:]

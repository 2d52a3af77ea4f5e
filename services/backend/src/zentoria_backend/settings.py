"""What the backend's unit tells it, and its passwords."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from zentoria_common import settings as common
from zentoria_common.identity import Identity
from zentoria_common.settings import DatabaseSettings, IdentitySettings, Name, Port, RedisSettings, S3Settings, Seconds

Origin = Annotated[str, Field(max_length=300, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")]
"""Scheme, host and port, without a slash at the end (RFC 6454)."""
Count = Annotated[int, Field(ge=1, le=10_000_000)]


@dataclasses.dataclass(frozen=True)
class Quotas:
    """Requests a minute."""

    address: int
    user: int
    key: int
    failures: int
    sign_in: int


class Settings(DatabaseSettings, RedisSettings, S3Settings, IdentitySettings):
    """What the service is told by its unit. Times are in seconds, sizes in bytes."""

    http_port: Port = 4000
    websocket_port: Port = 4001

    public_url: Origin = "http://localhost:4000"
    """Where people and programs reach the site: issuer and audience of their tokens."""
    auth_url: Origin = "http://127.0.0.1:9000"
    ai_url: Origin | None = None
    n8n_url: Origin | None = None
    ocr_url: Origin | None = None
    rag_url: Origin | None = None
    voice_url: Origin | None = None
    voice_stream_url: Origin | None = None
    """Other containers; without a value their routes answer 503."""
    call_timeout: Seconds = 15.0
    """How long one of them may take to answer."""
    stream_silence: Seconds = 180.0
    """For how long one that answers in pieces may say nothing: a page is recognised, a model is loaded."""
    answer_grace: Seconds = 15.0
    """For how long an answer goes on to be written after its last listener has left."""
    audio_max_bytes: Annotated[int, Field(ge=1024)] = 512 << 20
    """Of a recording that is to be written down."""
    system_file: Path | None = None
    """What the site consists of, as JSON: containers by zone, and who may reach whom."""
    cors_origins: tuple[Origin, ...] = ()
    """Whose pages may read answers, as JSON list. None: no page of another origin."""

    limit_address: Count = 600
    """Requests a minute without a credential, from one address."""
    limit_user: Count = 3000
    limit_key: Count = 3000
    limit_failures: Count = 30
    """Credentials a minute that were not good, from one address; more are refused unaudited."""
    limit_sign_in: Count = 10
    """Attempts a minute to sign in, from one address."""

    s3_bucket_uploads: Name = "uploads"
    """Where what users upload is kept."""
    s3_bucket_documents: Name = "documents"
    """Where documents are that were read into the index."""
    database_direct_port: Port = 5432
    """PostgreSQL's own, on the database's host: jobs are listened for there, which PgBouncer cannot pass on."""
    file_undo_seconds: Annotated[int, Field(ge=60)] = 7 * 86400
    """How long a deleted file can be brought back."""
    upload_expiry_seconds: Annotated[int, Field(ge=60)] = 86400
    """How long a resumable upload may rest."""
    job_stalled_seconds: Seconds = 30.0
    """A worker that says nothing for so long is dead; its jobs go to others."""
    sweep_seconds: Seconds = 20.0
    """How often one process looks for what others left behind."""
    scan_clamd: Annotated[str, Field(pattern=r"^$|^/[^\s]+$|^[A-Za-z0-9.:_-]+:[0-9]{1,5}$")] = ""
    """A virus scanner that sees every file: clamd's socket, or its address and port. Empty: none."""
    scan_command: tuple[str, ...] = ()
    """In place of it: a command that reads the file from standard input; it exits with 0 (clean) or 1 (found)."""

    max_websocket_clients: Annotated[int, Field(ge=1)] = 1000

    @property
    def quotas(self) -> Quotas:
        """The rate limits together."""
        return Quotas(self.limit_address, self.limit_user, self.limit_key, self.limit_failures, self.limit_sign_in)


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The passwords of the service; their ``repr`` shows none of them."""

    database_password: SecretStr
    redis_password: SecretStr
    s3_secret_key: SecretStr


@dataclasses.dataclass(frozen=True)
class IdentitySecrets:
    """The key with which the service shows other containers who it is."""

    identity_key: SecretStr


def load_identity(settings: Settings, environ: Mapping[str, str] | None = None) -> Identity | None:
    """Read the service's own key; None where it has none, as on a developer's machine.

    Raises:
        SettingsError: the file is missing or unreadable, or holds something else.
    """
    folder = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    if settings.identity_key_file is None and not (folder and (Path(folder) / "identity_key").exists()):
        return None
    key = common.read_secrets(IdentitySecrets, settings, environ).identity_key
    return Identity(settings.container_name, key)


def load_settings() -> Settings:
    """Read the settings from the process's environment.

    Raises:
        SettingsError: a variable is missing or wrong, or holds a password.
    """
    return common.read_settings(Settings, Secrets)


def load_secrets(settings: Settings, environ: Mapping[str, str] | None = None) -> Secrets:
    """Read the passwords from their files, else from systemd's credentials.

    Raises:
        SettingsError: a file is missing, unreadable, empty, or readable by every user.
    """
    return common.read_secrets(Secrets, settings, environ)

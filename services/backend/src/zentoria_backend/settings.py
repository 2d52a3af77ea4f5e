"""What the backend's unit tells it, and its passwords."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, SecretStr
from zentoria_common import settings as common
from zentoria_common.settings import DatabaseSettings, Port, RedisSettings


class Settings(DatabaseSettings, RedisSettings):
    """What the service is told by its unit. Times are in seconds, sizes in bytes."""

    http_port: Port = 4000
    websocket_port: Port = 4001

    max_websocket_clients: Annotated[int, Field(ge=1)] = 1000


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The passwords of the service; their ``repr`` shows none of them."""

    database_password: SecretStr
    redis_password: SecretStr


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

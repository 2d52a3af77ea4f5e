"""What the unit of the auth service tells it, and its secrets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from zentoria_common.settings import (
    DatabaseSettings,
    IdentitySettings,
    Name,
    Port,
    RedisSettings,
)


class Settings(DatabaseSettings, RedisSettings, IdentitySettings):
    """What the service is told by its unit. Times are in seconds, sizes in bytes."""

    http_port: Port = 9000
    container_name: Name = "auth"
    max_json_bytes: Annotated[int, Field(ge=0)] = 64 * 1024
    """Nothing that this service takes is longer."""

    public_url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", max_length=255)]
    """How browsers reach the site: issuer of tokens, origin of pages, home of passkeys."""

    jwt_key_file: Path | None = None
    """PEM file of the EC key (P-256) that signs access tokens."""
    jwt_previous_key_file: Path | None = None
    """The one before it, whose tokens are still good; for 15 minutes after a change of keys."""
    seal_key_file: Path | None = None
    """What TOTP secrets in the database are encrypted with."""

    oauth_dynamic_registration: bool = False
    """Whether OAuth clients may register themselves (RFC 7591): for old ones, which have no metadata document."""
    oauth_client_hosts: Annotated[str, Field(max_length=2000)] = ""
    """Comma-separated hosts and networks, beside the internet, that clients' metadata documents may be fetched from."""

    providers_file: Path | None = None
    """JSON list of the providers by which people may sign in."""
    outbound_allow: Annotated[str, Field(max_length=2000)] = ""
    """Comma-separated hosts and networks, beside the internet, that providers may be asked at."""
    ldap_url: Annotated[str, Field(max_length=300)] = ""
    """Of the directory whose passwords are taken too; none where it is empty."""
    ldap_start_tls: bool = False
    """Must be true where the URL begins with ``ldap://``: passwords go over TLS, or not at all."""
    ldap_ca_file: Path | None = None
    ldap_bind_dn: Annotated[str, Field(max_length=1000)] = ""
    ldap_bind_password_file: Path | None = None
    ldap_base_dn: Annotated[str, Field(max_length=1000)] = ""
    ldap_user_filter: Annotated[str, Field(max_length=1000)] = ""
    ldap_trust_mail: bool = True

    @property
    def public_host(self) -> str:
        """Host name of ``public_url``: the relying party's id of passkeys."""
        return urlsplit(self.public_url).hostname or ""


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The secrets of the service; their ``repr`` shows none of them."""

    database_password: SecretStr
    redis_password: SecretStr
    jwt_key: SecretStr
    seal_key: SecretStr

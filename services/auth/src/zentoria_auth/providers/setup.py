"""The providers and the directory of an application, made of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis
from zentoria_common.database import Database
from zentoria_common.outbound import Allowed, Outbound
from zentoria_common.settings import SettingsError

from zentoria_auth.clock import Clock
from zentoria_auth.providers.attempts import Attempts
from zentoria_auth.providers.directory import Directory, DirectorySettings
from zentoria_auth.providers.github import GitHub
from zentoria_auth.providers.oidc import OpenIdProvider
from zentoria_auth.providers.service import Accounts, ProviderClient, Providers
from zentoria_auth.providers.settings import Provider, read_providers, read_secret
from zentoria_auth.settings import Settings


def make_providers(
    settings: Settings, database: Database, redis: Redis, prefix: str, clock: Clock, outbound: Outbound
) -> Providers:
    """Make the providers of the site. Nothing connects yet.

    Raises:
        SettingsError: the file of providers cannot be used.
    """
    clients = [_client(provider, outbound, clock) for provider in read_providers(settings.providers_file)]
    return Providers(clients, Accounts(database), Attempts(redis, f"{prefix}provider"), settings.public_url)


def make_outbound(settings: Settings) -> Outbound:
    """What providers are asked with."""
    return Outbound(Allowed.parse(settings.outbound_allow.split(",")))


def make_directory(settings: Settings) -> Directory | None:
    """Make the directory, where the site has one.

    Raises:
        SettingsError: its settings cannot be used.
    """
    if not settings.ldap_url:
        return None
    if settings.ldap_url.startswith("ldap://") and not settings.ldap_start_tls:
        raise SettingsError("ZENTORIA_LDAP_URL: passwords go to the directory: use ldaps://, or LDAP_START_TLS=true")
    given: dict[str, Any] = {
        "url": settings.ldap_url,
        "ca_file": settings.ldap_ca_file,
        "bind_dn": settings.ldap_bind_dn,
        "base_dn": settings.ldap_base_dn,
        "trust_mail": settings.ldap_trust_mail,
    }
    if settings.ldap_user_filter:
        given["user_filter"] = settings.ldap_user_filter
    password = None
    if settings.ldap_bind_dn:
        password = SecretStr(_text("ZENTORIA_LDAP_BIND_PASSWORD_FILE", settings.ldap_bind_password_file))
    try:
        return Directory(DirectorySettings(**given), password)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = "_".join(str(part) for part in first["loc"]) or "url"
        raise SettingsError(f"ZENTORIA_LDAP_{place.upper()}: {first['msg']}") from None
    except OSError as error:
        raise SettingsError(f"ZENTORIA_LDAP_CA_FILE: {settings.ldap_ca_file}: {error.strerror}") from None


def _client(provider: Provider, outbound: Outbound, clock: Clock) -> ProviderClient:
    secret = read_secret(provider)
    if provider.kind == "github":
        if secret is None:
            raise SettingsError(f"provider {provider.name}: github gives a client_secret")
        return GitHub(provider, secret, outbound)
    return OpenIdProvider(provider, secret, outbound, clock)


def _text(variable: str, path: Path | None) -> str:
    if path is None:
        raise SettingsError(f"{variable}: not set, though LDAP_BIND_DN is")
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: {path}: {type(error).__name__}") from None
    if not text:
        raise SettingsError(f"{variable}: {path} is empty")
    return text

"""Which providers a site has: a file that its role renders, and a secret file for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from zentoria_common.settings import SettingsError

Kind = Literal["oidc", "google", "microsoft", "github"]

GOOGLE = "https://accounts.google.com"
MICROSOFT = "https://login.microsoftonline.com"
GITHUB = "https://github.com"
# Microsoft's tenant of personal accounts; "common" and "organizations" have no issuer of their own to hold a token to.
_CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
_TENANT = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Url = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$", max_length=500)]


class Provider(BaseModel):
    """A provider: who it is, and what this site is there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Slug
    """In URLs: ``/auth/providers/<name>/start``."""
    kind: Kind
    label: Annotated[str, Field(min_length=1, max_length=60)]
    """On the button of the sign-in page."""
    client_id: Annotated[str, Field(min_length=1, max_length=300)]
    client_secret_file: Path | None = None
    """None: a public client, held by PKCE alone."""
    issuer: Url = ""
    """Of ``oidc``; the other kinds know theirs."""
    tenant: Annotated[str, Field(pattern=_TENANT)] | Literal["consumers"] | None = None
    """Of ``microsoft``: the directory's id, or ``consumers`` for personal accounts."""
    scopes: tuple[Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,100}$")], ...] = ()
    trust_email: bool = False
    """Of ``oidc``: take an address as verified though the provider does not say so. For a provider of one's own."""

    @model_validator(mode="after")
    def _whole(self) -> Provider:
        if (self.kind == "oidc") != bool(self.issuer):
            raise ValueError("issuer belongs to kind oidc, which must have it")
        if (self.kind == "microsoft") != (self.tenant is not None):
            raise ValueError("tenant belongs to kind microsoft, which must have it")
        if self.trust_email and self.kind != "oidc":
            raise ValueError("trust_email belongs to kind oidc")
        if self.kind == "github" and self.client_secret_file is None:
            raise ValueError("github gives a client_secret")
        return self

    @property
    def issuer_url(self) -> str:
        """What its ID tokens say they are from; identities are kept under it."""
        if self.kind == "google":
            return GOOGLE
        if self.kind == "microsoft":
            tenant = _CONSUMERS if self.tenant == "consumers" else self.tenant
            return f"{MICROSOFT}/{tenant}/v2.0"
        return GITHUB if self.kind == "github" else self.issuer

    @property
    def asked_scopes(self) -> str:
        """What is asked of the provider: who the user is, and the address."""
        own = ("read:user", "user:email") if self.kind == "github" else ("openid", "email", "profile")
        return " ".join(dict.fromkeys((*own, *self.scopes)))


def read_providers(path: Path | None) -> tuple[Provider, ...]:
    """Read the list of providers.

    Args:
        path: JSON, a list; None where the site has none.

    Raises:
        SettingsError: it cannot be read, or names something twice or wrongly.
    """
    if path is None:
        return ()
    variable = "ZENTORIA_PROVIDERS_FILE"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list):
            raise SettingsError(f"{variable}: {path}: not a list")
        providers = tuple(Provider.model_validate(each) for each in found)
    except OSError as error:
        raise SettingsError(f"{variable}: {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{variable}: {path}: {place or 'a provider'}: {first['msg']}") from None
    except ValueError:
        raise SettingsError(f"{variable}: {path}: not JSON") from None
    _once(variable, "name", [each.name for each in providers])
    return providers


def read_secret(provider: Provider) -> SecretStr | None:
    """The secret that a provider gave us.

    Raises:
        SettingsError: its file cannot be read, or is empty.
    """
    path = provider.client_secret_file
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SettingsError(f"provider {provider.name}: client_secret_file {path}: {reason}") from None
    if not text:
        raise SettingsError(f"provider {provider.name}: client_secret_file {path} is empty")
    return SecretStr(text)


def _once(variable: str, what: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise SettingsError(f"{variable}: {what} {value} stands there twice")

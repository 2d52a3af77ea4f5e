"""How people sign in besides by password: providers, a directory, and what programs may do. Frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from zentoria_infra.inventory.component_model import HttpsUrl
from zentoria_infra.inventory.values import NAMED, Model, Name, Named, Target, matching

Origin = Annotated[
    str,
    matching(
        r"^https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$",
        "an origin as https://app.example.com (scheme, host and port; no path, no slash at the end)",
    ),
]
"""RFC 6454."""
LdapUrl = Annotated[
    str, matching(r"^ldaps?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", "an LDAP URL as ldaps://ldap.example.com")
]
Line = Annotated[str, matching(r"^[^\"'\\\x00-\x1f\x7f]+$", "a text of one line without quotes and backslashes")]
Certificates = Annotated[str, matching(r"^[\x20-\x7e\r\n]+$", "certificates as PEM")]
LdapFilter = Annotated[
    str, matching(r"^\([^\"'\x00-\x1f\x7f]*\{login\}[^\"'\x00-\x1f\x7f]*\)$", "an LDAP filter with {login} in it")
]
Tenant = Annotated[
    str,
    matching(
        r"^(consumers|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$",
        "a directory's id, or 'consumers' for personal accounts",
    ),
]
ProviderKind = Literal["oidc", "google", "microsoft", "github"]


class Provider(Model):
    """Somebody else's sign-in. Its client secret is supplied: ``zentoria secret set`` at ``secret_path``."""

    name: Name
    kind: ProviderKind = "oidc"
    label: Line
    """On the button of the sign-in page."""
    client_id: Line
    """What this site is called there. Its redirect URI is ``PUBLIC/auth/providers/NAME/callback``."""
    issuer: HttpsUrl | None = None
    """Of ``oidc``."""
    tenant: Tenant | None = None
    """Of ``microsoft``."""
    scopes: tuple[Line, ...] = ()
    """Asked for besides the usual ones."""
    trust_email: bool = False
    """Of ``oidc``: an address counts as verified though the provider does not say so. For a provider of one's own."""

    @model_validator(mode="after")
    def _whole(self) -> Provider:
        if (self.kind == "oidc") != (self.issuer is not None):
            raise PydanticCustomError("rule_issuer", "kind 'oidc' has an issuer, and no other kind has one")
        if (self.kind == "microsoft") != (self.tenant is not None):
            raise PydanticCustomError("rule_tenant", "kind 'microsoft' has a tenant, and no other kind has one")
        if self.trust_email and self.kind != "oidc":
            raise PydanticCustomError("rule_trust_email", "'trust_email' belongs to kind 'oidc'")
        return self

    @property
    def secret_path(self) -> str:
        """Where its client secret is."""
        return f"zentoria/oauth/{self.name}_client_secret"


class Ldap(Model):
    """A directory. The password of ``bind_dn`` is supplied: ``zentoria secret set zentoria/ldap/bind_password``."""

    url: LdapUrl
    """With ``ldap://``, TLS begins before anything else is said."""
    ca: Certificates | None = None
    """Certificates (PEM) that are trusted; None: the system's."""
    bind_dn: Line | None = None
    """Who searches; None: nobody (an anonymous bind)."""
    base_dn: Line
    user_filter: LdapFilter | None = None
    trust_mail: bool = True
    """The address that it has of somebody counts as verified."""


class SignIn(Model):
    """Of the whole site."""

    providers: Annotated[tuple[Provider, ...], Named, Field(json_schema_extra=NAMED)] = ()
    ldap: Ldap | None = None
    dynamic_registration: bool = False
    """Programs may register themselves (RFC 7591), as old MCP clients do. Others show a metadata document."""
    outbound: tuple[Target, ...] = ()
    """Hosts and networks of one's own that sign-in may call, as a provider at home: else only the internet."""
    client_hosts: tuple[Target, ...] = ()
    """The same for metadata documents of programs."""

"""Programs that act for a user, and what the user allowed them. Codes live in Redis."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import Base, Created, Json, Moment, Octets, Owner, Texts, Updated, UuidKey, one_of


class OAuthClient(Base):
    """A client of the authorization server.

    ``kind``: ``static`` (by hand), ``dynamic`` (RFC 7591) or ``metadata`` (its ``client_id`` is the URL of a document,
    and ``fetched_at`` says how old our copy is).
    """

    __tablename__ = "oauth_clients"

    id: Mapped[UuidKey]
    client_id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    secret_hash: Mapped[str | None]
    token_endpoint_auth_method: Mapped[str] = mapped_column(server_default="none")
    redirect_uris: Mapped[Texts] = mapped_column(server_default=text("'{}'"))
    grant_types: Mapped[Texts] = mapped_column(server_default=text("'{authorization_code,refresh_token}'"))
    response_types: Mapped[Texts] = mapped_column(server_default=text("'{code}'"))
    scopes: Mapped[Texts] = mapped_column(server_default=text("'{}'"))
    client_uri: Mapped[str | None]
    logo_uri: Mapped[str | None]
    jwks: Mapped[Json | None]
    jwks_uri: Mapped[str | None]
    document: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    registration_token_hash: Mapped[Octets | None]
    created_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    fetched_at: Mapped[Moment | None]
    expires_at: Mapped[Moment | None]
    last_used_at: Mapped[Moment | None]
    disabled_at: Mapped[Moment | None]

    __table_args__ = (one_of("kind", "static", "dynamic", "metadata"),)


class OAuthGrant(Base):
    """A user's consent: this client, these scopes, at this resource (RFC 8707). One that is not revoked at a time."""

    __tablename__ = "oauth_grants"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner]
    client_id: Mapped[str] = mapped_column(ForeignKey("oauth_clients.client_id", ondelete="CASCADE"), index=True)
    scopes: Mapped[Texts]
    resource: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    last_used_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]

    __table_args__ = (
        Index(
            "uq_oauth_grants_live",
            "user_id",
            "client_id",
            "resource",
            unique=True,
            postgresql_where=text("revoked_at is null"),
        ),
    )

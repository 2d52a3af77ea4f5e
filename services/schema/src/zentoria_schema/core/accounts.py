"""People, how they show who they are, and where they are signed in."""

from __future__ import annotations

import uuid

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy import (
    Identity as GeneratedKey,
)
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from zentoria_schema.core.base import Base, Created, Json, Moment, Octets, Owner, Texts, Updated, UuidKey, one_of


class User(Base):
    """An account. ``email`` is stored as it was written; two that differ only in case are the same.

    ``password_hash`` is argon2's PHC string (RFC 9106), or null for who signs in by other means. ``failed_attempts``
    and ``locked_until`` slow down guessing. ``handle`` is what a passkey knows the user by (WebAuthn's user handle).
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, GeneratedKey(always=True), primary_key=True)
    email: Mapped[str]
    email_verified_at: Mapped[Moment | None]
    name: Mapped[str] = mapped_column(server_default="")
    role: Mapped[str] = mapped_column(server_default="member")
    password_hash: Mapped[str | None]
    password_changed_at: Mapped[Moment | None]
    must_change_password: Mapped[bool] = mapped_column(server_default=text("false"))
    failed_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_failed_at: Mapped[Moment | None]
    locked_until: Mapped[Moment | None]
    handle: Mapped[Octets] = mapped_column(server_default=text("uuid_send(gen_random_uuid())"))
    preferences: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    last_login_at: Mapped[Moment | None]
    disabled_at: Mapped[Moment | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]

    __table_args__ = (
        one_of("role", "owner", "member"),
        CheckConstraint("length(email) between 3 and 320", name="email"),
        UniqueConstraint("handle"),
    )


Index("uq_users_email", func.lower(User.email), unique=True)


class Identity(Base):
    """A user as another system knows it: a provider's ``subject``, or an entry of a directory.

    ``provider`` is the name in our settings, ``issuer`` what the provider calls itself (an OpenID issuer, an LDAP URL).
    """

    __tablename__ = "identities"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner] = mapped_column(index=True)
    provider: Mapped[str]
    issuer: Mapped[str]
    subject: Mapped[str]
    email: Mapped[str | None]
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    claims: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[Created]
    last_login_at: Mapped[Moment | None]

    __table_args__ = (UniqueConstraint("provider", "issuer", "subject"),)


class Session(Base):
    """A sign-in: a family of refresh tokens. Its ``id`` is the ``sid`` of access tokens.

    ``client_id`` is the OAuth client that it was granted to, null for the web. It is live until ``expires_at``, unless
    ``ended_at`` is set.
    """

    __tablename__ = "sessions"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner] = mapped_column(index=True)
    client_id: Mapped[str | None] = mapped_column(ForeignKey("oauth_clients.client_id", ondelete="CASCADE"))
    grant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("oauth_grants.id", ondelete="CASCADE"))
    scopes: Mapped[Texts] = mapped_column(server_default=text("'{}'"))
    resource: Mapped[str | None]
    amr: Mapped[Texts] = mapped_column(server_default=text("'{}'"))
    name: Mapped[str] = mapped_column(server_default="")
    ip_address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    authenticated_at: Mapped[Created]
    created_at: Mapped[Created]
    last_seen_at: Mapped[Created]
    expires_at: Mapped[Moment]
    ended_at: Mapped[Moment | None]
    end_reason: Mapped[str | None]


class Passkey(Base):
    """A WebAuthn credential (W3C WebAuthn level 3). ``public_key`` is its COSE key."""

    __tablename__ = "passkeys"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner] = mapped_column(index=True)
    credential_id: Mapped[Octets] = mapped_column(unique=True)
    public_key: Mapped[Octets]
    sign_count: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    transports: Mapped[Texts] = mapped_column(server_default=text("'{}'"))
    aaguid: Mapped[uuid.UUID | None]
    discoverable: Mapped[bool] = mapped_column(server_default=text("false"))
    backup_eligible: Mapped[bool] = mapped_column(server_default=text("false"))
    backed_up: Mapped[bool] = mapped_column(server_default=text("false"))
    name: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[Created]
    last_used_at: Mapped[Moment | None]


class RecoveryCode(Base):
    """A code on paper, good once, for who lost the second factor."""

    __tablename__ = "recovery_codes"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner] = mapped_column(index=True)
    code_hash: Mapped[str]
    created_at: Mapped[Created]
    used_at: Mapped[Moment | None]


class TotpFactor(Base):
    """An authenticator app (RFC 6238). ``secret`` is encrypted by the auth service; ``last_step`` stops replays."""

    __tablename__ = "totp_factors"

    id: Mapped[UuidKey]
    user_id: Mapped[Owner] = mapped_column(unique=True)
    secret: Mapped[Octets]
    algorithm: Mapped[str] = mapped_column(server_default="SHA1")
    digits: Mapped[int] = mapped_column(server_default=text("6"))
    period: Mapped[int] = mapped_column(server_default=text("30"))
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[Created]
    confirmed_at: Mapped[Moment | None]


class SetupLink(Base):
    """A link that works once: it makes the first account or another, or sets a new password.

    ``token_hash`` is SHA-256 of the link's secret part.
    """

    __tablename__ = "setup_links"

    id: Mapped[UuidKey]
    purpose: Mapped[str]
    token_hash: Mapped[Octets] = mapped_column(unique=True)
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    email: Mapped[str | None]
    role: Mapped[str] = mapped_column(server_default="owner")
    created_at: Mapped[Created]
    expires_at: Mapped[Moment]
    used_at: Mapped[Moment | None]

    __table_args__ = (one_of("purpose", "first_run", "invite", "reset"), one_of("role", "owner", "member"))

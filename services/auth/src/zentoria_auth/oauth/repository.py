"""Clients and grants in the database."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_schema.core.accounts import Session
from zentoria_schema.core.oauth import OAuthClient, OAuthGrant

from zentoria_auth.oauth.clients import Client, ClientMetadata


@dataclasses.dataclass(frozen=True)
class Grant:
    """What a user allowed a client."""

    id: uuid.UUID
    client_id: str
    client_name: str
    scopes: tuple[str, ...]
    resource: str
    created_at: datetime
    last_used_at: datetime | None


async def find_client(session: AsyncSession, client_id: str) -> Client | None:
    """A client that is kept here and not disabled."""
    row = await session.scalar(
        select(OAuthClient).where(OAuthClient.client_id == client_id, OAuthClient.disabled_at.is_(None))
    )
    return None if row is None else _client(row)


async def is_disabled(session: AsyncSession, client_id: str) -> bool:
    """Whether somebody has shut this client out."""
    found = await session.scalar(select(OAuthClient.disabled_at).where(OAuthClient.client_id == client_id))
    return found is not None


async def register(session: AsyncSession, metadata: ClientMetadata) -> tuple[Client, str | None]:
    """Keep a client that registers itself; returns it and its secret, which is not kept."""
    public = metadata.token_endpoint_auth_method == "none"  # noqa: S105 - a method's name
    secret = None if public else secrets.token_urlsafe(32)
    client = Client(
        id=str(uuid.uuid4()),
        kind="dynamic",
        metadata=metadata,
        secret_hash=None if secret is None else hashlib.sha256(secret.encode()).hexdigest(),
    )
    await keep(session, client)
    return client, secret


async def keep(session: AsyncSession, client: Client) -> None:
    """Write a client down, or what is new about it: grants refer to it."""
    said = client.metadata
    values: dict[str, Any] = {
        "kind": client.kind,
        "name": client.name,
        "secret_hash": client.secret_hash,
        "token_endpoint_auth_method": said.token_endpoint_auth_method,
        "redirect_uris": list(said.redirect_uris),
        "grant_types": list(said.grant_types),
        "response_types": list(said.response_types),
        "scopes": said.scope.split(),
        "client_uri": said.client_uri or None,
        "document": said.model_dump(mode="json"),
        "fetched_at": datetime.now(UTC) if client.kind == "metadata" else None,
    }
    statement = insert(OAuthClient).values(client_id=client.id, **values)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["client_id"], set_={**values, "updated_at": func.now()})
    )


async def live_grant(session: AsyncSession, user_id: int, client_id: str, resource: str) -> Grant | None:
    """What the user allowed this client at this resource, and has not taken back."""
    found = await _grants(session, user_id, OAuthGrant.client_id == client_id, OAuthGrant.resource == resource)
    return found[0] if found else None


async def list_grants(session: AsyncSession, user_id: int) -> Sequence[Grant]:
    """What the user allowed, newest first."""
    return await _grants(session, user_id)


async def allow(session: AsyncSession, user_id: int, client: Client, resource: str, scopes: Sequence[str]) -> uuid.UUID:
    """Write down a consent. Scopes of an earlier one stay: the user took nothing back."""
    await keep(session, client)
    # the row is locked, so that of two consents at once none is lost
    row = await session.scalar(
        select(OAuthGrant)
        .where(
            OAuthGrant.user_id == user_id,
            OAuthGrant.client_id == client.id,
            OAuthGrant.resource == resource,
            OAuthGrant.revoked_at.is_(None),
        )
        .with_for_update()
    )
    if row is None:
        statement = insert(OAuthGrant).values(
            id=uuid.uuid4(), user_id=user_id, client_id=client.id, resource=resource, scopes=sorted(scopes)
        )
        statement = statement.on_conflict_do_update(
            index_elements=["user_id", "client_id", "resource"],
            index_where=OAuthGrant.revoked_at.is_(None),
            set_={"updated_at": func.now(), "scopes": sorted(scopes)},
        )
        return cast("uuid.UUID", await session.scalar(statement.returning(OAuthGrant.id)))
    row.scopes = sorted({*row.scopes, *scopes})
    return row.id


async def is_live(session: AsyncSession, grant_id: uuid.UUID) -> bool:
    """Whether a grant was not taken back; notes that it is used."""
    found = await session.scalar(
        update(OAuthGrant)
        .where(OAuthGrant.id == grant_id, OAuthGrant.revoked_at.is_(None))
        .values(last_used_at=func.now())
        .returning(OAuthGrant.id)
    )
    return found is not None


async def is_session_of(session: AsyncSession, sid: uuid.UUID, client_id: str) -> bool:
    """Whether a session is this client's."""
    return await session.scalar(select(Session.client_id).where(Session.id == sid)) == client_id


async def revoke(session: AsyncSession, user_id: int, grant_id: uuid.UUID) -> str | None:
    """Take a grant back; returns its client, or None where the user has no such grant."""
    found: str | None = await session.scalar(
        update(OAuthGrant)
        .where(OAuthGrant.id == grant_id, OAuthGrant.user_id == user_id, OAuthGrant.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(OAuthGrant.client_id)
    )
    return found


async def _grants(session: AsyncSession, user_id: int, *conditions: Any) -> list[Grant]:
    rows = await session.execute(
        select(OAuthGrant, OAuthClient.name)
        .join(OAuthClient, OAuthClient.client_id == OAuthGrant.client_id)
        .where(OAuthGrant.user_id == user_id, OAuthGrant.revoked_at.is_(None), *conditions)
        .order_by(OAuthGrant.created_at.desc(), OAuthGrant.id)
    )
    return [
        Grant(
            id=row.id,
            client_id=row.client_id,
            client_name=name or row.client_id,
            scopes=tuple(row.scopes),
            resource=row.resource,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
        )
        for row, name in rows
    ]


def _client(row: OAuthClient) -> Client:
    return Client(
        id=row.client_id,
        kind=row.kind,  # type: ignore[arg-type] # one of them by the table's check
        metadata=ClientMetadata(
            redirect_uris=tuple(row.redirect_uris),
            token_endpoint_auth_method=row.token_endpoint_auth_method,  # type: ignore[arg-type] # pydantic checks it
            grant_types=tuple(row.grant_types),
            response_types=tuple(row.response_types),
            client_name=row.name,
            client_uri=row.client_uri or "",
            scope=" ".join(row.scopes),
        ),
        secret_hash=row.secret_hash,
    )

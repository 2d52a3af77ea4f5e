"""What the gateway does with grants and identities, for a user."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from auth_servers import PASSWORD, Site
from zentoria_auth.oauth import repository
from zentoria_auth.oauth.clients import COMMAND_LINE
from zentoria_auth.peer import Peer
from zentoria_auth.providers.claims import Claim
from zentoria_auth.sessions.service import ClientGrant

pytestmark = pytest.mark.asyncio


async def granted(site: Site, user_id: int) -> uuid.UUID:
    async with site.services.database.session() as session:
        return await repository.allow(session, user_id, COMMAND_LINE, "https://zentoria.test/mcp", ["files:read"])


async def test_grants_are_listed_and_taken_back(site: Site) -> None:
    anna = await site.owner()
    grant = await granted(site, anna.id)
    access = ClientGrant(COMMAND_LINE.id, grant, ("files:read",), "https://zentoria.test/mcp")
    tokens = await site.services.sessions.begin(anna, ["pwd"], Peer(), access)
    (shown,) = (await site.get("/me/grants", user_id=anna.id)).json()["items"]
    assert (shown["id"], shown["client_name"]) == (str(grant), "Zentoria command line")
    assert shown["scopes"] == ["files:read"]
    other = await granted_to_another(site)
    assert (await site.delete(f"/me/grants/{other}", user_id=anna.id)).status_code == 404
    assert (await site.delete(f"/me/grants/{grant}", user_id=anna.id)).status_code == 204
    assert (await site.delete(f"/me/grants/{grant}", user_id=anna.id)).status_code == 404
    assert (await site.get("/me/grants", user_id=anna.id)).json()["items"] == []
    (ended,) = site.rows("select end_reason from sessions where id = %s", tokens.sid)
    assert ended == ("grant_revoked",)


async def granted_to_another(site: Site) -> uuid.UUID:
    ((user_id,),) = site.rows("insert into users (email, role) values ('bob@example.org', 'member') returning id")
    return await granted(site, user_id)


async def test_identities_are_listed_and_taken_away_by_who_shows_again_who_they_are(site: Site) -> None:
    anna = await site.owner()
    accounts = site.services.providers.accounts
    await accounts.of(Claim("idp", "https://idp.example", "s", "a@example.org", email_verified=False), Peer(), anna.id)
    body = (await site.get("/me/identities", user_id=anna.id)).json()
    (shown,) = body["items"]
    assert (shown["provider"], shown["email"], body["providers"]) == ("idp", "a@example.org", [])
    path = f"/me/identities/{shown['id']}/remove"
    refused = await site.post(path, user_id=anna.id)
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/reauthentication-required")
    assert (await site.post(path, {"current_password": "wrong"}, user_id=anna.id)).status_code == 403
    assert (await site.post(path, {"current_password": PASSWORD}, user_id=anna.id)).status_code == 204
    assert (await site.post(path, {"current_password": PASSWORD}, user_id=anna.id)).status_code == 404
    assert (await site.get("/me/identities", user_id=anna.id)).json()["items"] == []
    assert "auth.identity_unlinked" in site.audited()


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/me/grants", "profile:read"),
        ("DELETE", f"/me/grants/{uuid.UUID(int=1)}", "sessions:read"),
        ("GET", "/me/identities", "sessions:read"),
        ("POST", f"/me/identities/{uuid.UUID(int=1)}/remove", "profile:read"),
    ],
)
async def test_each_has_its_scope(site: Site, method: str, path: str, scopes: str) -> None:
    anna = await site.owner()
    for headers, status in ((site.headers(anna.id, scopes=scopes), 403), (site.headers(), 401), ({}, 401)):
        arguments: dict[str, Any] = {"json": {}} if method == "POST" else {}
        response = await site.client.request(method, f"/internal/v1{path}", headers=headers, **arguments)
        assert response.status_code == status

"""The authorization server: what each endpoint does, without HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common import scopes as all_scopes
from zentoria_common.database import Database

from zentoria_auth import audit
from zentoria_auth.accounts import repository as accounts
from zentoria_auth.oauth import repository, requests
from zentoria_auth.oauth.clients import COMMAND_LINE, DEVICE_GRANT, Client, ClientMetadata, is_document_url
from zentoria_auth.oauth.documents import Documents
from zentoria_auth.oauth.errors import OAuthError
from zentoria_auth.oauth.requests import Answer, AuthorizationRequest, Offer, role_of
from zentoria_auth.oauth.tickets import Code, Consent, Device, DeviceCodes, Tickets
from zentoria_auth.peer import Peer
from zentoria_auth.sessions.service import Account, ClientGrant, RefusedToken, Sessions, SignedIn, Tokens
from zentoria_auth.tokens.access import AccessTokens, BadToken
from zentoria_auth.tokens.refresh import family_of


class AuthorizationServer:
    """Clients, consents, codes, tokens.

    Args:
        offer: what there is access to.
        database: has clients and grants.
        tickets: has what lives for minutes.
        documents: clients that describe themselves.
        sessions: sessions and their tokens.
        tokens: verifies access tokens.
    """

    def __init__(
        self,
        offer: Offer,
        database: Database,
        tickets: Tickets,
        documents: Documents,
        sessions: Sessions,
        tokens: AccessTokens,
    ) -> None:
        self.offer = offer
        self._database = database
        self._tickets = tickets
        self._documents = documents
        self._sessions = sessions
        self._tokens = tokens

    async def client(self, client_id: str | None, *, fetch: bool = False) -> Client:
        """Find a client.

        Args:
            client_id: as it was sent.
            fetch: whether its metadata document may be fetched. Only for who is signed in: else anybody could have this
                server call others.

        Raises:
            OAuthError: ``invalid_client``.
        """
        if not client_id or len(client_id) > 2048:
            raise OAuthError("invalid_client", "client_id is missing, or too long", 401)
        if client_id == COMMAND_LINE.id:
            async with self._database.session() as session:
                disabled = await repository.is_disabled(session, client_id)
            if not disabled:
                return COMMAND_LINE
        elif is_document_url(client_id):
            async with self._database.session() as session:
                disabled = await repository.is_disabled(session, client_id)
                known = None if fetch else await repository.find_client(session, client_id)
            if not disabled and fetch:
                return await self._documents.find(client_id)
            if not disabled and (found := await self._documents.kept(client_id) or known) is not None:
                return found
        elif "\0" not in client_id:
            async with self._database.session() as session:
                found = await repository.find_client(session, client_id)
            if found is not None and found.kind != "metadata":
                return found
        raise OAuthError("invalid_client", "no such client: register it, or use the URL of its metadata document", 401)

    async def authenticated(self, headers: Sequence[str], form: dict[str, str]) -> Client:
        """The client that sends a request to a back-channel endpoint.

        Raises:
            OAuthError: ``invalid_client`` or ``invalid_request``.
        """
        client_id, secret = requests.client_credentials(headers, form)
        client = await self.client(client_id)
        client.check_secret(secret)
        return client

    async def register(self, metadata: ClientMetadata, peer: Peer) -> tuple[Client, str | None]:
        """Register a client (RFC 7591)."""
        async with self._database.session() as session:
            client, secret = await repository.register(session, metadata)
            await audit.record(
                session,
                "oauth.client_registered",
                user_id=None,
                resource=("oauth_client", client.id),
                details={"name": client.name},
                peer=peer,
            )
        return client, secret

    async def begin(self, client: Client, request: AuthorizationRequest, user: SignedIn) -> Answer:
        """Answer from what the user allowed earlier, where that is enough and nobody else can pick up the answer.

        On the user's own machine any program may listen on a port or claim a scheme, so there the user is asked each
        time (RFC 8252 section 8.6).
        """
        async with self._database.session() as session:
            grant = await repository.live_grant(session, user.account.id, client.id, request.resource)
        if grant is None:
            return Answer(None)
        wanted = all_scopes.granted(role_of(user.account), request.scopes)
        remembered = request.redirect_uri.startswith("https://") and "consent" not in request.prompt
        if not remembered or not wanted or not wanted <= set(grant.scopes):
            return Answer(None, grant.scopes)
        return Answer(await self._code(request, user, grant.id, tuple(sorted(wanted))))

    async def ask(self, request: AuthorizationRequest, user: SignedIn) -> str:
        """Open a consent page; returns what its form carries."""
        return await self._tickets.open_consent(Consent(sid=str(user.sid), request=request))

    async def decide(
        self, ticket: str, user: SignedIn, scopes: Sequence[str] | None, peer: Peer
    ) -> tuple[AuthorizationRequest, str | None]:
        """Take what a consent page sends: the scopes that the user ticked, or None for a refusal.

        Returns:
            The request, and its code where the user allowed something.

        Raises:
            OAuthError: ``invalid_request``: the page is too old, was sent before, or is another session's.
        """
        consent = await self._tickets.take_consent(ticket)
        if consent is None or consent.sid != str(user.sid):
            raise OAuthError("invalid_request", "this page is too old, or was sent already: begin again at the program")
        request = consent.request
        client = await self.client(request.client_id)
        chosen = all_scopes.granted(role_of(user.account), set(scopes or ()) & set(request.scopes))
        if not chosen:
            await self._denied(user, client, request.resource, peer)
            return request, None
        grant_id = await self._allow(user, client, request.resource, tuple(sorted(chosen)), peer)
        return request, await self._code(request, user, grant_id, tuple(sorted(chosen)))

    async def exchange_code(self, client: Client, form: dict[str, str], peer: Peer) -> Tokens:
        """Give tokens for a code (OAuth 2.1 section 4.1.3). Whoever shows a code uses it up, even in vain.

        Raises:
            OAuthError: ``invalid_request``, ``invalid_grant`` or ``invalid_target``.
        """
        if not client.may("authorization_code"):
            raise OAuthError("unauthorized_client", "the client has not registered the authorization code grant")
        code = form.get("code")
        if code is None:
            raise OAuthError("invalid_request", "code is missing")
        taken = await self._tickets.take_code(code)
        if taken is None:
            raise OAuthError("invalid_grant", "the code is unknown or too old")
        kept = taken.code
        if taken.uses > 1:
            await self._replayed(kept, taken.sid, client, peer)
            raise OAuthError("invalid_grant", "the code was used before: all that came of it is revoked")
        if not self._tickets.is_fresh(kept):
            raise OAuthError("invalid_grant", "the code is unknown or too old")
        asked = kept.request
        if asked.client_id != client.id:
            raise OAuthError("invalid_grant", "the code is another client's")
        # OAuth 2.1 has dropped it from the token request; a client of OAuth 2.0 sends it, and it must fit then
        if form.get("redirect_uri", asked.redirect_uri) != asked.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is another than in the authorization request")
        requests.check_verifier(asked.code_challenge, form.get("code_verifier"))
        if "resource" in form and form["resource"] != asked.resource:
            raise OAuthError("invalid_target", "resource is another than in the authorization request")
        issued = await self._issue(client, kept.user_id, kept.grant_id, kept.scopes, asked.resource, kept.amr, peer)
        if not await self._tickets.code_spent(code, str(issued.sid)):
            await self._replayed(kept, str(issued.sid), client, peer)
            raise OAuthError("invalid_grant", "the code was used twice at once: all that came of it is revoked")
        return issued

    async def refresh(self, client: Client, form: dict[str, str], peer: Peer) -> Tokens:
        """Change a refresh token.

        Raises:
            OAuthError: ``invalid_request``, ``invalid_grant``, ``invalid_scope`` or ``invalid_target``.
        """
        if not client.may("refresh_token"):
            raise OAuthError("unauthorized_client", "the client has not registered the refresh_token grant")
        token = form.get("refresh_token")
        if token is None:
            raise OAuthError("invalid_request", "refresh_token is missing")
        narrowed = None
        if "scope" in form:
            narrowed = requests.scopes_of(client, form["scope"], self.offer)
        audience = requests.resource_of(form["resource"], self.offer) if "resource" in form else None
        try:
            return await self._sessions.refresh(token, peer, client_id=client.id, scopes=narrowed, audience=audience)
        except RefusedToken:
            raise OAuthError("invalid_grant", "the refresh token does not work, or is not for this use") from None

    async def begin_device(self, client: Client, form: dict[str, str]) -> DeviceCodes:
        """Let a device wait for its user (RFC 8628 section 3.1).

        Raises:
            OAuthError: ``unauthorized_client``, ``invalid_scope`` or ``invalid_target``.
        """
        if not client.may(DEVICE_GRANT):
            raise OAuthError("unauthorized_client", "the client has not registered the device_code grant")
        scopes = requests.scopes_of(client, form.get("scope"), self.offer)
        resource = requests.resource_of(form.get("resource"), self.offer)
        return await self._tickets.make_device(Device(client_id=client.id, scopes=scopes, resource=resource))

    async def device(self, user_code: str) -> tuple[Client, Device] | None:
        """The device that shows this code, and its client."""
        device = await self._tickets.find_device(user_code)
        return None if device is None else (await self.client(device.client_id), device)

    async def decide_device(self, user_code: str, user: SignedIn, scopes: Sequence[str] | None, peer: Peer) -> bool:
        """Answer a device: the scopes that the user ticked, or None for a refusal. False: it no longer waits.

        Raises:
            OAuthError: ``invalid_client``: the client is gone meanwhile.
        """
        found = await self.device(user_code)
        if found is None:
            return False
        client, device = found
        chosen = tuple(sorted(all_scopes.granted(role_of(user.account), set(scopes or ()) & set(device.scopes))))
        if not chosen:
            await self._denied(user, client, device.resource, peer)
            return await self._tickets.decide_device(user_code, device, approved=False)
        grant_id = await self._allow(user, client, device.resource, chosen, peer)
        answered = {"scopes": chosen, "user_id": user.account.id, "grant_id": str(grant_id), "amr": user.amr}
        return await self._tickets.decide_device(user_code, device.model_copy(update=answered), approved=True)

    async def exchange_device_code(self, client: Client, form: dict[str, str], peer: Peer) -> Tokens:
        """Answer a device's question (RFC 8628 section 3.5).

        Raises:
            OAuthError: ``authorization_pending``, ``slow_down``, ``access_denied``, ``expired_token``, ...
        """
        if "device_code" not in form:
            raise OAuthError("invalid_request", "device_code is missing")
        state, device = await self._tickets.poll_device(form["device_code"])
        if state == "early":
            raise OAuthError("slow_down", "wait 5 seconds longer between two questions from now on")
        if device is None:
            raise OAuthError("expired_token", "the device code is unknown or too old: begin again")
        if device.client_id != client.id:
            raise OAuthError("invalid_grant", "the device code is another client's")
        if state == "pending":
            raise OAuthError("authorization_pending", "the user has not answered yet")
        if state == "denied" or device.user_id is None or device.grant_id is None:
            raise OAuthError("access_denied", "the user has refused")
        return await self._issue(
            client, device.user_id, device.grant_id, device.scopes, device.resource, device.amr, peer
        )

    async def revoke_token(self, client: Client, form: dict[str, str], peer: Peer) -> None:
        """End the session of a token (RFC 7009). A token that is not this client's is passed over (section 2.1).

        Raises:
            OAuthError: ``invalid_request``.
        """
        if "token" not in form:
            raise OAuthError("invalid_request", "token is missing")
        token = form["token"]
        sid = family_of(token)
        if sid is None:
            try:
                claims = self._tokens.verify(token, self.offer.resources)
            except BadToken:
                return
            if claims.get("client_id") == client.id:
                await self._sessions.end(uuid.UUID(str(claims["sid"])), "revoked", peer)
            return
        async with self._database.session() as session:
            theirs = await repository.is_session_of(session, sid, client.id)
        if theirs:
            await self._sessions.end_by_token(token, peer)

    async def grants(self, user_id: int) -> Sequence[repository.Grant]:
        """What the user allowed."""
        async with self._database.session() as session:
            return await repository.list_grants(session, user_id)

    async def revoke_grant(self, user_id: int, grant_id: uuid.UUID, peer: Peer) -> bool:
        """Take back what the user allowed; ends the client's sessions. False: there is no such grant."""
        async with self._database.session() as session:
            client_id = await repository.revoke(session, user_id, grant_id)
            if client_id is None:
                return False
            await audit.record(
                session,
                "oauth.grant_revoked",
                user_id=user_id,
                resource=("oauth_grant", str(grant_id)),
                details={"client_id": client_id},
                peer=peer,
            )
        await self._sessions.end_grant(grant_id, "grant_revoked", peer)
        return True

    async def _issue(
        self,
        client: Client,
        user_id: int,
        grant_id: str,
        scopes: tuple[str, ...],
        resource: str,
        amr: tuple[str, ...],
        peer: Peer,
    ) -> Tokens:
        grant = ClientGrant(client.id, uuid.UUID(grant_id), scopes, resource)
        async with self._database.session() as session:
            user = await accounts.find(session, user_id=user_id)
            if user is None or user.disabled or not await repository.is_live(session, uuid.UUID(grant_id)):
                raise OAuthError("invalid_grant", "the user has taken back what was allowed, or is gone")
        account = Account(user.id, user.email, user.name, user.role)
        issued = await self._sessions.begin(account, amr, peer, grant)
        # Who takes a grant back ends the sessions that are there by then: this one may have come just after.
        async with self._database.session() as session:
            live = await repository.is_live(session, uuid.UUID(grant_id))
        if not live:
            await self._sessions.end(issued.sid, "grant_revoked", peer)
            raise OAuthError("invalid_grant", "the user has taken back what was allowed")
        return issued

    async def _replayed(self, code: Code, sid: str | None, client: Client, peer: Peer) -> None:
        """A code was shown twice: one of the two has stolen it (OAuth 2.1 section 4.1.3)."""
        if sid is not None:
            await self._sessions.end(uuid.UUID(sid), "code_replay", peer)
        async with self._database.session() as session:
            await audit.record(
                session,
                "oauth.code_replay",
                user_id=code.user_id,
                resource=("oauth_grant", code.grant_id),
                details={"client_id": code.request.client_id, "shown_by": client.id},
                severity="critical",
                peer=peer,
            )

    async def _code(
        self, request: AuthorizationRequest, user: SignedIn, grant: uuid.UUID, scopes: tuple[str, ...]
    ) -> str:
        return await self._tickets.make_code(
            Code(
                request=request,
                user_id=user.account.id,
                grant_id=str(grant),
                scopes=scopes,
                amr=user.amr,
                issued_at=self._tickets.now(),
            )
        )

    async def _allow(
        self, user: SignedIn, client: Client, resource: str, scopes: tuple[str, ...], peer: Peer
    ) -> uuid.UUID:
        async with self._database.session() as session:
            grant_id = await repository.allow(session, user.account.id, client, resource, scopes)
            await self._note(session, "oauth.consent_given", user, client, resource, scopes, peer)
        return grant_id

    async def _denied(self, user: SignedIn, client: Client, resource: str, peer: Peer) -> None:
        async with self._database.session() as session:
            await self._note(session, "oauth.consent_denied", user, client, resource, (), peer)

    async def _note(
        self,
        session: AsyncSession,
        action: str,
        user: SignedIn,
        client: Client,
        resource: str,
        scopes: tuple[str, ...],
        peer: Peer,
    ) -> None:
        await audit.record(
            session,
            action,
            user_id=user.account.id,
            resource=("oauth_client", client.id),
            details={"name": client.name, "scopes": list(scopes), "resource": resource},
            peer=peer,
            actor=f"session:{user.sid}",
        )

"""Sessions: begun at a sign-in, carried on by refresh tokens, ended one by one."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common import scopes as scope_names
from zentoria_common.database import Database
from zentoria_common.problems import Problem
from zentoria_common.redis import OUTAGES
from zentoria_schema.core import Session, User

from zentoria_auth import audit
from zentoria_auth.accounts import repository as accounts
from zentoria_auth.clock import Clock, moment
from zentoria_auth.peer import Peer
from zentoria_auth.sessions import browsers as cookies
from zentoria_auth.sessions import repository
from zentoria_auth.sessions.browsers import Browsers
from zentoria_auth.sessions.schemas import SessionShown, TokenAnswer, TokenUser
from zentoria_auth.tokens import access, refresh
from zentoria_auth.tokens.access import AccessTokens, Grant
from zentoria_auth.tokens.refresh import Outcome, RefreshFamilies

FRESH = 15 * 60
"""Seconds after a sign-in in which its session may change how one signs in."""


@dataclasses.dataclass(frozen=True)
class Account:
    """Whose session it is.

    Args:
        id: the account's.
        email: its address.
        name: its owner's.
        role: ``owner`` or ``member``.
    """

    id: int
    email: str
    name: str
    role: str


@dataclasses.dataclass(frozen=True)
class ClientGrant:
    """What an OAuth client was allowed.

    Args:
        client_id: its id.
        grant_id: the consent.
        scopes: of its tokens.
        audience: the resource that they are for.
    """

    client_id: str
    grant_id: uuid.UUID | None
    scopes: tuple[str, ...]
    audience: str


@dataclasses.dataclass(frozen=True)
class Tokens:
    """What a session gives: times in seconds.

    Args:
        sid: the session.
        account: whose it is.
        scopes: of the access token.
        access_token: for 15 minutes.
        expires_in: seconds that it lives.
        refresh_token: for the next one.
        refresh_expires_in: seconds that the session lives.
    """

    sid: uuid.UUID
    account: Account
    scopes: tuple[str, ...]
    access_token: str = dataclasses.field(repr=False)
    expires_in: int
    refresh_token: str = dataclasses.field(repr=False)
    refresh_expires_in: int

    def answer(self) -> TokenAnswer:
        """The form in which the gateway takes them."""
        return TokenAnswer(
            access_token=self.access_token,
            expires_in=self.expires_in,
            refresh_token=self.refresh_token,
            refresh_expires_in=self.refresh_expires_in,
            user=TokenUser(**dataclasses.asdict(self.account)),
        )


@dataclasses.dataclass(frozen=True)
class SignedIn:
    """Who is signed in in a browser.

    Args:
        sid: the session.
        account: whose it is.
        amr: how they showed it.
        authenticated_at: when, in seconds since the epoch.
    """

    sid: uuid.UUID
    account: Account
    amr: tuple[str, ...]
    authenticated_at: float


class RefusedToken(Problem):
    """A refresh token does not work. The answer never says which of the reasons it was."""

    def __init__(self) -> None:
        super().__init__(401, "this session is over: sign in again", kind="session-over")


class Sessions:
    """Sessions of all kinds.

    Args:
        database: where they are listed.
        families: of refresh tokens.
        browsers: cookies of our own pages.
        tokens: signs.
        clock: the time.
    """

    def __init__(
        self,
        database: Database,
        families: RefreshFamilies,
        browsers: Browsers,
        tokens: AccessTokens,
        clock: Clock,
    ) -> None:
        self._database = database
        self._families = families
        self._browsers = browsers
        self._tokens = tokens
        self._clock = clock

    @property
    def pages_audience(self) -> str:
        """What the sessions of our own pages are for."""
        return f"{self._tokens.issuer}/auth"

    async def begin(
        self, account: Account, amr: Collection[str], peer: Peer, client: ClientGrant | None = None
    ) -> Tokens:
        """Begin a session with tokens: the application's own, or an OAuth client's.

        Raises:
            Unavailable: database or Redis are away; nothing was begun.
        """
        row = self._row(account, amr, peer, refresh.LIFETIME)
        if client is not None:
            row.client_id, row.grant_id = client.client_id, client.grant_id
            row.scopes, row.resource = list(client.scopes), client.audience
        async with self._database.session() as session:
            await self._add(session, row)
            # Inside the transaction: without Redis there is no session, and no row that says so.
            token = await self._families.begin(row.id)
            await self._tell(session, row, account, peer)
        return self._issued(row, account, token, refresh.LIFETIME)

    async def begin_browser(self, account: Account, amr: Collection[str], peer: Peer) -> tuple[uuid.UUID, str]:
        """Begin a session of our own pages, and return its id and the cookie.

        Raises:
            Unavailable: database or Redis are away; nothing was begun.
        """
        row = self._row(account, amr, peer, cookies.LIFETIME)
        row.resource = self.pages_audience
        async with self._database.session() as session:
            await self._add(session, row)
            cookie = await self._browsers.begin(row.id)
            await self._tell(session, row, account, peer)
        return row.id, cookie

    async def browser(self, cookie: str) -> SignedIn | None:
        """Who is signed in in the browser with that cookie."""
        sid = await self._browsers.find(cookie)
        if sid is None:
            return None
        async with self._database.session() as session:
            found = await repository.live_with_user(session, sid, moment(self._clock()))
        if found is None or found[0].resource != self.pages_audience:
            return None
        row, user = found
        return SignedIn(row.id, _account(user), tuple(row.amr), row.authenticated_at.timestamp())

    async def refresh(
        self,
        token: str,
        peer: Peer,
        *,
        client_id: str | None = None,
        scopes: Sequence[str] | None = None,
        audience: str | None = None,
    ) -> Tokens:
        """Change a refresh token for its successor and a new access token.

        Args:
            token: as it came.
            peer: the client.
            client_id: the OAuth client that asks, None for the application; another one's token is refused.
            scopes: fewer scopes for this access token alone.
            audience: must be the session's, where it is given.

        Raises:
            RefusedToken: it is none, not this client's, was used before, or its session is over.
            Unavailable: database or Redis are away; the token is good as before.
        """
        sid = refresh.family_of(token)
        if sid is None:
            raise RefusedToken
        now = moment(self._clock())
        # The database first: a token that was spent, and then not answered, would look stolen at the next try.
        async with self._database.session() as session:
            found = await repository.live_with_user(session, sid, now)
            if found is not None:
                await repository.seen(session, sid, now, peer.ip, peer.user_agent)
        if found is not None and not _fits(found[0], client_id, scopes, audience):
            raise RefusedToken
        turned = await self._families.rotate(token)
        if turned.outcome in (Outcome.KILLED, Outcome.WORN):
            await self._killed(sid, turned.outcome, peer)
        if found is None or not turned.ok:
            raise RefusedToken
        row, user = found
        return self._issued(row, _account(user), turned.token, turned.expires_in, scopes)

    async def end(self, sid: uuid.UUID, reason: str, peer: Peer, *, user_id: int | None = None) -> bool:
        """End a session; False where there is no such live one (of that user)."""
        return bool(await self._end(reason, peer, sid=sid, user_id=user_id))

    async def end_by_token(self, token: str, peer: Peer) -> bool:
        """End the session of a refresh token; False where it is none that lives."""
        sid = refresh.family_of(token)
        # Only who has the token's secret may end it so: the family's id alone is no secret.
        if sid is None or not await self._families.knows(token):
            return False
        return await self.end(sid, "logout", peer)

    async def end_grant(self, grant_id: uuid.UUID, reason: str, peer: Peer) -> int:
        """End all sessions of a consent, and say how many those were."""
        return len(await self._end(reason, peer, grant_id=grant_id))

    async def end_all(self, user_id: int, reason: str, peer: Peer, *, but: uuid.UUID | None = None) -> int:
        """End all sessions of a user, but one perhaps, and say how many those were."""
        return len(await self._end(reason, peer, user_id=user_id, but=but))

    async def listed(self, user_id: int, current: uuid.UUID | None = None) -> list[SessionShown]:
        """A user's live sessions, the newest first."""
        async with self._database.session() as session:
            rows = await repository.listed(session, user_id, moment(self._clock()))
        return [self._shown(row, current) for row in rows]

    async def is_fresh(self, sid: uuid.UUID, user_id: int) -> bool:
        """Whether the user of that session signed in, or showed again who they are, in the last minutes."""
        now = moment(self._clock())
        async with self._database.session() as session:
            found = await repository.live_with_user(session, sid, now)
        if found is None or found[0].user_id != user_id or found[0].client_id is not None:
            return False
        return now - found[0].authenticated_at <= timedelta(seconds=FRESH)

    async def freshen(self, sid: uuid.UUID) -> None:
        """The user of that session showed again who they are."""
        async with self._database.session() as session:
            await repository.authenticated(session, sid, moment(self._clock()))

    async def _add(self, session: AsyncSession, row: Session) -> None:
        await repository.add(session, row)
        await accounts.signed_in(session, row.user_id, row.created_at)

    async def _tell(self, session: AsyncSession, row: Session, account: Account, peer: Peer) -> None:
        # Last in the transaction: the log's lock is everybody's.
        await audit.record(
            session,
            "auth.login",
            user_id=account.id,
            peer=peer,
            resource=("session", str(row.id)),
            details={"amr": list(row.amr), "client_id": row.client_id or access.WEB_CLIENT},
            actor=f"session:{row.id}",
        )

    async def _end(self, reason: str, peer: Peer, **wanted: Any) -> list[tuple[uuid.UUID, int]]:
        now = moment(self._clock())
        async with self._database.session() as session:
            ended = await repository.end(session, now, reason, **wanted)
            for sid, user_id in ended:
                await audit.record(
                    session,
                    "auth.logout" if reason == "logout" else "auth.session_ended",
                    user_id=user_id,
                    peer=peer,
                    resource=("session", str(sid)),
                    details={"reason": reason},
                )
        # The rows decide; what is left in Redis is of no use any more, and gone by itself in days.
        sids = [sid for sid, _ in ended]
        with contextlib.suppress(*OUTAGES):
            await self._families.end(*sids)
            await self._browsers.end(*sids)
        return ended

    async def _killed(self, sid: uuid.UUID, outcome: Outcome, peer: Peer) -> None:
        reuse = outcome is Outcome.KILLED
        async with self._database.session() as session:
            ended = await repository.end(session, moment(self._clock()), "refresh_reuse" if reuse else "worn", sid=sid)
            # One row, however often the token comes again: only the first one ends anything.
            for _, user_id in ended:
                await audit.record(
                    session,
                    "auth.refresh_reuse" if reuse else "auth.session_ended",
                    user_id=user_id,
                    peer=peer,
                    resource=("session", str(sid)),
                    details={"family": "ended"},
                    severity="critical" if reuse else "warning",
                )

    def _row(self, account: Account, amr: Collection[str], peer: Peer, lifetime: int) -> Session:
        now = moment(self._clock())
        return Session(
            id=uuid.uuid4(),
            user_id=account.id,
            scopes=[],
            amr=list(amr),
            ip_address=peer.ip,
            user_agent=peer.user_agent,
            authenticated_at=now,
            created_at=now,
            last_seen_at=now,
            expires_at=now + timedelta(seconds=lifetime),
        )

    def _issued(
        self, row: Session, account: Account, token: str, left: int, scopes: Sequence[str] | None = None
    ) -> Tokens:
        if row.client_id is None:
            allowed = scope_names.ROLES[cast("scope_names.Role", account.role)]
        else:
            # What the user may not do any more, the client may not either.
            allowed = scope_names.granted(cast("scope_names.Role", account.role), row.scopes)
        given = tuple(sorted(allowed if scopes is None else allowed & set(scopes)))
        grant = Grant(
            user_id=account.id,
            role=account.role,
            sid=row.id,
            scopes=given,
            amr=tuple(row.amr),
            client_id=row.client_id or access.WEB_CLIENT,
            audience=row.resource,
        )
        return Tokens(row.id, account, given, self._tokens.issue(grant), access.LIFETIME, token, left)

    def _shown(self, row: Session, current: uuid.UUID | None) -> SessionShown:
        return SessionShown(
            id=row.id,
            kind="client" if row.client_id else "pages" if row.resource == self.pages_audience else "web",
            client_id=row.client_id,
            name=row.name,
            scopes=list(row.scopes),
            ip_address=None if row.ip_address is None else str(row.ip_address),
            user_agent=row.user_agent,
            amr=list(row.amr),
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
            current=row.id == current,
        )


def _fits(row: Session, client_id: str | None, scopes: Sequence[str] | None, audience: str | None) -> bool:
    if row.client_id != client_id:
        return False
    if audience is not None and audience != row.resource:
        return False
    return client_id is None or scopes is None or set(scopes) <= set(row.scopes)


def _account(user: User) -> Account:
    return Account(user.id, user.email, user.name, user.role)

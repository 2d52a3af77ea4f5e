"""Links that work once: the first account, a further one, a new password. Whoever has the link may use it."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Literal, cast

from zentoria_common.database import Database
from zentoria_common.problems import Problem
from zentoria_schema.core import SetupLink

from zentoria_auth import audit
from zentoria_auth.accounts import repository as accounts
from zentoria_auth.accounts.repository import EmailTaken
from zentoria_auth.accounts.rules import RuleError, clean_name, normalise_email
from zentoria_auth.accounts.service import Accounts, Refused
from zentoria_auth.clock import Clock, moment
from zentoria_auth.peer import Peer
from zentoria_auth.sessions.service import Account
from zentoria_auth.setup import repository

LIFETIME = 3600
"""Seconds."""
Purpose = Literal["first_run", "invite", "reset"]

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class LinkOver(Problem):
    """The link was used, is too old, or never was one."""

    def __init__(self) -> None:
        super().__init__(410, "this link was used, is older than an hour, or there is a newer one", kind="link-over")


class OwnerExists(Problem):
    """The first account is there already."""

    def __init__(self) -> None:
        super().__init__(409, "an owner is there already: sign in, or reset the account", kind="owner-exists")


@dataclasses.dataclass(frozen=True)
class Link:
    """A new link.

    Args:
        url: for the person who gets it; the only place where its token stands.
        purpose: what it is for.
        expires_at: until when.
    """

    url: str = dataclasses.field(repr=False)
    purpose: Purpose
    expires_at: datetime


@dataclasses.dataclass(frozen=True)
class Offer:
    """What a link gives.

    Args:
        purpose: what it is for.
        email: of the account, empty where the person chooses it.
        name: of the account.
        expires_at: until when.
    """

    purpose: Purpose
    email: str
    name: str
    expires_at: datetime


@dataclasses.dataclass(frozen=True)
class Done:
    """What it made.

    Args:
        account: the account.
        complete: a password is all that is needed to sign in, so that the person may be signed in at once.
    """

    account: Account
    complete: bool


class Setup:
    """Links.

    Args:
        database: where they are kept.
        accounts: makes and changes accounts.
        public_url: what links begin with.
        clock: the time.
    """

    def __init__(self, database: Database, accounts_: Accounts, public_url: str, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts_
        self._public_url = public_url
        self._clock = clock

    async def first_run(self, peer: Peer, actor: str) -> Link:
        """A link for the first account, which owns the site. Older ones end.

        Raises:
            OwnerExists: somebody owns it.
        """
        async with self._database.session() as session:
            if await accounts.owner_exists(session):
                raise OwnerExists
        return await self._make("first_run", None, peer, actor)

    async def for_account(self, purpose: Literal["invite", "reset"], user_id: int, peer: Peer, actor: str) -> Link:
        """A link for an account's first or next password."""
        return await self._make(purpose, user_id, peer, actor)

    async def look(self, token: str) -> Offer:
        """What a link gives; it stays as it is.

        Raises:
            LinkOver: it was used, is too old, or never was one.
        """
        digest = _digest(token)
        if digest is None:
            raise LinkOver
        async with self._database.session() as session:
            link = await repository.find(session, digest, moment(self._clock()))
            if link is None or (link.purpose == "first_run" and await accounts.owner_exists(session)):
                raise LinkOver
            user = None if link.user_id is None else await accounts.find(session, user_id=link.user_id)
        if link.user_id is not None and (user is None or user.disabled):
            raise LinkOver
        return Offer(
            cast("Purpose", link.purpose), user.email if user else "", user.name if user else "", link.expires_at
        )

    async def complete(self, token: str, email: str, name: str, password: str, peer: Peer) -> Done:
        """Use a link.

        Args:
            token: of the link.
            email: of the first account; others have theirs.
            name: of the account; empty leaves it.
            password: its new one.
            peer: the client.

        Raises:
            LinkOver: it was used, is too old, or never was one.
            Refused: address, name or password are not taken; the link is good as before.
        """
        offer = await self.look(token)
        try:
            address = offer.email or normalise_email(email)
            kept = clean_name(name) or offer.name
        except RuleError as error:
            raise Refused(error) from None
        made = await self._accounts.new_hash(password, (address, kept))
        now = moment(self._clock())
        async with self._database.session() as session:
            await accounts.lock_first_account(session)
            link = await repository.use(session, _digest(token) or b"", now)
            if link is None:
                raise LinkOver
            if link.purpose == "first_run":
                if await accounts.owner_exists(session):
                    raise LinkOver
                try:
                    user = await accounts.create(
                        session, email=address, name=kept, role="owner", password_hash=made, now=now
                    )
                except EmailTaken:
                    raise Problem(409, "there is an account with that address already", kind="email-taken") from None
                await audit.record(
                    session, "user.created", user_id=user.id, peer=peer, details={"role": "owner"}, severity="critical"
                )
                account, complete = Account(user.id, user.email, user.name, user.role), True
            else:
                found = await accounts.find(session, user_id=link.user_id)
                if found is None or found.disabled:
                    raise LinkOver
                await accounts.set_password(session, found.id, made, now)
                if kept != found.name:
                    await accounts.set_name(session, found.id, kept)
                account, complete = Account(found.id, found.email, kept, found.role), not found.second_factor
            await audit.record(
                session, "auth.setup_link_used", user_id=account.id, peer=peer, details={"purpose": link.purpose},
                severity="notice",
            )  # fmt: skip
        return Done(account, complete)

    async def _make(self, purpose: Purpose, user_id: int | None, peer: Peer, actor: str) -> Link:
        token = secrets.token_urlsafe(32)
        now = moment(self._clock())
        link = SetupLink(
            purpose=purpose,
            token_hash=_digest(token) or b"",
            user_id=user_id,
            created_at=now,
            expires_at=now + timedelta(seconds=LIFETIME),
        )
        async with self._database.session() as session:
            await repository.replace(session, link)
            await audit.record(
                session, "auth.setup_link_made", user_id=user_id, peer=peer, details={"purpose": purpose},
                severity="notice", actor=actor, resource=("setup_link", str(link.id)),
            )  # fmt: skip
        return Link(f"{self._public_url}/auth/setup?token={token}", purpose, link.expires_at)


def _digest(token: str) -> bytes | None:
    return hashlib.sha256(token.encode()).digest() if _TOKEN.fullmatch(token) else None

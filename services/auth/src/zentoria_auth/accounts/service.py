"""What a person changes of their own account, and what an administrator does from the workstation."""

from __future__ import annotations

import uuid

from zentoria_common.database import Database
from zentoria_common.problems import Problem

from zentoria_auth import audit
from zentoria_auth.accounts import repository
from zentoria_auth.accounts.hashing import PasswordHasher
from zentoria_auth.accounts.repository import Candidate, EmailTaken
from zentoria_auth.accounts.rules import RuleError, clean_name, normalise_email
from zentoria_auth.accounts.schemas import Account, Me, Role
from zentoria_auth.clock import Clock, moment
from zentoria_auth.factors import repository as factors
from zentoria_auth.peer import Peer
from zentoria_auth.sessions.service import Sessions
from zentoria_auth.signin.throttle import Throttle


class Refused(Problem):
    """What was given is not taken; the text says why, for the person who gave it."""

    def __init__(self, error: RuleError) -> None:
        super().__init__(422, str(error), kind="not-taken")


class NoAccount(Problem):
    """There is no such account."""

    def __init__(self) -> None:
        super().__init__(404, "there is no such account")


class Accounts:
    """Accounts.

    Args:
        database: where they are kept.
        hasher: passwords.
        sessions: end with what they were begun by.
        throttle: delays, which a reset takes away.
        clock: the time.
    """

    def __init__(
        self, database: Database, hasher: PasswordHasher, sessions: Sessions, throttle: Throttle, clock: Clock
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._sessions = sessions
        self._throttle = throttle
        self._clock = clock

    async def me(self, user_id: int) -> Me:
        """One's own account.

        Raises:
            NoAccount: it is gone.
        """
        async with self._database.session() as session:
            found = await repository.me(session, user_id)
        if found is None:
            raise NoAccount
        return found

    async def rename(self, user_id: int, name: str) -> Me:
        """Change one's name.

        Raises:
            Refused: it is too long.
            NoAccount: the account is gone.
        """
        try:
            kept = clean_name(name)
        except RuleError as error:
            raise Refused(error) from None
        async with self._database.session() as session:
            await repository.set_name(session, user_id, kept)
        return await self.me(user_id)

    async def new_hash(self, password: str, about: tuple[str, ...]) -> str:
        """The hash of a password that somebody chose.

        Raises:
            Refused: it is too short or too easy to guess.
        """
        try:
            normal = await self._hasher.check_new(password, about)
        except RuleError as error:
            raise Refused(error) from None
        return await self._hasher.hash(normal)

    async def change_password(self, user_id: int, password: str, peer: Peer, actor: str, but: uuid.UUID | None) -> int:
        """Set a new password, end all other sessions, and say how many those were.

        Raises:
            Refused: it is too short or too easy to guess.
            NoAccount: the account is gone.
        """
        me = await self.me(user_id)
        made = await self.new_hash(password, (me.email, me.name))
        async with self._database.session() as session:
            await repository.set_password(session, user_id, made, moment(self._clock()))
            await audit.record(
                session, "auth.password_changed", user_id=user_id, peer=peer, severity="notice", actor=actor
            )
        return await self._sessions.end_all(user_id, "password_changed", peer, but=but)

    async def create(self, email: str, name: str, role: Role, peer: Peer, actor: str) -> Account:
        """Make an account without a password; a link gives it one.

        Raises:
            Refused: the address is none, or the name too long.
            Problem: 409, there is one with that address.
        """
        try:
            address, kept = normalise_email(email), clean_name(name)
        except RuleError as error:
            raise Refused(error) from None
        async with self._database.session() as session:
            try:
                user = await repository.create(
                    session, email=address, name=kept, role=role, password_hash=None, now=moment(self._clock())
                )
            except EmailTaken:
                raise Problem(409, "there is an account with that address already", kind="email-taken") from None
            await audit.record(
                session, "user.created", user_id=user.id, peer=peer, details={"role": role}, severity="notice",
                actor=actor,
            )  # fmt: skip
            return repository.shown(user)

    async def listed(self) -> list[Account]:
        """Every account."""
        async with self._database.session() as session:
            return await repository.all_accounts(session)

    async def find(self, email: str) -> Candidate:
        """The account with that address.

        Raises:
            Refused: it is no address.
            NoAccount: there is none.
        """
        try:
            address = normalise_email(email)
        except RuleError as error:
            raise Refused(error) from None
        async with self._database.session() as session:
            found = await repository.find(session, email=address)
        if found is None:
            raise NoAccount
        return found

    async def disable(self, email: str, peer: Peer, actor: str) -> None:
        """Nobody signs in to that account any more, and all its sessions end.

        Raises:
            NoAccount: there is none.
            Problem: 409, it is the last owner that can sign in.
        """
        found = await self.find(email)
        async with self._database.session() as session:
            await repository.lock_first_account(session)
            if found.role == "owner" and not found.disabled and await repository.active_owners(session) < 2:
                raise Problem(409, "this is the last owner: make another one first", kind="last-owner")
            await repository.set_disabled(session, found.id, moment(self._clock()))
            await audit.record(session, "user.disabled", user_id=found.id, peer=peer, severity="warning", actor=actor)
        await self._sessions.end_all(found.id, "user_disabled", peer)

    async def enable(self, email: str, peer: Peer, actor: str) -> None:
        """That account can be signed in to again.

        Raises:
            NoAccount: there is none.
        """
        found = await self.find(email)
        async with self._database.session() as session:
            await repository.set_disabled(session, found.id, None)
            await audit.record(session, "user.enabled", user_id=found.id, peer=peer, severity="warning", actor=actor)

    async def reset(self, email: str, peer: Peer, actor: str, *, second_factors: bool) -> Candidate:
        """Take an account's password away, its second factors too if that is wanted, its sessions and its delays.

        Raises:
            NoAccount: there is none.
        """
        found = await self.find(email)
        async with self._database.session() as session:
            await repository.drop_password(session, found.id)
            if second_factors:
                await factors.remove_all(session, found.id)
            await audit.record(
                session,
                "user.reset",
                user_id=found.id,
                peer=peer,
                details={"second_factors": second_factors},
                severity="warning",
                actor=actor,
            )
        await self._sessions.end_all(found.id, "user_reset", peer)
        await self._throttle.forget(found.email)
        return found

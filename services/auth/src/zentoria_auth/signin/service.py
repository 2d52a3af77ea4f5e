"""Sign-in: the first step, the second where one is set up, and what is written down of both.

Whatever is wrong, the answer is the same, and takes the same work: a password is hashed for an address that nobody has.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zentoria_common.database import Database
from zentoria_common.problems import Problem

from zentoria_auth import audit
from zentoria_auth.accounts import repository as accounts
from zentoria_auth.accounts.hashing import PasswordHasher, Verdict
from zentoria_auth.accounts.repository import Candidate
from zentoria_auth.accounts.rules import MAX_EMAIL, RuleError, normalise_email, normalise_password
from zentoria_auth.factors import passkeys as passkey_words
from zentoria_auth.factors.passkeys import Passkeys, Question, WrongPasskey
from zentoria_auth.factors.service import Factors
from zentoria_auth.peer import Peer
from zentoria_auth.sessions.service import Account
from zentoria_auth.signin.pending import Pending, PendingSteps
from zentoria_auth.signin.throttle import Attempt, Throttle

UNKNOWN_ADDRESS = "unknown"


class PasswordSource(Protocol):
    """Another place that knows passwords: a directory. It is asked where we have no password of that account."""

    async def user_for(self, name: str, password: str, peer: Peer) -> int | None:
        """The account of ours that belongs to name and password, or None."""


@dataclass(frozen=True)
class Passed:
    """Somebody showed who they are.

    Args:
        account: who.
        amr: how, in RFC 8176's words.
    """

    account: Account
    amr: tuple[str, ...]


@dataclass(frozen=True)
class StepNeeded:
    """The password was right, and is not enough.

    Args:
        challenge: stands for the first step in the second.
        factors: what will do: ``totp``, ``passkey``, ``recovery``.
    """

    challenge: str
    factors: tuple[str, ...]


class BadCredentials(Problem):
    """Name or password are wrong; which of them, nobody is told."""

    def __init__(self) -> None:
        super().__init__(401, "name or password are not right", kind="bad-credentials")


class WrongCode(Problem):
    """The code of the second step is wrong, or was used."""

    def __init__(self, challenge: str, factors: Sequence[str]) -> None:
        super().__init__(
            401, "this code is not right", kind="otp-required", challenge=challenge, factors=list(factors), retry=True
        )


class TooMany(Problem):
    """Too many attempts: come again later."""

    def __init__(self, wait: float) -> None:
        seconds = max(1, math.ceil(wait))
        super().__init__(
            429,
            f"too many attempts: try again in {seconds} seconds",
            kind="too-many-attempts",
            headers={"retry-after": str(seconds)},
            retry_after=seconds,
        )
        self.seconds = seconds


def step_problem(step: StepNeeded) -> Problem:
    """The same for a program."""
    return Problem(
        401,
        "a second factor is needed: send `challenge` with `otp`, or with `passkey`",
        kind="otp-required",
        challenge=step.challenge,
        factors=list(step.factors),
    )


class SignIn:
    """Who somebody is.

    Args:
        database: accounts.
        hasher: passwords.
        throttle: who may try.
        factors: codes.
        passkeys: passkeys.
        pending: keeps the first step until the second.
        sources: other places that know passwords.
    """

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        throttle: Throttle,
        factors: Factors,
        passkeys: Passkeys,
        pending: PendingSteps,
        sources: Sequence[PasswordSource] = (),
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._throttle = throttle
        self._factors = factors
        self._passkeys = passkeys
        self._pending = pending
        self._sources = tuple(sources)

    async def password(self, name: str, password: str, peer: Peer, code: str | None = None) -> Passed | StepNeeded:
        """Sign in with a password.

        Args:
            name: the account's address.
            password: as typed.
            peer: the client.
            code: of the second factor, where it came along.

        Raises:
            BadCredentials: wrong, whatever is.
            WrongCode: the password was right, the code was not.
            TooMany: come again later.
            Unavailable: database or Redis are away.
        """
        key, usable = _name(name)
        attempt = await self._charge(key, peer)
        async with self._database.session() as session:
            candidate = await accounts.find(session, email=key) if usable else None
        # other places are asked for what was counted, not for what was typed: no second spelling is a second account
        candidate, why = await self._check(candidate, key, password, peer)
        if candidate is None:
            await self._failed(why[1], why[0], attempt, peer)
            raise BadCredentials
        first = ("pwd",)
        if not candidate.second_factor:
            return await self._passed(candidate, first, attempt, key, peer)
        if code is None:
            await self._throttle.give_back(attempt)
            return await self._step(candidate, first)
        return await self._second(candidate, first, code, attempt, key, peer, None)

    async def second(self, challenge: str, code: str, peer: Peer) -> Passed:
        """The second step: a code of an app, or a recovery code.

        Raises:
            BadCredentials: the first step is too long ago.
            WrongCode: the code is wrong, or was used.
            TooMany: come again later.
            Unavailable: database or Redis are away.
        """
        waiting = await self._pending.find(challenge)
        if waiting is None:
            raise Problem(401, "this took too long: begin again", kind="bad-credentials")
        attempt = await self._charge(waiting.email, peer)
        async with self._database.session() as session:
            candidate = await accounts.find(session, user_id=waiting.user_id)
        if candidate is None or candidate.disabled:
            raise BadCredentials
        return await self._second(candidate, waiting.amr, code, attempt, waiting.email, peer, challenge)

    async def passkey(self, question: str, credential: dict[str, Any], peer: Peer) -> Passed:
        """Sign in with a passkey. It is both steps in one.

        Raises:
            WrongPasskey: it is none of ours, or did not answer what was asked.
            TooMany: come again later.
            Unavailable: database or Redis are away.
        """
        attempt = await self._charge(None, peer)
        try:
            shown = await self._passkeys.sign_in(question, credential)
        except WrongPasskey:
            await self._failed(None, "passkey", attempt, peer)
            raise
        async with self._database.session() as session:
            candidate = await accounts.find(session, user_id=shown.user_id)
        if candidate is None or candidate.disabled:
            raise WrongPasskey
        return await self._passed(candidate, passkey_words.AMR, attempt, candidate.email, peer)

    async def ask_for_passkey(self, peer: Peer) -> Question:
        """Ask a browser for a passkey.

        Raises:
            TooMany: that address asked too often.
        """
        wait = await self._throttle.question(peer.ip or UNKNOWN_ADDRESS)
        if wait > 0:
            raise TooMany(wait)
        return await self._passkeys.ask_to_sign_in()

    async def elsewhere(self, user_id: int, amr: Sequence[str], *, second: bool = True) -> Passed | StepNeeded:
        """Somebody was signed in by a provider; our own second factor is asked for all the same.

        Args:
            user_id: the account.
            amr: how they showed it there.
            second: False where the provider saw a second factor that we trust.

        Raises:
            BadCredentials: the account is disabled or gone.
        """
        async with self._database.session() as session:
            candidate = await accounts.find(session, user_id=user_id)
        if candidate is None or candidate.disabled:
            raise BadCredentials
        if second and candidate.second_factor:
            return await self._step(candidate, tuple(amr))
        return Passed(_account(candidate), tuple(amr))

    async def waiting(self, challenge: str) -> StepNeeded | None:
        """The second step that a challenge stands for, to be shown again."""
        waiting = await self._pending.find(challenge)
        if waiting is None:
            return None
        async with self._database.session() as session:
            candidate = await accounts.find(session, user_id=waiting.user_id)
        return None if candidate is None else StepNeeded(challenge, _factors(candidate))

    async def confirm(self, user_id: int, password: str, peer: Peer) -> bool:
        """Whether somebody who is signed in knows the password of the account.

        Raises:
            TooMany: come again later.
        """
        async with self._database.session() as session:
            candidate = await accounts.find(session, user_id=user_id)
        if candidate is None:
            return False
        attempt = await self._charge(candidate.email, peer)
        found, why = await self._check(candidate, candidate.email, password, peer)
        if found is None or found.id != user_id:
            await self._failed(user_id, why[0], attempt, peer)
            return False
        await self._throttle.succeeded(attempt, candidate.email, peer.ip or UNKNOWN_ADDRESS)
        return True

    async def _charge(self, account: str | None, peer: Peer) -> Attempt:
        attempt = await self._throttle.attempt(account, peer.ip or UNKNOWN_ADDRESS)
        if not attempt.allowed:
            raise TooMany(attempt.wait)
        return attempt

    async def _check(
        self, candidate: Candidate | None, name: str, password: str, peer: Peer
    ) -> tuple[Candidate | None, tuple[str, int | None]]:
        """The account that the password opens, else why not and whose it would have been."""
        whose = candidate.id if candidate else None
        try:
            normal = normalise_password(password)
        except RuleError:
            await self._hasher.check("", None)
            return None, ("password", whose)
        usable = candidate is not None and not candidate.disabled
        stored = candidate.password_hash if candidate is not None and usable else None
        verdict: Verdict = await self._hasher.check(normal, stored)
        if candidate is not None and verdict.matches:
            if verdict.outdated and stored is not None:
                await self._rehash(candidate.id, stored, normal)
            return candidate, ("", whose)
        if stored is None and (candidate is None or usable):
            for source in self._sources:
                if (user_id := await source.user_for(name, password, peer)) is not None:
                    async with self._database.session() as session:
                        found = await accounts.find(session, user_id=user_id)
                    if found is not None and not found.disabled:
                        return found, ("", found.id)
        if candidate is None:
            return None, ("account", None)
        return None, ("disabled" if candidate.disabled else "password", whose)

    async def _rehash(self, user_id: int, stored: str, password: str) -> None:
        better = await self._hasher.hash(password)
        async with self._database.session() as session:
            await accounts.rehash(session, user_id, stored, better)

    async def _second(
        self,
        candidate: Candidate,
        first: tuple[str, ...],
        code: str,
        attempt: Attempt,
        key: str,
        peer: Peer,
        challenge: str | None,
    ) -> Passed:
        async with self._database.session() as session:
            how = await self._factors.verify(session, candidate.id, code, peer)
        if how is None:
            await self._failed(candidate.id, "code", attempt, peer)
            again = challenge or (await self._step(candidate, first)).challenge
            raise WrongCode(again, _factors(candidate))
        if challenge is not None and not await self._pending.finish(challenge):
            raise BadCredentials
        return await self._passed(candidate, (*first, how, "mfa"), attempt, key, peer)

    async def _passed(
        self, candidate: Candidate, amr: tuple[str, ...], attempt: Attempt, key: str, peer: Peer
    ) -> Passed:
        await self._throttle.succeeded(attempt, key, peer.ip or UNKNOWN_ADDRESS)
        return Passed(_account(candidate), amr)

    async def _step(self, candidate: Candidate, first: tuple[str, ...]) -> StepNeeded:
        challenge = await self._pending.begin(Pending(candidate.id, candidate.email, first))
        return StepNeeded(challenge, _factors(candidate))

    async def _failed(self, user_id: int | None, why: str, attempt: Attempt, peer: Peer) -> None:
        async with self._database.session() as session:
            await audit.record(
                session,
                "auth.login_failed",
                user_id=user_id,
                peer=peer,
                # Never the name that was typed: sometimes it is the password.
                details={"wrong": why},
                severity="warning",
            )
            if attempt.locked:
                await audit.record(
                    session, "auth.delay_began", user_id=user_id, peer=peer, severity="warning", details={"wrong": why}
                )


def _name(name: str) -> tuple[str, bool]:
    """What attempts at a name are counted under, and whether it can be an account's address at all.

    A directory compares names without regard to case, width and blanks (RFC 4518): all spellings of one are one here.
    """
    try:
        return normalise_email(name), True
    except RuleError:
        seen = "".join(each for each in name[: 4 * MAX_EMAIL] if unicodedata.category(each) != "Cf")
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).lower())
        return " ".join(plain.split())[:MAX_EMAIL], False


def _factors(candidate: Candidate) -> tuple[str, ...]:
    return (
        *(("totp",) if candidate.totp else ()),
        *(("passkey",) if candidate.passkeys else ()),
        "recovery",
    )


def _account(candidate: Candidate) -> Account:
    return Account(candidate.id, candidate.email, candidate.name, candidate.role)

"""Authenticator apps and recovery codes of a user: set up, used, taken away."""

from __future__ import annotations

import dataclasses

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from zentoria_common.database import Database
from zentoria_common.problems import Problem

from zentoria_auth import audit
from zentoria_auth.clock import Clock, moment
from zentoria_auth.factors import recovery, repository, totp
from zentoria_auth.peer import Peer
from zentoria_auth.sealing import CannotOpen, Sealer

_log = structlog.stdlib.get_logger("zentoria_auth.factors")


@dataclasses.dataclass(frozen=True)
class Enrolment:
    """What an authenticator app is given.

    Args:
        secret: in Base32, to be typed.
        uri: the same as ``otpauth:`` address, for a QR code.
    """

    secret: str = dataclasses.field(repr=False)
    uri: str = dataclasses.field(repr=False)


class Factors:
    """Codes of users.

    Args:
        database: where they are kept.
        sealer: seals the secrets.
        issuer: what an authenticator app shows beside the account.
        clock: the time.
    """

    def __init__(self, database: Database, sealer: Sealer, issuer: str, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._issuer = issuer
        self._clock = clock

    async def verify(self, session: AsyncSession, user_id: int, code: str, peer: Peer) -> str | None:
        """Use a code of an app, or a recovery code: once, and never again.

        Args:
            session: the transaction of the sign-in.
            user_id: whose.
            code: as typed.
            peer: the client.

        Returns:
            How it was shown, in RFC 8176's words (``otp``), or ``recovery``; None where the code is wrong.
        """
        now = self._clock()
        factor = await repository.totp(session, user_id)
        if factor is not None and factor.confirmed_at is not None:
            step = totp.step_of(self._open(factor.secret, user_id), code, now)
            if step is not None:
                return "otp" if await repository.use_step(session, user_id, step) else None
        digest = recovery.digest(code)
        if digest is not None and await repository.use_code(session, user_id, digest, moment(now)):
            left = await repository.codes_left(session, user_id)
            await audit.record(
                session,
                "auth.recovery_code_used",
                user_id=user_id,
                peer=peer,
                details={"left": left},
                severity="notice",
            )
            return "recovery"
        return None

    async def begin_totp(self, user_id: int, account: str) -> Enrolment:
        """Give an app its secret. It counts when a code of it was shown (:meth:`confirm_totp`).

        Raises:
            Problem: 409, an app is there already.
        """
        secret = totp.new_secret()
        sealed = self._sealer.seal(secret.encode(), _use(user_id))
        async with self._database.session() as session:
            if not await repository.begin_totp(session, user_id, sealed, moment(self._clock())):
                raise Problem(409, "an authenticator app is set up already: remove it first", kind="totp-exists")
        return Enrolment(secret, totp.uri(secret, account, self._issuer))

    async def pending_totp(self, user_id: int, account: str) -> Enrolment | None:
        """The one that waits for its first code, to be shown again."""
        async with self._database.session() as session:
            factor = await repository.totp(session, user_id)
        if factor is None or factor.confirmed_at is not None:
            return None
        secret = self._open(factor.secret, user_id)
        return Enrolment(secret, totp.uri(secret, account, self._issuer))

    async def confirm_totp(self, user_id: int, code: str, peer: Peer, actor: str) -> tuple[str, ...]:
        """The app showed its first code: from now on it is asked for.

        Returns:
            New recovery codes, where there were none; they are shown once.

        Raises:
            Problem: 422, the code is wrong, or nothing waits for one.
        """
        async with self._database.session() as session:
            factor = await repository.totp(session, user_id)
            now = self._clock()
            step = None
            if factor is not None and factor.confirmed_at is None:
                step = totp.step_of(self._open(factor.secret, user_id), code, now)
            if step is None or not await repository.use_step(session, user_id, step, confirm=moment(now)):
                raise Problem(422, "this code is not right: take the one that the app shows now", kind="wrong-code")
            codes = await self.first_codes(session, user_id)
            await audit.record(session, "auth.totp_added", user_id=user_id, peer=peer, severity="notice", actor=actor)
        return codes

    async def remove_totp(self, user_id: int, peer: Peer, actor: str) -> None:
        """Take the app away.

        Raises:
            Problem: 404, there is none.
        """
        async with self._database.session() as session:
            if not await repository.remove_totp(session, user_id):
                raise Problem(404, "no authenticator app is set up")
            await repository.tidy(session, user_id)
            await audit.record(
                session, "auth.totp_removed", user_id=user_id, peer=peer, severity="warning", actor=actor
            )

    async def new_codes(self, user_id: int, peer: Peer, actor: str) -> tuple[str, ...]:
        """Ten new recovery codes; the old ones are worth nothing any more."""
        codes = recovery.new_codes()
        async with self._database.session() as session:
            await repository.replace_codes(session, user_id, recovery.digests(codes), moment(self._clock()))
            await audit.record(
                session, "auth.recovery_codes_made", user_id=user_id, peer=peer, severity="notice", actor=actor
            )
        return codes

    async def first_codes(self, session: AsyncSession, user_id: int) -> tuple[str, ...]:
        """Recovery codes with the first second factor; none where some are left."""
        if await repository.codes_left(session, user_id):
            return ()
        codes = recovery.new_codes()
        await repository.replace_codes(session, user_id, recovery.digests(codes), moment(self._clock()))
        return codes

    def _open(self, sealed: bytes, user_id: int) -> str:
        try:
            return self._sealer.open(sealed, _use(user_id)).decode()
        except CannotOpen as error:
            # The key was lost or is another site's. Recovery codes and passkeys still work; a reset makes all new.
            _log.error("a one-time secret does not open", error=str(error))
            raise Problem(
                503, "one-time codes cannot be checked: use a recovery code or a passkey", kind="totp-unreadable"
            ) from None


def _use(user_id: int) -> str:
    return f"totp:{user_id}"

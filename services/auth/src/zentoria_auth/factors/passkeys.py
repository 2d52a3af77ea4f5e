"""Passkeys (W3C WebAuthn level 3): added, used to sign in, listed, removed.

A passkey that verified its user (a fingerprint, a PIN) is two factors in one: who has it needs no password, and no
code. The browser names the passkey itself, so that nobody types an address, and we say nothing of who has one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

import webauthn
from redis.asyncio import Redis
from sqlalchemy.exc import IntegrityError
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from zentoria_common.database import Database
from zentoria_common.problems import Problem
from zentoria_schema.core import Passkey

from zentoria_auth import audit
from zentoria_auth.clock import Clock, moment
from zentoria_auth.factors import repository
from zentoria_auth.factors.service import Factors
from zentoria_auth.peer import Peer

LIFETIME = 300
"""Seconds that a question to a browser stays open."""
MAX_PASSKEYS = 20
MAX_CREDENTIAL = 16_384
AMR = ("pop", "user", "mfa")
"""What a passkey shows, in RFC 8176's words: a key was there, and the device knew its user."""
_TRANSPORTS = frozenset(each.value for each in AuthenticatorTransport)


@dataclasses.dataclass(frozen=True)
class Question:
    """What a browser is asked.

    Args:
        id: of the question; it is good once.
        options: for ``navigator.credentials``, as JSON.
    """

    id: str
    options: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Shown:
    """Who showed a passkey.

    Args:
        user_id: whose it is.
        passkey_id: which.
    """

    user_id: int
    passkey_id: uuid.UUID


class WrongPasskey(Problem):
    """What came back is not what was asked for. The answer does not say what was wrong with it."""

    def __init__(self, status: int = 401) -> None:
        super().__init__(status, "this passkey could not be used here", kind="wrong-passkey")


class Passkeys:
    """Passkeys of users.

    Args:
        database: where they are kept.
        redis: keeps the questions that are open.
        prefix: of its keys.
        host: the relying party's id: the site's host name.
        origin: the only origin that answers are taken from.
        factors: makes recovery codes with the first passkey.
        clock: the time.
    """

    def __init__(
        self, database: Database, redis: Redis, prefix: str, host: str, origin: str, factors: Factors, clock: Clock
    ) -> None:
        self._database = database
        self._redis = redis
        self._prefix = prefix
        self._host, self._origin = host, origin
        self._factors = factors
        self._clock = clock

    async def ask_to_sign_in(self) -> Question:
        """Ask a browser for any passkey of this site."""
        options = webauthn.generate_authentication_options(
            rp_id=self._host, user_verification=UserVerificationRequirement.REQUIRED
        )
        return await self._asked("get", options.challenge, webauthn.options_to_json(options))

    async def sign_in(self, question: str, credential: dict[str, Any]) -> Shown:
        """Check what the browser answered.

        Raises:
            WrongPasskey: the question is not open any more, or the answer is wrong.
        """
        challenge = await self._answered("get", question)
        identifier = _credential_id(credential)
        async with self._database.session() as session:
            found = await repository.passkey_by_credential(session, identifier)
            if found is None:
                raise WrongPasskey
            passkey, user = found
            handle = credential.get("response", {}).get("userHandle")
            if user.disabled_at is not None or (handle and _decoded(handle) != user.handle):
                raise WrongPasskey
            try:
                verified = webauthn.verify_authentication_response(
                    credential=credential,
                    expected_challenge=challenge,
                    expected_rp_id=self._host,
                    expected_origin=self._origin,
                    credential_public_key=passkey.public_key,
                    credential_current_sign_count=passkey.sign_count,
                    require_user_verification=True,
                )
            except (WebAuthnException, ValueError, TypeError, KeyError, RecursionError):
                raise WrongPasskey from None
            passkey.sign_count = verified.new_sign_count
            passkey.backed_up = verified.credential_backed_up
            passkey.last_used_at = moment(self._clock())
            return Shown(user.id, passkey.id)

    async def ask_to_add(self, user_id: int, handle: bytes, email: str, name: str) -> Question:
        """Ask a browser to make a passkey.

        Raises:
            Problem: 409, the user has as many as there can be.
        """
        async with self._database.session() as session:
            present = await repository.passkeys(session, user_id)
        if len(present) >= MAX_PASSKEYS:
            raise Problem(409, f"there are {MAX_PASSKEYS} passkeys already: remove one first", kind="too-many-passkeys")
        options = webauthn.generate_registration_options(
            rp_id=self._host,
            rp_name="Zentoria",
            user_id=handle,
            user_name=email,
            user_display_name=name or email,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=one.credential_id) for one in present],
        )
        return await self._asked(f"create:{user_id}", options.challenge, webauthn.options_to_json(options))

    async def add(
        self, user_id: int, question: str, credential: dict[str, Any], name: str, peer: Peer, actor: str
    ) -> tuple[uuid.UUID, tuple[str, ...]]:
        """Keep the passkey that the browser made.

        Returns:
            Its id, and new recovery codes where there were none; those are shown once.

        Raises:
            WrongPasskey: the question is not open any more, or the answer is wrong.
        """
        challenge = await self._answered(f"create:{user_id}", question)
        _credential_id(credential)
        try:
            verified = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError, RecursionError):
            raise WrongPasskey(422) from None
        passkey = Passkey(
            id=uuid.uuid4(),
            user_id=user_id,
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            transports=_transports(credential),
            aaguid=uuid.UUID(verified.aaguid) if verified.aaguid else None,
            discoverable=True,
            backup_eligible=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            backed_up=verified.credential_backed_up,
            name=name,
            created_at=moment(self._clock()),
        )
        async with self._database.session() as session:
            try:
                async with session.begin_nested():
                    session.add(passkey)
            except IntegrityError:
                raise WrongPasskey(422) from None
            codes = await self._factors.first_codes(session, user_id)
            await audit.record(
                session,
                "auth.passkey_added",
                user_id=user_id,
                peer=peer,
                resource=("passkey", str(passkey.id)),
                severity="notice",
                actor=actor,
            )
        return passkey.id, codes

    async def listed(self, user_id: int) -> Sequence[Passkey]:
        """A user's passkeys."""
        async with self._database.session() as session:
            return await repository.passkeys(session, user_id)

    async def rename(self, user_id: int, passkey_id: uuid.UUID, name: str) -> None:
        """Give one another name.

        Raises:
            Problem: 404, it is none of the user's.
        """
        async with self._database.session() as session:
            if not await repository.rename_passkey(session, user_id, passkey_id, name):
                raise Problem(404, "there is no such passkey")

    async def remove(self, user_id: int, passkey_id: uuid.UUID, peer: Peer, actor: str) -> None:
        """Take one away.

        Raises:
            Problem: 404, it is none of the user's.
        """
        async with self._database.session() as session:
            if not await repository.remove_passkey(session, user_id, passkey_id):
                raise Problem(404, "there is no such passkey")
            await repository.tidy(session, user_id)
            await audit.record(
                session,
                "auth.passkey_removed",
                user_id=user_id,
                peer=peer,
                resource=("passkey", str(passkey_id)),
                severity="warning",
                actor=actor,
            )

    async def _asked(self, purpose: str, challenge: bytes, options: str) -> Question:
        identifier = secrets.token_urlsafe(16)
        await self._redis.set(self._key(purpose, identifier), bytes_to_base64url(challenge), ex=LIFETIME)
        return Question(identifier, json.loads(options))

    async def _answered(self, purpose: str, question: str) -> bytes:
        kept = await self._redis.getdel(self._key(purpose, question)) if 0 < len(question) <= 100 else None
        if kept is None:
            raise WrongPasskey(401 if purpose == "get" else 422)
        return base64url_to_bytes(str(kept))

    def _key(self, purpose: str, question: str) -> str:
        return f"{self._prefix}webauthn:{purpose}:{hashlib.sha256(question.encode(errors='replace')).hexdigest()[:32]}"


def _credential_id(credential: dict[str, Any]) -> bytes:
    identifier = credential.get("id")
    response = credential.get("response")
    if not isinstance(identifier, str) or not isinstance(response, dict) or len(identifier) > MAX_CREDENTIAL:
        raise WrongPasskey(422)
    found = _decoded(identifier)
    if not found:
        raise WrongPasskey(422)
    return found


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str) or not text.isascii():
        return b""
    try:
        return base64url_to_bytes(text)
    except ValueError:
        return b""


def _transports(credential: dict[str, Any]) -> list[str]:
    given = credential["response"].get("transports")
    return sorted({one for one in given if one in _TRANSPORTS}) if isinstance(given, list) else []

"""Sign-in by providers and directories: from the button to the account."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from zentoria_common.database import Database

from zentoria_auth import audit
from zentoria_auth.peer import Peer
from zentoria_auth.providers import repository
from zentoria_auth.providers.attempts import Attempts, Started
from zentoria_auth.providers.claims import Claim, ProviderError, Reason, decide
from zentoria_auth.providers.directory import Directory
from zentoria_auth.providers.oidc import Attempt
from zentoria_auth.providers.settings import Provider

_log = structlog.stdlib.get_logger("zentoria_auth.providers")

TEXTS: Mapping[Reason, str] = {
    "unknown": "No account here has your address there. Whoever owns this site can make one.",
    "unverified": "It is not certain that your address there is yours. Sign in another way, and link the two then.",
    "taken": "This identity belongs to another account.",
    "linked": "Your account has another identity of this provider. Sign in another way, and link this one then.",
}


class ProviderClient(Protocol):
    """What speaks to a provider."""

    @property
    def provider(self) -> Provider:
        """Its settings."""

    async def authorization_url(self, attempt: Attempt, state: str, challenge: str) -> str:
        """Where the browser is sent."""

    async def claim(self, attempt: Attempt, code: str, issuer: str | None) -> Claim:
        """Who came back."""


@dataclasses.dataclass(frozen=True)
class Arrived:
    """Somebody came back, and this is their account.

    Args:
        user_id: the account.
        amr: how they showed it, with ``fed`` for a provider's word.
        next: where they were going.
        linked: an identity was linked for who is signed in; nobody signs in.
    """

    user_id: int
    amr: tuple[str, ...]
    next: str
    linked: bool


class SignInRefused(Exception):
    """Nobody is signed in. The text is for the person; ``status`` for the answer."""

    def __init__(self, text: str, status: int = 403) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Accounts:
    """From identities to accounts.

    Args:
        database: has both.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, claim: Claim, peer: Peer, signed_in: int | None = None) -> int:
        """The account that a claim stands for; links the identity where it may.

        Raises:
            SignInRefused: there is none.
        """
        async with self._database.session() as session:
            known = await repository.owner_of(session, claim)
            by_address = None
            if known is None and signed_in is None and claim.email is not None and claim.email_verified:
                by_address = await repository.account_of(session, claim.email)
            has_other = by_address is not None and await repository.has_identity(session, by_address, claim.provider)
            decision = decide(claim, known=known, signed_in=signed_in, by_address=by_address, has_other=has_other)
            reason = decision.reason
            if decision.user_id is not None and decision.links:
                if not await repository.link(session, decision.user_id, claim):
                    decision, reason = dataclasses.replace(decision, user_id=None), "taken"
                else:
                    await audit.record(
                        session,
                        "auth.identity_linked",
                        user_id=decision.user_id,
                        peer=peer,
                        details={"provider": claim.provider, "by": "address" if signed_in is None else "user"},
                        severity="notice",
                    )
            if decision.user_id is None:
                await audit.record(
                    session,
                    "auth.login_failed",
                    user_id=signed_in,
                    peer=peer,
                    details={"provider": claim.provider, "wrong": reason},
                    severity="warning",
                )
        if decision.user_id is None:
            raise SignInRefused(TEXTS[reason or "unknown"])
        return decision.user_id

    async def linked(self, user_id: int) -> Sequence[repository.Linked]:
        """The identities of an account."""
        async with self._database.session() as session:
            return await repository.linked(session, user_id)

    async def unlink(self, user_id: int, identity: uuid.UUID, peer: Peer) -> bool:
        """Take an identity away; False where the account has no such."""
        async with self._database.session() as session:
            provider = await repository.unlink(session, user_id, identity)
            if provider is None:
                return False
            await audit.record(
                session,
                "auth.identity_unlinked",
                user_id=user_id,
                peer=peer,
                details={"provider": provider},
                severity="notice",
            )
        return True

    async def failed(self, provider: str, wrong: str, peer: Peer) -> None:
        """Write down that a sign-in came to nothing."""
        async with self._database.session() as session:
            await audit.record(
                session,
                "auth.login_failed",
                user_id=None,
                peer=peer,
                details={"provider": provider, "wrong": wrong},
                severity="warning",
            )


class Providers:
    """The providers of a site.

    Args:
        clients: one for each.
        accounts: finds the account.
        attempts: keeps what is on its way.
        public_url: of this site.
    """

    def __init__(
        self, clients: Sequence[ProviderClient], accounts: Accounts, attempts: Attempts, public_url: str
    ) -> None:
        self._clients = {client.provider.name: client for client in clients}
        self._attempts = attempts
        self._public_url = public_url
        self.accounts = accounts

    @property
    def shown(self) -> Sequence[Provider]:
        """For buttons, in the order of the settings."""
        return [client.provider for client in self._clients.values()]

    async def begin(self, name: str, browser: str, following: str, link_for: int | None = None) -> str:
        """Begin a sign-in; returns where the browser goes.

        Args:
            name: the provider's.
            browser: the secret in its cookie.
            following: path of this site to go to in the end.
            link_for: the account that is signed in, to link an identity to it.

        Raises:
            SignInRefused: there is no such provider, or it does not answer.
        """
        client = self._client(name)
        started = Started.make(name, browser, following, link_for)
        state = await self._attempts.keep(started)
        try:
            challenge = create_s256_code_challenge(started.verifier)
            return await client.authorization_url(self._attempt(started), state, challenge)
        except ProviderError as error:
            _log.warning("provider fails", provider=name, reason=str(error))
            raise SignInRefused(f"{client.provider.label} cannot be reached. Try again later.", 502) from None

    async def arrive(
        self, name: str, answer: Mapping[str, str], browser: str | None, signed_in: int | None, peer: Peer
    ) -> Arrived:
        """Take what a browser brings back from a provider.

        Args:
            name: of the provider whose address was called.
            answer: the parameters, each once.
            browser: the secret in its cookie.
            signed_in: the account that is signed in in it now.
            peer: the client.

        Raises:
            SignInRefused: it is not what was begun, the provider refuses, or there is no account.
        """
        client = self._client(name)
        started = await self._attempts.take(answer.get("state", ""), name, browser)
        if started is None:
            await self.accounts.failed(name, "state", peer)
            raise SignInRefused("This sign-in was not begun in this browser, or took too long. Begin again.", 400)
        if started.link_for is not None and started.link_for != signed_in:
            raise SignInRefused("You are not signed in any more. Sign in, and link the two then.")
        if "error" in answer or "code" not in answer:
            await self.accounts.failed(name, "refused", peer)
            raise SignInRefused(f"{client.provider.label} did not sign you in.")
        try:
            claim = await client.claim(self._attempt(started), answer["code"], answer.get("iss"))
        except ProviderError as error:
            _log.warning("provider fails", provider=name, reason=str(error))
            await self.accounts.failed(name, "answer", peer)
            raise SignInRefused(f"What {client.provider.label} said cannot be relied on. Begin again.", 502) from None
        user_id = await self.accounts.of(claim, peer, started.link_for)
        return Arrived(user_id, tuple(dict.fromkeys(("fed", *claim.amr))), started.next, started.link_for is not None)

    def _client(self, name: str) -> ProviderClient:
        client = self._clients.get(name)
        if client is None:
            raise SignInRefused("There is no such provider here.", 404)
        return client

    def _attempt(self, started: Started) -> Attempt:
        redirect_uri = f"{self._public_url}/auth/providers/{started.provider}/callback"
        return Attempt(redirect_uri, started.nonce, started.verifier)


class DirectoryPasswords:
    """A directory as a source of passwords for the sign-in form.

    Args:
        directory: asks it.
        accounts: finds the account.
    """

    def __init__(self, directory: Directory, accounts: Accounts) -> None:
        self._directory, self._accounts = directory, accounts

    async def user_for(self, name: str, password: str, peer: Peer) -> int | None:
        """The account that belongs to name and password, or None.

        Raises:
            Unavailable: the directory does not answer.
        """
        claim = await self._directory.sign_in(name, password)
        if claim is None:
            return None
        try:
            return await self._accounts.of(claim, peer)
        except SignInRefused:
            return None

"""For whom the gateway calls, and what this person may do here."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import SecretStr
from zentoria_common.identity import OnBehalf
from zentoria_common.problems import Problem

from zentoria_auth.peer import Peer, peer_of
from zentoria_auth.services import Services


@dataclasses.dataclass(frozen=True)
class Person:
    """A user, as the gateway's token says.

    Args:
        user_id: who.
        sid: the session, where it is not a key's call.
        peer: the user's own client.
    """

    user_id: int
    sid: uuid.UUID | None
    peer: Peer

    @property
    def actor(self) -> str:
        """Who does it, for the audit log."""
        return f"session:{self.sid}" if self.sid else f"user:{self.user_id}"


def needs(scope: str) -> Callable[[Request], Awaitable[Person]]:
    """A dependency: the person for whom the gateway calls, if the call may do this."""

    async def person(request: Request) -> Person:
        given: OnBehalf | None = request.state.on_behalf
        if given is None:
            raise Problem(401, "this is done for a user, and the call names none", kind="user-unknown")
        if scope not in given.scopes:
            raise Problem(403, f"this needs the scope {scope}", kind="missing-scope", scope=scope)
        try:
            sid = uuid.UUID(given.sid) if given.sid else None
        except ValueError:
            sid = None
        return Person(given.user_id, sid, peer_of(request))

    return person


def _may(scope: str) -> Any:
    return Depends(needs(scope))


ProfileReader = Annotated[Person, _may("profile:read")]
ProfileWriter = Annotated[Person, _may("profile:write")]
SessionReader = Annotated[Person, _may("sessions:read")]
SessionWriter = Annotated[Person, _may("sessions:write")]


async def must_be_fresh(services: Services, person: Person, password: SecretStr | None) -> None:
    """Ways to sign in are changed only by who just showed who they are: a borrowed laptop is not enough.

    Args:
        services: of the application.
        person: who asks.
        password: the present one, where it was given; else the session's own sign-in must be recent.

    Raises:
        Problem: 403, neither is so.
        TooMany: passwords were tried too often.
    """
    if password is not None:
        if await services.sign_in.confirm(person.user_id, password.get_secret_value(), person.peer):
            return
        raise Problem(403, "this password is not right", kind="reauthentication-required")
    if person.sid is None or not await services.sessions.is_fresh(person.sid, person.user_id):
        raise Problem(403, "show again who you are: give the present password", kind="reauthentication-required")

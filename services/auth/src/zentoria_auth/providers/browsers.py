"""What sign-in by providers does with browsers: their sessions are those of the sign-in pages."""

from __future__ import annotations

from fastapi import Request, Response

from zentoria_auth.pages import signin, web
from zentoria_auth.providers.api import Federation
from zentoria_auth.providers.service import Arrived, Providers
from zentoria_auth.services import services_of
from zentoria_auth.sessions.service import SignedIn


def _providers(request: Request) -> Providers:
    return services_of(request).providers


async def _fresh(request: Request, user: SignedIn) -> bool:
    return await services_of(request).sessions.is_fresh(user.sid, user.account.id)


async def _sign_in(request: Request, arrived: Arrived) -> Response:
    """Our own second factor is asked for all the same: what the provider saw is not ours to judge."""
    outcome = await services_of(request).sign_in.elsewhere(arrived.user_id, arrived.amr)
    return await signin.complete(request, outcome, arrived.next)


FEDERATION = Federation(_providers, web.signed_in, _fresh, _sign_in)

"""What sign-in by providers does with browsers: their sessions are those of the sign-in pages."""

from __future__ import annotations

from fastapi import Request, Response

from zentoria_auth.oauth.setup import signed_in
from zentoria_auth.pages import signin
from zentoria_auth.providers.api import Federation
from zentoria_auth.providers.service import Arrived, Providers
from zentoria_auth.services import services_of
from zentoria_auth.sessions.service import SignedIn


def _providers(request: Request) -> Providers:
    return services_of(request).providers


async def _fresh(request: Request, user: SignedIn) -> bool:
    return await services_of(request).sessions.is_fresh(user.sid, user.account.id)


async def _sign_in(request: Request, arrived: Arrived) -> Response:
    services = services_of(request)
    outcome = await services.sign_in.elsewhere(arrived.user_id, arrived.amr)
    return await signin.complete(request, outcome, arrived.next)


FEDERATION = Federation(_providers, signed_in, _fresh, _sign_in)

"""What sign-in by providers does with browsers: their sessions are those of the sign-in pages."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from zentoria_auth.oauth import pages, wire
from zentoria_auth.oauth.setup import COOKIE, signed_in
from zentoria_auth.peer import peer_of
from zentoria_auth.providers.api import Federation
from zentoria_auth.providers.service import Arrived, Providers
from zentoria_auth.services import services_of
from zentoria_auth.sessions.browsers import LIFETIME
from zentoria_auth.sessions.service import SignedIn
from zentoria_auth.signin.service import Passed


def _providers(request: Request) -> Providers:
    return services_of(request).providers


async def _fresh(request: Request, user: SignedIn) -> bool:
    return await services_of(request).sessions.is_fresh(user.sid, user.account.id)


async def _sign_in(request: Request, arrived: Arrived) -> Response:
    services = services_of(request)
    outcome = await services.sign_in.elsewhere(arrived.user_id, arrived.amr)
    if not isinstance(outcome, Passed):
        text = "Your account asks for a second factor as well. Sign in with your password or a passkey."
        return pages.message("You are not signed in", text, 403)
    _, cookie = await services.sessions.begin_browser(outcome.account, outcome.amr, peer_of(request))
    response = RedirectResponse(arrived.next, 303, headers=wire.NO_STORE)
    response.set_cookie(COOKIE, cookie, max_age=LIFETIME, path="/", secure=True, httponly=True, samesite="lax")
    return response


FEDERATION = Federation(_providers, signed_in, _fresh, _sign_in)

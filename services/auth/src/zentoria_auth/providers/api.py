"""Routes of sign-in by providers, for browsers."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from zentoria_auth.oauth import pages, wire
from zentoria_auth.oauth.errors import OAuthError
from zentoria_auth.oauth.requests import single
from zentoria_auth.pages import web
from zentoria_auth.peer import peer_of
from zentoria_auth.providers.attempts import LIFETIME, browser_secret
from zentoria_auth.providers.service import Arrived, Providers, SignInRefused
from zentoria_auth.sessions.service import SignedIn

router = APIRouter(include_in_schema=False)
COOKIE = "__Host-zentoria_provider"


@dataclasses.dataclass(frozen=True)
class Federation:
    """What the routes need; the application keeps it as ``app.state.federation``.

    Args:
        providers: those of the site.
        browser: who is signed in in the browser that asks.
        fresh: whether they showed who they are in the last minutes.
        sign_in: signs the browser of this request in, or asks for a second factor.
    """

    providers: Callable[[Request], Providers]
    browser: Callable[[Request], Awaitable[SignedIn | None]]
    fresh: Callable[[Request, SignedIn], Awaitable[bool]]
    sign_in: Callable[[Request, Arrived], Awaitable[Response]]


async def _federation(request: Request) -> Federation:
    found: Federation = request.app.state.federation
    return found


FederationDep = Annotated[Federation, Depends(_federation)]


@router.get("/auth/providers/{name}/start")
async def start(
    request: Request, federation: FederationDep, name: str, next: str = "/", link: bool = False
) -> Response:
    """Send the browser to a provider; with ``link``, to link an identity to the account that is signed in."""
    link_for = None
    if link:
        user = await federation.browser(request)
        if user is None or not await federation.fresh(request, user):
            return pages.message("Sign in again", "To link an identity, sign in first; it is not long valid.", 403)
        try:
            # Another site's page could lead here somebody whom it has signed in to its own account there before.
            wire.check_origin(request, request.app.state.settings.public_url)
        except OAuthError:
            return pages.message("This cannot be linked", "Begin on the page with your ways to sign in.", 403)
        link_for = user.account.id
    secret = browser_secret(request.cookies.get(COOKIE))
    try:
        url = await federation.providers(request).begin(name, secret, web.local(next), link_for)
    except SignInRefused as refused:
        return _refusal(refused)
    response = RedirectResponse(url, 303, headers={**wire.NO_STORE, "referrer-policy": "no-referrer"})
    response.headers["location"] = url
    response.set_cookie(COOKIE, secret, max_age=LIFETIME, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.get("/auth/providers/{name}/callback")
async def callback(request: Request, federation: FederationDep, name: str) -> Response:
    """Take what the browser brings back."""
    try:
        answer = single(wire.query_of(request))
        user = await federation.browser(request)
        arrived = await federation.providers(request).arrive(
            name, answer, request.cookies.get(COOKIE), user.account.id if user else None, peer_of(request)
        )
        if arrived.linked:
            response: Response = RedirectResponse("/auth/identities", 303, headers=wire.NO_STORE)
        else:
            response = await federation.sign_in(request, arrived)
    except SignInRefused as refused:
        response = _refusal(refused)
    except OAuthError:
        response = _refusal(SignInRefused("This answer cannot be read. Begin again.", 400))
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.get("/auth/identities")
async def identities(request: Request, federation: FederationDep) -> Response:
    """List the identities of who is signed in, and what can be linked."""
    user = await federation.browser(request)
    if user is None:
        return RedirectResponse("/auth/sign-in?next=%2Fauth%2Fidentities", 303, headers=wire.NO_STORE)
    linked = await federation.providers(request).accounts.linked(user.account.id)
    return pages.identities(user.account, linked, federation.providers(request).shown)


@router.post("/auth/identities")
async def unlink(request: Request, federation: FederationDep) -> Response:
    """Take an identity away."""
    user = await federation.browser(request)
    if user is None or not await federation.fresh(request, user):
        return pages.message("Sign in again", "To change how you sign in, sign in first; it is not long valid.", 403)
    try:
        wire.check_origin(request, request.app.state.settings.public_url)
        identity = uuid.UUID(single(await wire.pairs_of(request)).get("identity", ""))
    except (OAuthError, ValueError):
        return pages.message("This cannot be taken away", "There is no such identity.", 400)
    await federation.providers(request).accounts.unlink(user.account.id, identity, peer_of(request))
    return RedirectResponse("/auth/identities", 303, headers=wire.NO_STORE)


def _refusal(refused: SignInRefused) -> Response:
    return pages.message("You are not signed in", refused.text, refused.status)

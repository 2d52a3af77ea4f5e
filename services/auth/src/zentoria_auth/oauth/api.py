"""Routes of the authorization server, for programs and for people."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from zentoria_common import scopes as all_scopes

from zentoria_auth.oauth import clients, pages, redirects, requests, wire
from zentoria_auth.oauth.clients import DEVICE_GRANT
from zentoria_auth.oauth.errors import OAuthError
from zentoria_auth.oauth.metadata import server_metadata
from zentoria_auth.oauth.service import AuthorizationServer
from zentoria_auth.oauth.tickets import DEVICE_INTERVAL, DEVICE_SECONDS, plain_user_code, shown_user_code
from zentoria_auth.peer import peer_of
from zentoria_auth.services import services_of
from zentoria_auth.sessions.service import SignedIn, Tokens

router = APIRouter(tags=["oauth"])


@dataclasses.dataclass(frozen=True)
class OAuth:
    """What the routes need; the application keeps it as ``app.state.oauth``.

    Args:
        server: does it.
        browser: who is signed in in the browser that asks.
        registration: whether clients may register themselves (RFC 7591).
        close: ends its connections.
    """

    server: AuthorizationServer
    browser: Callable[[Request], Awaitable[SignedIn | None]]
    registration: bool
    close: Callable[[], Awaitable[None]]


async def _oauth(request: Request) -> OAuth:
    found: OAuth = request.app.state.oauth
    return found


OAuthDep = Annotated[OAuth, Depends(_oauth)]


def install(app: FastAPI, oauth: OAuth) -> None:
    """Give an application the server, and errors the form that OAuth has for them."""
    app.state.oauth = oauth
    app.add_exception_handler(OAuthError, _refused)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OAuthError)  # noqa: S101 - the only type that this handler is registered for
    return wire.refusal(error)


@router.get("/.well-known/oauth-authorization-server")
async def metadata(oauth: OAuthDep) -> JSONResponse:
    """What this server offers (RFC 8414)."""
    document = server_metadata(oauth.server.offer, registration=oauth.registration)
    return JSONResponse(document, headers={"cache-control": "public, max-age=300", **wire.CORS})


@router.options("/.well-known/oauth-authorization-server", include_in_schema=False)
@router.options("/oauth/token", include_in_schema=False)
@router.options("/oauth/register", include_in_schema=False)
@router.options("/oauth/revoke", include_in_schema=False)
@router.options("/oauth/device_authorization", include_in_schema=False)
async def preflight() -> Response:
    """Let pages of other origins call the endpoints for programs."""
    return wire.preflight()


@router.get("/oauth/authorize", include_in_schema=False)
async def authorize(request: Request, oauth: OAuthDep) -> Response:
    """Ask the user whether a client may act for them (OAuth 2.1 section 4.1.1)."""
    server = oauth.server
    try:
        pairs = wire.query_of(request)
        # A second state or scope may be told to the client; a second client_id or redirect_uri may not.
        known = requests.single(pair for pair in pairs if pair[0] in ("client_id", "redirect_uri"))
        client_id = known.get("client_id", "")
        described = clients.is_document_url(client_id)
        user = await oauth.browser(request)
        if user is None and described:
            return _to_sign_in(request)
        client = await server.client(client_id, fetch=described)
        redirect_uri = requests.redirect_of(client, known)
    except OAuthError as error:
        return pages.message("This request cannot be answered", error.description, 400)
    state = next((value for name, value in pairs if name == "state"), None)
    try:
        asked = requests.authorization(client, redirect_uri, requests.single(pairs), server.offer)
    except OAuthError as error:
        return _back(oauth, redirect_uri, state, error=error.code, error_description=error.description)
    if user is None:
        if "none" in asked.prompt:
            return _back(
                oauth, redirect_uri, asked.state, error="login_required", error_description="nobody is signed in"
            )
        return _to_sign_in(request)
    answer = await server.begin(client, asked, user)
    if answer.code is not None:
        return _back(oauth, redirect_uri, asked.state, code=answer.code)
    if "none" in asked.prompt:
        return _back(
            oauth, redirect_uri, asked.state, error="consent_required", error_description="the user must be asked"
        )
    possible = all_scopes.granted(requests.role_of(user.account), asked.scopes)
    if not possible:
        return _back(
            oauth, redirect_uri, asked.state, error="invalid_scope", error_description="the user has none of these"
        )
    lines = pages.scope_lines(asked.scopes, possible)
    return pages.consent(client, asked, user.account, lines, await server.ask(asked, user), server.offer)


@router.post("/auth/consent", include_in_schema=False)
async def consent(request: Request, oauth: OAuthDep) -> Response:
    """Take the answer of a consent page."""
    user = await oauth.browser(request)
    if user is None:
        return pages.message("You are not signed in", "Sign in, and begin again at the program.", 401)
    try:
        wire.check_origin(request, oauth.server.offer.issuer)
        pairs = await wire.pairs_of(request)
        ticket = dict(pairs).get("ticket", "")
        asked, code = await oauth.server.decide(ticket, user, _ticked(pairs), peer_of(request))
    except OAuthError as error:
        return pages.message("This answer cannot be taken", error.description, error.status)
    if code is None:
        description = "the user has refused"
        return _back(oauth, asked.redirect_uri, asked.state, error="access_denied", error_description=description)
    return _back(oauth, asked.redirect_uri, asked.state, code=code)


@router.post("/oauth/token", responses=wire.errors(400, 401), openapi_extra=wire.form("grant_type", "client_id"))
async def token(request: Request, oauth: OAuthDep) -> JSONResponse:
    """Give tokens for a code, a refresh token or a device code."""
    server = oauth.server
    form = await wire.form_of(request)
    client = await server.authenticated(request.headers.getlist("authorization"), form)
    grant_type = form.get("grant_type")
    peer = peer_of(request)
    if grant_type == "authorization_code":
        issued = await server.exchange_code(client, form, peer)
    elif grant_type == "refresh_token":
        issued = await server.refresh(client, form, peer)
    elif grant_type == DEVICE_GRANT:
        issued = await server.exchange_device_code(client, form, peer)
    elif grant_type is None:
        raise OAuthError("invalid_request", "grant_type is missing")
    else:
        raise OAuthError("unsupported_grant_type", "grant_type must be one of grant_types_supported of the metadata")
    return wire.answer(_tokens(issued, with_refresh=client.may("refresh_token")))


@router.post("/oauth/revoke", responses=wire.errors(400, 401), openapi_extra=wire.form("token", "client_id"))
async def revoke(request: Request, oauth: OAuthDep) -> JSONResponse:
    """End the session of a token (RFC 7009)."""
    form = await wire.form_of(request)
    client = await oauth.server.authenticated(request.headers.getlist("authorization"), form)
    await oauth.server.revoke_token(client, form, peer_of(request))
    return wire.answer({})


@router.post("/oauth/register", status_code=201, responses=wire.errors(400, 403, 429), openapi_extra=wire.METADATA)
async def register(request: Request, oauth: OAuthDep) -> JSONResponse:
    """Register a client (RFC 7591)."""
    if not oauth.registration:
        raise OAuthError("access_denied", "clients cannot register here: use a client ID metadata document", 403)
    attempt = await services_of(request).throttle.attempt(None, peer_of(request).ip or "unknown")
    if not attempt.allowed:
        raise OAuthError("temporarily_unavailable", f"too many registrations: wait {attempt.wait:.0f} s", 429)
    metadata = clients.registration(await wire.object_of(request))
    client, secret = await oauth.server.register(metadata, peer_of(request))
    body: dict[str, Any] = {"client_id": client.id, **client.metadata.model_dump(mode="json", exclude_defaults=True)}
    body["token_endpoint_auth_method"] = client.metadata.token_endpoint_auth_method
    body["grant_types"] = list(client.metadata.grant_types)
    if secret is not None:
        body |= {"client_secret": secret, "client_secret_expires_at": 0}
    return wire.answer(body, 201)


@router.post("/oauth/device_authorization", responses=wire.errors(400, 401, 429), openapi_extra=wire.form("client_id"))
async def device_authorization(request: Request, oauth: OAuthDep) -> JSONResponse:
    """Let a device wait for its user (RFC 8628)."""
    form = await wire.form_of(request)
    client = await oauth.server.authenticated(request.headers.getlist("authorization"), form)
    # Each takes memory until its time is over, and makes it likelier that a guessed code is somebody's.
    wait = await services_of(request).throttle.question(peer_of(request).ip or "unknown")
    if wait > 0:
        raise OAuthError("temporarily_unavailable", f"too many devices: wait {wait:.0f} s", 429)
    codes = await oauth.server.begin_device(client, form)
    page = f"{oauth.server.offer.issuer}/auth/device"
    shown = shown_user_code(codes.user_code)
    return wire.answer(
        {
            "device_code": codes.device_code,
            "user_code": shown,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={shown}",
            "expires_in": DEVICE_SECONDS,
            "interval": DEVICE_INTERVAL,
        }
    )


@router.get("/auth/device", include_in_schema=False)
async def device_page(request: Request, oauth: OAuthDep, user_code: str = "") -> Response:
    """Ask for a device's code, then whether it may act for the user."""
    user = await oauth.browser(request)
    if user is None:
        return _to_sign_in(request)
    if not user_code:
        return pages.device_code(user.account)
    # Whoever is signed in could try codes until one is another's: wrong ones are counted (RFC 8628 section 5.1).
    throttle = services_of(request).throttle
    attempt = await throttle.attempt(None, peer_of(request).ip or "unknown")
    if not attempt.allowed:
        return pages.device_code(user.account, f"Too many codes were wrong: wait {attempt.wait:.0f} s.", "", 429)
    try:
        found = await oauth.server.device(user_code)
    except OAuthError:
        found = None
    if found is not None:
        await throttle.give_back(attempt)
    else:
        complaint = "No device waits with this code. It may be too old: begin again at the device."
        return pages.device_code(user.account, complaint, user_code[:20], 404)
    client, device = found
    lines = pages.scope_lines(device.scopes, all_scopes.granted(requests.role_of(user.account), device.scopes))
    shown = shown_user_code(plain_user_code(user_code))
    return pages.device_consent(client, user.account, lines, shown, device.resource, oauth.server.offer)


@router.post("/auth/device", include_in_schema=False)
async def device_answer(request: Request, oauth: OAuthDep) -> Response:
    """Take the answer of a device's consent page."""
    user = await oauth.browser(request)
    if user is None:
        return pages.message("You are not signed in", "Sign in, and type the code again.", 401)
    throttle = services_of(request).throttle
    attempt = await throttle.attempt(None, peer_of(request).ip or "unknown")
    if not attempt.allowed:
        return pages.device_code(user.account, f"Too many codes were wrong: wait {attempt.wait:.0f} s.", "", 429)
    try:
        wire.check_origin(request, oauth.server.offer.issuer)
        pairs = await wire.pairs_of(request)
        code, chosen = dict(pairs).get("user_code", ""), _ticked(pairs)
        taken = await oauth.server.decide_device(code, user, chosen, peer_of(request))
    except OAuthError as error:
        return pages.message("This answer cannot be taken", error.description, error.status)
    if not taken:
        return pages.message("This code is too old", "Begin again at the device.", 410)
    await throttle.give_back(attempt)
    if not chosen:
        return pages.message("Refused", "The device was given nothing. You can close this page.")
    return pages.message("Allowed", "The device goes on by itself. You can close this page.")


@router.get("/auth/applications", include_in_schema=False)
async def applications(request: Request, oauth: OAuthDep) -> Response:
    """List the programs that act for the user."""
    user = await oauth.browser(request)
    if user is None:
        return _to_sign_in(request)
    return pages.applications(user.account, await oauth.server.grants(user.account.id), oauth.server.offer)


@router.post("/auth/applications", include_in_schema=False)
async def take_back(request: Request, oauth: OAuthDep) -> Response:
    """Take back what a program was allowed."""
    user = await oauth.browser(request)
    if user is None:
        return _to_sign_in(request)
    try:
        wire.check_origin(request, oauth.server.offer.issuer)
        grant = uuid.UUID(dict(await wire.pairs_of(request)).get("grant", ""))
    except (OAuthError, ValueError):
        return pages.message("This cannot be taken back", "There is no such program.", 400)
    await oauth.server.revoke_grant(user.account.id, grant, peer_of(request))
    return RedirectResponse("/auth/applications", 303)


def _tokens(issued: Tokens, *, with_refresh: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": " ".join(issued.scopes),
    }
    if with_refresh:
        body["refresh_token"] = issued.refresh_token
    return body


def _back(oauth: OAuth, redirect_uri: str, state: str | None, **values: str) -> RedirectResponse:
    """Go back to the client, and say who answers (RFC 9207)."""
    url = redirects.answer(redirect_uri, {**values, "state": state, "iss": oauth.server.offer.issuer})
    response = RedirectResponse(url, 303, headers={**wire.NO_STORE, "referrer-policy": "no-referrer"})
    # Starlette quotes what it thinks a URL must not hold; the client registered exactly this text.
    response.headers["location"] = url
    return response


def _to_sign_in(request: Request) -> RedirectResponse:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/auth/sign-in?next={quote(here, safe='')}", 303, headers=wire.NO_STORE)


def _ticked(pairs: list[tuple[str, str]]) -> list[str] | None:
    if ("decision", "allow") not in pairs:
        return None
    return [value for name, value in pairs if name == "scope"]

"""``/api/v1/auth``: sign-in, for the auth service to decide. Limits come first, and are closed while nobody counts."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from zentoria_common.problems import answers

from zentoria_backend.auth.schemas import Login, PasskeyQuestion, Refresh, Tokens
from zentoria_backend.services import ServicesDep

router = APIRouter(tags=["auth"])


@router.post(
    "/api/v1/auth/login", summary="Sign in", responses=answers(502, e401="the address or the password is wrong")
)
async def login(body: Login, request: Request, services: ServicesDep) -> Tokens:
    """Sign in with address and password; with `otp` where the account has a second factor.

    An account with one answers 401 `/problems/otp-required` first, with a `challenge` that stands for the password
    in the second step.
    """
    await services.limiter.sign_in(request)
    sent = body.model_dump(exclude_none=True) | {"client": services.auth.client()}
    return await services.auth.ask(Tokens, "POST", "/login", json=sent)


@router.post("/api/v1/auth/passkeys/options", summary="Begin to sign in with a passkey", responses=answers(502))
async def passkey_options(request: Request, services: ServicesDep) -> PasskeyQuestion:
    """What to ask the browser; its answer is `passkey` of a sign-in."""
    await services.limiter.sign_in(request)
    return await services.auth.ask(PasskeyQuestion, "POST", "/passkeys/options", json={})


@router.post("/api/v1/auth/refresh", summary="Get new tokens", responses=answers(502))
async def refresh(body: Refresh, request: Request, services: ServicesDep) -> Tokens:
    """Exchange a refresh token for new tokens. One that was used before ends the whole session."""
    await services.limiter.sign_in(request)
    sent = {"refresh_token": body.refresh_token, "client": services.auth.client()}
    return await services.auth.ask(Tokens, "POST", "/refresh", json=sent)


@router.post("/api/v1/auth/logout", summary="Sign out", status_code=204, responses=answers(502))
async def logout(body: Refresh, services: ServicesDep) -> Response:
    """End the session of a refresh token, and with it its access tokens (within five seconds everywhere)."""
    await services.auth.tell("POST", "/logout", json={"refresh_token": body.refresh_token})
    await services.access.forget_sessions()
    return Response(status_code=204)

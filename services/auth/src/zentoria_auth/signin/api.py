"""Sign-in for the gateway: ``POST /internal/v1/login``, ``refresh``, ``logout``."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request, Response
from zentoria_common.problems import Problem, answers

from zentoria_auth.services import ServicesDep
from zentoria_auth.sessions.schemas import TokenAnswer
from zentoria_auth.signin.schemas import LoginRequest, LogoutRequest, PasskeyQuestion, RefreshRequest
from zentoria_auth.signin.service import StepNeeded, step_problem

router = APIRouter(prefix="/internal/v1", tags=["sign-in"])


@router.post("/login", responses=answers(401, 429))
async def login(request: LoginRequest, services: ServicesDep, response: Response) -> TokenAnswer:
    """Sign in, and begin a session. 401 ``otp-required`` asks for the second step, with a challenge."""
    peer = request.client.peer
    code = request.otp.get_secret_value() if request.otp is not None else None
    if request.passkey is not None:
        passed = await services.sign_in.passkey(request.passkey.id, request.passkey.credential, peer)
    elif request.challenge is not None:
        passed = await services.sign_in.second(request.challenge, code or "", peer)
    else:
        password = request.password.get_secret_value() if request.password is not None else ""
        outcome = await services.sign_in.password(request.email or "", password, peer, code)
        if isinstance(outcome, StepNeeded):
            raise step_problem(outcome)
        passed = outcome
    tokens = await services.sessions.begin(passed.account, passed.amr, peer)
    response.headers["cache-control"] = "no-store"
    return tokens.answer()


@router.post("/passkeys/options")
async def passkey_options(services: ServicesDep) -> PasskeyQuestion:
    """What to ask a browser for a sign-in with a passkey."""
    question = await services.passkeys.ask_to_sign_in()
    return PasskeyQuestion(id=question.id, options=question.options)


@router.post("/refresh", responses=answers(401))
async def refresh(request: RefreshRequest, services: ServicesDep, response: Response) -> TokenAnswer:
    """Spend a refresh token. Whoever presents it twice within ten seconds gets the same successor."""
    tokens = await services.sessions.refresh(request.refresh_token.get_secret_value(), request.client.peer)
    response.headers["cache-control"] = "no-store"
    return tokens.answer()


@router.post("/logout", status_code=204, responses=answers(401))
async def logout(request: LogoutRequest, services: ServicesDep, http: Request) -> None:
    """End a session. One that is over already is no error."""
    peer = request.client.peer
    if request.refresh_token is not None:
        await services.sessions.end_by_token(request.refresh_token.get_secret_value(), peer)
        return
    if http.state.on_behalf is None or request.sid is None:
        raise Problem(401, "give the refresh token, or the session's id for its user", kind="user-unknown")
    try:
        sid = uuid.UUID(request.sid)
    except ValueError:
        return
    await services.sessions.end(sid, "logout", peer, user_id=http.state.on_behalf.user_id)

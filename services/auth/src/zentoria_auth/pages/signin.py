"""Sign-in in a browser: name and password, second step, passkey, sign-out."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from zentoria_common.problems import Problem

from zentoria_auth.pages import web
from zentoria_auth.pages.providers import choices
from zentoria_auth.pages.web import PageRoute
from zentoria_auth.peer import peer_of
from zentoria_auth.services import ServicesDep, services_of
from zentoria_auth.signin.pending import LIFETIME as STEP_SECONDS
from zentoria_auth.signin.service import Passed, StepNeeded

router = APIRouter(prefix="/auth", route_class=PageRoute, include_in_schema=False)

STEP_COOKIE = "__Host-zentoria_step"
"""The first step of a sign-in, until the second."""
MAX_CREDENTIAL = 32_768


async def complete(request: Request, outcome: Passed | StepNeeded, next_path: str | None) -> Response:
    """Go on after somebody showed who they are: to the second step, or signed in to where they wanted.

    Args:
        request: the browser's.
        outcome: of a first step, ours or a provider's.
        next_path: where to; only a page of this site is taken.
    """
    after = web.local(next_path)
    if isinstance(outcome, StepNeeded):
        answer: Response = web.see(_with_next("/auth/sign-in/code", after))
        web.set_cookie(answer, STEP_COOKIE, outcome.challenge, STEP_SECONDS)
        return answer
    services, peer = services_of(request), peer_of(request)
    before = await web.signed_in(request)
    _, cookie = await services.sessions.begin_browser(outcome.account, outcome.amr, peer)
    if before is not None:
        await services.sessions.end(before.sid, "replaced", peer)
    answer = web.onward(request, after)
    web.set_session(answer, cookie)
    web.drop_cookie(answer, STEP_COOKIE)
    return answer


@router.get("/sign-in")
async def form(request: Request, next: str = "", again: bool = False) -> Response:
    """The sign-in page."""
    if not again and await web.signed_in(request) is not None:
        return web.see(web.local(next))
    return _form(request, web.local(next))


@router.post("/sign-in")
async def password(request: Request, services: ServicesDep) -> Response:
    """The first step, or a passkey, which is both."""
    fields = await web.fields_of(request)
    after = web.local(fields.get("next"))
    email = fields.get("email", "")
    try:
        if fields.get("credential"):
            question, credential = answered(fields)
            outcome: Passed | StepNeeded = await services.sign_in.passkey(question, credential, peer_of(request))
        else:
            outcome = await services.sign_in.password(email, fields.get("password", ""), peer_of(request))
    except Problem as problem:
        if problem.status not in (401, 422, 429):
            raise
        return _form(request, after, email=email, problem=problem)
    return await complete(request, outcome, after)


@router.post("/passkey/options")
async def passkey_options(request: Request, services: ServicesDep) -> Response:
    """What the page's script asks the browser for a sign-in with a passkey."""
    web.must_be_ours(request, request.headers.get(web.FORM_HEADER, ""))
    question = await services.sign_in.ask_for_passkey(peer_of(request))
    return JSONResponse({"id": question.id, "options": question.options}, headers={"cache-control": "no-store"})


@router.get("/sign-in/code")
async def code_form(request: Request, services: ServicesDep, next: str = "") -> Response:
    """The second step's page."""
    return await _code_form(request, services_of(request), web.local(next))


@router.post("/sign-in/code")
async def code(request: Request, services: ServicesDep) -> Response:
    """The second step."""
    fields = await web.fields_of(request)
    after = web.local(fields.get("next"))
    challenge = request.cookies.get(STEP_COOKIE, "")
    try:
        if fields.get("credential"):
            question, credential = answered(fields)
            passed = await services.sign_in.passkey(question, credential, peer_of(request))
        else:
            passed = await services.sign_in.second(challenge, fields.get("code", ""), peer_of(request))
    except Problem as problem:
        if problem.status not in (401, 422, 429):
            raise
        return await _code_form(request, services, after, problem)
    return await complete(request, passed, after)


@router.get("/sign-out")
async def sign_out_form(request: Request) -> Response:
    """Ask: a link alone signs nobody out."""
    if await web.signed_in(request) is None:
        return web.see("/auth/sign-in")
    return web.page(request, "sign_out.html")


@router.post("/sign-out")
async def sign_out(request: Request, services: ServicesDep) -> Response:
    """End this browser's session."""
    await web.fields_of(request)
    found = await web.signed_in(request)
    if found is not None:
        await services.sessions.end(found.sid, "logout", peer_of(request))
    answer = web.see("/auth/sign-in")
    web.drop_cookie(answer, web.SESSION_COOKIE)
    return answer


def _form(request: Request, after: str, email: str = "", problem: Problem | None = None) -> Response:
    return web.page(
        request,
        "sign_in.html",
        status=200 if problem is None else problem.status,
        headers=problem.headers if problem else None,
        email=email[:254],
        next=after,
        complaint=_complaint(problem),
        providers=choices(services_of(request), after),
    )


async def _code_form(request: Request, services: Any, after: str, problem: Problem | None = None) -> Response:
    step = await services.sign_in.waiting(request.cookies.get(STEP_COOKIE, ""))
    if step is None:
        return web.see(_with_next("/auth/sign-in", after))
    return web.page(
        request,
        "code.html",
        status=200 if problem is None else problem.status,
        headers=problem.headers if problem else None,
        next=after,
        complaint=_complaint(problem),
        factors=step.factors,
    )


def answered(fields: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """What the page's script put into the form: the question's id, and the browser's answer to it."""
    text = fields.get("credential", "")
    try:
        found = json.loads(text) if len(text) <= MAX_CREDENTIAL else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(422, "this passkey could not be used here", kind="wrong-passkey")
    return fields.get("question", ""), found


def _complaint(problem: Problem | None) -> str:
    if problem is None:
        return ""
    if problem.kind == "bad-credentials" and problem.status == 401:
        return "E-mail address or password is not right."
    return f"{problem.detail[:1].upper()}{problem.detail[1:]}."


def _with_next(path: str, after: str) -> str:
    return path if after == web.HOME else f"{path}?next={web.quoted(after)}"

"""First run, invitation, new password: the page behind a link that works once."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from zentoria_common.problems import Problem

from zentoria_auth.accounts.rules import MIN_LENGTH
from zentoria_auth.pages import signin, web
from zentoria_auth.pages.web import PageRoute
from zentoria_auth.peer import peer_of
from zentoria_auth.services import Services, ServicesDep
from zentoria_auth.setup.service import LIFETIME
from zentoria_auth.signin.service import Passed

router = APIRouter(prefix="/auth", route_class=PageRoute, include_in_schema=False)

COOKIE = "__Host-zentoria_setup"
"""The link's token, so that it stands in no address from the second page on."""


@router.get("/setup")
async def form(request: Request, services: ServicesDep, token: str | None = None) -> Response:
    """Look at a link. Only the form uses it up: mail programs open links by themselves."""
    if token is not None:
        await services.setup.look(token)
        answer: Response = web.see("/auth/setup")
        web.set_cookie(answer, COOKIE, token, LIFETIME)
        return answer
    return await _form(request, services)


@router.post("/setup")
async def use(request: Request, services: ServicesDep) -> Response:
    """Use the link."""
    fields = await web.fields_of(request)
    token, password = request.cookies.get(COOKIE, ""), fields.get("password", "")
    email, name = fields.get("email", ""), fields.get("name", "")
    try:
        if password != fields.get("again", ""):
            raise Problem(422, "the two passwords are not the same", kind="not-taken")
        done = await services.setup.complete(token, email, name, password, peer_of(request))
    except Problem as problem:
        if problem.kind not in ("not-taken", "email-taken"):
            raise
        return await _form(request, services, email, name, problem)
    if not done.complete:
        answer: Response = web.see("/auth/sign-in")
    else:
        answer = await signin.complete(request, Passed(done.account, ("pwd",)), "/auth/welcome")
    web.drop_cookie(answer, COOKIE)
    return answer


@router.get("/welcome")
async def welcome(request: Request) -> Response:
    """After the first sign-in: a second factor, which may wait."""
    found = await web.must_be_signed_in(request)
    return web.page(request, "welcome.html", account=found.account)


async def _form(
    request: Request, services: Services, email: str = "", name: str = "", problem: Problem | None = None
) -> Response:
    offer = await services.setup.look(request.cookies.get(COOKIE, ""))
    return web.page(
        request,
        "setup.html",
        status=200 if problem is None else problem.status,
        offer=offer,
        email=email[:254],
        name=name[:100] or offer.name,
        complaint=f"{problem.detail[:1].upper()}{problem.detail[1:]}." if problem else "",
        shortest=MIN_LENGTH,
    )

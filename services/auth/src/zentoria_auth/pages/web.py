"""What all our pages share: rendering, policy, cookies, forms that only our own pages can send, where to go next."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl

import jinja2
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from zentoria_common import database, redis
from zentoria_common.problems import Problem, Unavailable

from zentoria_auth.clock import moment
from zentoria_auth.services import services_of
from zentoria_auth.sessions.browsers import LIFETIME
from zentoria_auth.sessions.service import SignedIn

SESSION_COOKIE = "__Host-zentoria_auth"
"""Who is signed in in this browser."""
FORM_COOKIE = "__Host-zentoria_form"
"""The same value stands in each form: another site can send the form, and cannot know the value."""
HOME = "/auth/security"
FORM_FIELD = "form_token"
FORM_HEADER = "x-form-token"
MAX_FIELDS = 30
MAX_NEXT = 6000

_FORM_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
# One slash, then no second one and no backslash, which browsers take for one; and nothing that they leave out.
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'{};"
    " base-uri 'none'; frame-ancestors 'none'"
)

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("zentoria_auth.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["moment"] = lambda value: value.strftime("%Y-%m-%d %H:%M UTC")
_templates.globals["moment_of"] = moment


class Redirect(Exception):
    """The page is another one: raised anywhere below a page's route."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to


class PageRoute(APIRoute):
    """A route that a person looks at: what goes wrong is said on a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its errors turned into pages."""
        handler = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handler(request)
            except Redirect as redirect:
                return see(redirect.to)
            except Problem as problem:
                return _failed(request, problem)
            except RequestValidationError:
                return _failed(request, Problem(400, "this address is not complete"))
            except HTTPException as error:
                return _failed(request, Problem(error.status_code, str(error.detail), headers=error.headers))
            except tuple(database.OUTAGES):
                return _failed(request, Unavailable("database"))
            except tuple(redis.OUTAGES):
                return _failed(request, Unavailable("redis"))

        return shown


def page(
    request: Request, template: str, *, status: int = 200, form_to: str = "", headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:  # fmt: skip
    """Render a page.

    Args:
        request: what it answers.
        template: its file.
        status: the HTTP status.
        form_to: a further origin that its forms may lead to, over a redirect.
        headers: further ones.
        values: for the template.
    """
    token = _form_token(request)
    text = _templates.get_template(template).render(form_field=FORM_FIELD, form_token=token, **values)
    answer = HTMLResponse(
        text,
        status,
        {
            "cache-control": "no-store",
            "content-security-policy": _POLICY.format(f" {form_to}" if form_to else ""),
            # Not "no-referrer": with it, browsers send "Origin: null" with our own forms.
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "x-frame-options": "DENY",
            **(headers or {}),
        },
    )
    if request.cookies.get(FORM_COOKIE) != token:
        set_cookie(answer, FORM_COOKIE, token, None)
    return answer


def see(path: str) -> RedirectResponse:
    """Go on to another page of ours."""
    return RedirectResponse(path, 303, {"cache-control": "no-store", "referrer-policy": "same-origin"})


def onward(request: Request, path: str) -> Response:
    """Go on after a form of ours was sent.

    The authorization endpoint may lead on to a client's address at once. Chromium holds every redirect after a form
    against the policy of the form's page, which allows this site alone: so the way there is a page that goes on by
    itself.
    """
    return page(request, "onward.html", next=path) if path.startswith("/oauth/") else see(path)


def set_cookie(answer: Response, name: str, value: str, seconds: int | None) -> None:
    """Set a cookie that only our own pages get, and no script."""
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def drop_cookie(answer: Response, name: str) -> None:
    """Have the browser forget a cookie."""
    answer.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def set_session(answer: Response, cookie: str) -> None:
    """Remember who is signed in; and use other values in forms from now on."""
    set_cookie(answer, SESSION_COOKIE, cookie, LIFETIME)
    set_cookie(answer, FORM_COOKIE, secrets.token_urlsafe(32), None)


def local(path: str | None, otherwise: str = HOME) -> str:
    """Where to go next: only to a page of this site, whatever the address says."""
    return path if path and len(path) <= MAX_NEXT and _LOCAL.fullmatch(path) else otherwise


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of one of our own forms.

    Raises:
        Problem: 403, another site sent it, or the page was too old; 400, it is no form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "this takes the forms of its own pages")
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError:
        raise Problem(400, "this is no form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Problem(400, "a field is there twice")
    must_be_ours(request, fields.get(FORM_FIELD, ""))
    return {name: value.replace("\0", "\ufffd") for name, value in fields.items()}


def must_be_ours(request: Request, token: str) -> None:
    """See that a page of ours sent this.

    Raises:
        Problem: 403, it did not.
    """
    kept = request.cookies.get(FORM_COOKIE, "")
    origin = request.headers.get("origin")
    ours = services_of(request).settings.public_url
    site = request.headers.get("sec-fetch-site", "same-origin")
    if (
        not _FORM_TOKEN.fullmatch(kept)
        or not hmac.compare_digest(kept.encode(), token.encode(errors="replace"))
        or (origin is not None and origin != ours)
        or site not in ("same-origin", "none")
    ):
        raise Problem(403, "this page was open for too long, or cookies are off: load it again", kind="form-over")


async def signed_in(request: Request) -> SignedIn | None:
    """Who is signed in in the browser that asks."""
    cookie = request.cookies.get(SESSION_COOKIE)
    return None if cookie is None else await services_of(request).sessions.browser(cookie)


async def must_be_signed_in(request: Request) -> SignedIn:
    """Who is signed in.

    Raises:
        Redirect: nobody is: to the sign-in page, and back.
    """
    found = await signed_in(request)
    if found is None:
        raise Redirect(sign_in_path(request.url.path if request.method == "GET" else HOME))
    return found


def sign_in_path(back: str) -> str:
    """The sign-in page's address, from which one comes back."""
    return "/auth/sign-in" if back == HOME else f"/auth/sign-in?next={quoted(back)}"


def quoted(path: str) -> str:
    """A local address as it stands in the query of another."""
    return path.replace("%", "%25").replace("&", "%26").replace("#", "%23").replace("+", "%2B")


def _form_token(request: Request) -> str:
    kept = request.cookies.get(FORM_COOKIE, "")
    return kept if _FORM_TOKEN.fullmatch(kept) else secrets.token_urlsafe(32)


_TITLES = {
    403: "This did not come from our page",
    404: "There is no such page",
    409: "This is not possible now",
    410: "This link is over",
    429: "Too many attempts",
    503: "This does not work at the moment",
}


async def no_page(request: Request, error: Exception) -> Response:
    """What no route takes: a page for a browser that looks for one, a problem document for all else."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the only type that it is registered for
    found = Problem(error.status_code, str(error.detail), headers=error.headers)
    if request.url.path.startswith("/auth/") and "text/html" in request.headers.get("accept", ""):
        found.detail = "there is no such page" if error.status_code == 404 else found.detail
        return _failed(request, found)
    return found.response()


def _failed(request: Request, problem: Problem) -> Response:
    title = _TITLES.get(problem.status, "This did not work")
    text = problem.detail
    if problem.status == 503:
        text = "A part of Zentoria does not answer. Nothing is lost; try again in a minute."
    if problem.status == 410:
        text += (
            ". Another one comes from “zentoria users setup-link” for the first account, “zentoria users reset” else"
        )
    return page(
        request,
        "message.html",
        status=problem.status,
        headers=problem.headers,
        title=title,
        text=f"{text[:1].upper()}{text[1:]}.".replace("..", "."),
        back=HOME if problem.status in (403, 409, 410) else "",
    )

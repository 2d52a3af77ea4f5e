"""One's own ways to sign in, and where one is signed in."""

from __future__ import annotations

import io
import uuid

import segno
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from markupsafe import Markup
from zentoria_common.problems import Problem

from zentoria_auth.accounts import repository as accounts
from zentoria_auth.accounts.rules import MIN_LENGTH, RuleError, clean_name
from zentoria_auth.accounts.service import NoAccount
from zentoria_auth.pages import signin, web
from zentoria_auth.pages.web import PageRoute, Redirect
from zentoria_auth.peer import peer_of
from zentoria_auth.services import Services, ServicesDep
from zentoria_auth.sessions.service import FRESH, SignedIn

router = APIRouter(prefix="/auth", route_class=PageRoute, include_in_schema=False)


@router.get("/")
async def home() -> Response:
    """The pages' own front door."""
    return web.see(web.HOME)


@router.get("/security")
async def overview(request: Request, services: ServicesDep, done: str = "") -> Response:
    """All of it on one page."""
    found = await web.must_be_signed_in(request)
    return web.page(
        request,
        "security.html",
        me=await services.accounts.me(found.account.id),
        passkeys=await services.passkeys.listed(found.account.id),
        sessions=await services.sessions.listed(found.account.id, found.sid),
        done=_DONE.get(done, ""),
    )


@router.get("/security/confirm")
async def confirm_form(request: Request, services: ServicesDep, next: str = "") -> Response:
    """Ask again who it is, before ways to sign in are changed."""
    found = await web.must_be_signed_in(request)
    return await _confirm_form(request, services, found, web.local(next))


@router.post("/security/confirm")
async def confirm(request: Request, services: ServicesDep) -> Response:
    """The present password."""
    fields = await web.fields_of(request)
    found = await web.must_be_signed_in(request)
    after = web.local(fields.get("next"))
    try:
        right = await services.sign_in.confirm(found.account.id, fields.get("password", ""), peer_of(request))
    except Problem as problem:
        if problem.status != 429:
            raise
        return await _confirm_form(request, services, found, after, f"{problem.detail.capitalize()}.", 429)
    if not right:
        return await _confirm_form(request, services, found, after, "This password is not right.", 401)
    await services.sessions.freshen(found.sid)
    return web.see(after)


@router.get("/security/password")
async def password_form(request: Request, services: ServicesDep) -> Response:
    """A new password."""
    await _fresh(request, services)
    return web.page(request, "password.html", complaint="", shortest=MIN_LENGTH)


@router.post("/security/password")
async def password(request: Request, services: ServicesDep) -> Response:
    """Set it."""
    fields = await web.fields_of(request)
    found = await _fresh(request, services)
    try:
        if fields.get("password", "") != fields.get("again", ""):
            raise Problem(422, "the two passwords are not the same", kind="not-taken")
        await services.accounts.change_password(
            found.account.id, fields.get("password", ""), peer_of(request), f"session:{found.sid}", found.sid
        )
    except Problem as problem:
        if problem.kind != "not-taken":
            raise
        text = f"{problem.detail[:1].upper()}{problem.detail[1:]}."
        return web.page(request, "password.html", status=422, complaint=text, shortest=MIN_LENGTH)
    return web.see("/auth/security?done=password")


@router.get("/security/totp")
async def totp_form(request: Request, services: ServicesDep) -> Response:
    """The secret for an authenticator app, and the field for its first code."""
    found = await _fresh(request, services)
    return await _totp_form(request, services, found)


@router.post("/security/totp")
async def totp(request: Request, services: ServicesDep) -> Response:
    """Begin, or show the first code."""
    fields = await web.fields_of(request)
    found = await _fresh(request, services)
    if "code" not in fields:
        await services.factors.begin_totp(found.account.id, found.account.email)
        return web.see("/auth/security/totp")
    try:
        codes = await services.factors.confirm_totp(
            found.account.id, fields["code"], peer_of(request), f"session:{found.sid}"
        )
    except Problem as problem:
        if problem.kind != "wrong-code":
            raise
        return await _totp_form(
            request, services, found, "This code is not right. Take the one that the app shows now."
        )
    return _codes(request, codes, "totp")


@router.post("/security/totp/remove")
async def remove_totp(request: Request, services: ServicesDep) -> Response:
    """Take the app away."""
    await web.fields_of(request)
    found = await _fresh(request, services)
    await services.factors.remove_totp(found.account.id, peer_of(request), f"session:{found.sid}")
    return web.see("/auth/security?done=removed")


@router.post("/security/recovery-codes")
async def new_codes(request: Request, services: ServicesDep) -> Response:
    """Ten new codes."""
    await web.fields_of(request)
    found = await _fresh(request, services)
    codes = await services.factors.new_codes(found.account.id, peer_of(request), f"session:{found.sid}")
    return _codes(request, codes, "codes")


@router.get("/security/passkey")
async def passkey_form(request: Request, services: ServicesDep) -> Response:
    """A new passkey."""
    await _fresh(request, services)
    return web.page(request, "passkey.html", complaint="")


@router.post("/security/passkey/options")
async def passkey_options(request: Request, services: ServicesDep) -> Response:
    """What the page's script asks the browser."""
    web.must_be_ours(request, request.headers.get(web.FORM_HEADER, ""))
    found = await _fresh(request, services)
    async with services.database.session() as session:
        account = await accounts.find(session, user_id=found.account.id)
    if account is None:
        raise NoAccount
    question = await services.passkeys.ask_to_add(account.id, account.handle, account.email, account.name)
    return JSONResponse({"id": question.id, "options": question.options}, headers={"cache-control": "no-store"})


@router.post("/security/passkey")
async def add_passkey(request: Request, services: ServicesDep) -> Response:
    """Keep what the browser made."""
    fields = await web.fields_of(request)
    found = await _fresh(request, services)
    try:
        question, credential = signin.answered(fields)
        name = clean_name(fields.get("name", "")) or "Passkey"
        _, codes = await services.passkeys.add(
            found.account.id, question, credential, name, peer_of(request), f"session:{found.sid}"
        )
    except RuleError as error:
        return web.page(request, "passkey.html", status=422, complaint=f"{str(error).capitalize()}.")
    except Problem as problem:
        if problem.kind != "wrong-passkey":
            raise
        return web.page(request, "passkey.html", status=422, complaint="This passkey could not be used. Try again.")
    return _codes(request, codes, "passkey")


@router.post("/security/passkey/{passkey_id}/remove")
async def remove_passkey(passkey_id: uuid.UUID, request: Request, services: ServicesDep) -> Response:
    """Take one away."""
    await web.fields_of(request)
    found = await _fresh(request, services)
    await services.passkeys.remove(found.account.id, passkey_id, peer_of(request), f"session:{found.sid}")
    return web.see("/auth/security?done=removed")


@router.post("/security/sessions/{sid}/end")
async def end_session(sid: uuid.UUID, request: Request, services: ServicesDep) -> Response:
    """End one of one's own sessions."""
    await web.fields_of(request)
    found = await web.must_be_signed_in(request)
    await services.sessions.end(sid, "ended_by_user", peer_of(request), user_id=found.account.id)
    return web.see("/auth/security?done=ended" if sid != found.sid else "/auth/sign-in")


_DONE = {
    "password": "The password is changed. All other sessions have ended.",
    "removed": "Removed.",
    "ended": "That session has ended.",
    "totp": "The authenticator app is set up.",
    "passkey": "The passkey is added.",
    "codes": "The old recovery codes are worth nothing any more.",
}


async def _fresh(request: Request, services: Services) -> SignedIn:
    """Who is signed in, and showed it lately; else the page that asks, and then back."""
    found = await web.must_be_signed_in(request)
    if services.clock() - found.authenticated_at > FRESH:
        back = request.url.path if request.method == "GET" else web.HOME
        raise Redirect(f"/auth/security/confirm?next={web.quoted(back)}")
    return found


async def _confirm_form(
    request: Request, services: Services, found: SignedIn, after: str, complaint: str = "", status: int = 200
) -> Response:
    me = await services.accounts.me(found.account.id)
    return web.page(
        request, "confirm.html", status=status, me=me, next=after, quoted_next=web.quoted(after), complaint=complaint
    )


async def _totp_form(request: Request, services: Services, found: SignedIn, complaint: str = "") -> Response:
    pending = await services.factors.pending_totp(found.account.id, found.account.email)
    if pending is None:
        return web.see(web.HOME)
    return web.page(
        request,
        "totp.html",
        status=422 if complaint else 200,
        secret=" ".join(pending.secret[at : at + 4] for at in range(0, len(pending.secret), 4)),
        uri=pending.uri,
        picture=_picture(pending.uri),
        complaint=complaint,
    )


def _codes(request: Request, codes: tuple[str, ...], done: str) -> Response:
    """Show recovery codes, once; where there are no new ones, go on."""
    if not codes:
        return web.see(f"/auth/security?done={done}")
    return web.page(request, "codes.html", codes=codes, done=_DONE[done])


def _picture(text: str) -> Markup:
    """A QR code as SVG without styles, which the page's policy would refuse."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, svgns=True, scale=4, border=4, dark="#000", light="#fff",
        svgclass="qr", lineclass=None, omitsize=True,
    )  # fmt: skip
    return Markup(out.getvalue().decode())  # noqa: S704 - made here, of a text that the QR code has as modules alone

"""The pages that a person sees: consent, a device's code, what was allowed. No script is needed for any of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

import jinja2
from fastapi.responses import HTMLResponse
from zentoria_common.scopes import SCOPES

from zentoria_auth.oauth import redirects
from zentoria_auth.oauth.clients import Client
from zentoria_auth.oauth.repository import Grant
from zentoria_auth.oauth.requests import AuthorizationRequest, Offer
from zentoria_auth.providers.repository import Linked
from zentoria_auth.providers.settings import Provider
from zentoria_auth.sessions.service import Account

_templates = jinja2.Environment(
    loader=jinja2.ChoiceLoader(
        # the frame and what it looks like are those of the sign-in pages
        [jinja2.PackageLoader("zentoria_auth.oauth"), jinja2.PackageLoader("zentoria_auth.pages")]
    ),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# The same-origin referrer policy and not none: with none, browsers send "Origin: null" with our own forms.
_HEADERS = {"cache-control": "no-store", "referrer-policy": "same-origin", "x-frame-options": "DENY"}


@dataclasses.dataclass(frozen=True)
class ScopeLine:
    """A line of the list of what a program asks for."""

    name: str
    words: str
    ticked: bool


def scope_lines(asked: Sequence[str], possible: Collection[str]) -> list[ScopeLine]:
    """What is asked for, of what this user can give."""
    return [ScopeLine(name, SCOPES[name], True) for name in asked if name in possible]


def consent(
    client: Client, request: AuthorizationRequest, user: Account, lines: Sequence[ScopeLine], ticket: str, offer: Offer
) -> HTMLResponse:
    """Ask whether a program may act for the user."""
    return _page(
        "consent.html",
        form_to=redirects.form_action(request.redirect_uri),
        client=client,
        client_host=urlsplit(client.id).hostname if client.kind == "metadata" else None,
        place=redirects.place(request.redirect_uri),
        own_machine=not request.redirect_uri.startswith("https://"),
        reach=_reach(request.resource, offer),
        user=user,
        lines=lines,
        ticket=ticket,
    )


def device_code(user: Account, complaint: str = "", typed: str = "", status: int = 200) -> HTMLResponse:
    """Ask for the code that a device shows."""
    return _page("device.html", status=status, user=user, complaint=complaint, typed=typed)


def device_consent(
    client: Client, user: Account, lines: Sequence[ScopeLine], user_code: str, resource: str, offer: Offer
) -> HTMLResponse:
    """Ask whether the device may act for the user."""
    return _page(
        "device_consent.html",
        client=client,
        user=user,
        lines=lines,
        user_code=user_code,
        reach=_reach(resource, offer),
    )


def applications(user: Account, grants: Sequence[Grant], offer: Offer) -> HTMLResponse:
    """List what the user allowed."""
    shown = [
        (grant, _reach(grant.resource, offer), [SCOPES.get(name, name) for name in grant.scopes]) for grant in grants
    ]
    return _page("applications.html", user=user, grants=shown)


def identities(user: Account, linked: Sequence[Linked], providers: Sequence[Provider]) -> HTMLResponse:
    """List how else the user signs in, and what can be linked."""
    return _page("identities.html", user=user, linked=linked, providers=providers)


def message(title: str, text: str, status: int = 200) -> HTMLResponse:
    """Say something and ask nothing."""
    return _page("message.html", status=status, title=title, text=text, back="")


def _reach(resource: str, offer: Offer) -> str:
    return "the tools for assistants (MCP)" if resource == offer.resources[0] else "the programming interface (API)"


def _page(template: str, *, status: int = 200, form_to: str = "", **values: Any) -> HTMLResponse:
    policy = f"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {form_to}".rstrip()
    policy += "; frame-ancestors 'none'; base-uri 'none'"
    text = _templates.get_template(template).render(**values)
    return HTMLResponse(text, status_code=status, headers={**_HEADERS, "content-security-policy": policy})

"""What a person does with the web application, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, Open, Together
from tests.support.node_tools import node_modules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PARTS = ("profile", "security", "sessions", "keys", "programs", "memory", "appearance")
PAGES = (
    *("/chat", "/files", "/approvals", "/workflows", "/system", "/audit"),
    *(f"/settings/{one}" for one in PARTS),
)
SHOTS = os.environ.get("ZENTORIA_SHOTS")
"""A folder for pictures of every page, for somebody who wants to look at them."""


@pytest.fixture(autouse=True)
def patience() -> None:
    expect.set_options(timeout=60_000)


def axe(page: Page) -> list[str]:
    """What axe finds wrong with a page as it is, by WCAG 2.2 AA."""
    # Not as a script of the page, which its policy would refuse: through the debugger.
    source = (node_modules() / "axe-core/axe.min.js").read_text()
    page.evaluate(source)
    found = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


STILL = """() => document.getAnimations().every(
    one => one.playState === "finished" || one.effect.getTiming().iterations === Infinity)"""


def settled(page: Page) -> None:
    """Until what the page asked for is there, and nothing moves."""
    expect(page.locator("h1").first).to_be_visible()
    page.wait_for_function("() => !document.querySelector('main [role=status]:not([aria-live])')")
    page.wait_for_function(STILL)


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name.strip('/').replace('/', '-')}.png")


def test_sign_in_without_script_and_what_is_wrong(visit: Open, site: Together) -> None:
    page = visit("/files", signed_in=False, java_script_enabled=False)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("E-mail address").fill(site.account.email)
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("E-mail address or password is wrong.")
    page.get_by_label("E-mail address").fill(site.account.email)
    page.get_by_label("Password").fill(site.account.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/files")


def test_the_browser_holds_no_token_and_other_sites_have_no_power(visit: Open) -> None:
    page = visit("/chat")
    (cookie,) = [one for one in page.context.cookies() if one["name"] == "__Host-zentoria"]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    ask = "([path, headers]) => fetch(path, {method: 'POST', headers, body: '{}'}).then(answer => answer.status)"
    given = {"content-type": "application/json"}
    assert page.evaluate(ask, ["/bff/api/v1/conversations", given]) == 403
    csrf = page.evaluate("fetch('/bff/session').then(answer => answer.json())")["csrf"]
    assert page.evaluate(ask, ["/bff/api/v1/conversations", {**given, "x-csrf-token": csrf}]) == 201
    assert page.evaluate(ask, ["/bff/api/v1/auth/refresh", {**given, "x-csrf-token": csrf}]) == 403
    foreign = page.request.post("/bff/sign-out", headers={"sec-fetch-site": "cross-site"})
    assert foreign.status == 403
    policy = page.request.get("/chat").headers["content-security-policy"]
    assert "'nonce-" in policy and "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert "require-trusted-types-for 'script'" in policy


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("size", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_every_page_is_accessible_and_fits(visit: Open, theme: str, size: str, viewport: dict[str, int]) -> None:
    page = visit("/chat", viewport=viewport, color_scheme=theme, reduced_motion="reduce", has_touch=size == "phone")
    found: dict[str, list[str]] = {}
    for path in PAGES:
        page.goto(path)
        settled(page)
        shot(page, f"{path}-{size}-{theme}")
        found[path] = axe(page)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            found[path].append(f"it is {wide} px too wide")
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_a_session_ended_in_one_browser_leaves_the_other_and_nothing_typed_is_lost(visit: Open) -> None:
    other = visit("/chat", user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    other.get_by_label("Message").fill("half a thought")
    page = visit("/settings/sessions")
    page.get_by_role("button", name="End: Firefox, Linux").first.click()
    expect(page.get_by_text("The session is ended")).to_be_visible()
    other.get_by_role("link", name="Files").first.click()
    expect(other.get_by_text("Your session has ended")).to_be_visible()
    assert "half a thought" in other.evaluate("localStorage.getItem('zentoria-drafts')")


def test_theme_and_language_are_the_servers_from_the_first_byte(visit: Open) -> None:
    page = visit("/settings/appearance", color_scheme="light")
    page.get_by_label("Dark").check()
    page.get_by_label("Deutsch").check()
    expect(page.get_by_role("heading", level=1)).to_have_text("Einstellungen")
    text = page.request.get("/settings/appearance").text()
    assert '<html lang="de" class="dark"' in text
    assert "Einstellungen" in text


def test_sign_out(visit: Open) -> None:
    page = visit("/settings/profile")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/files")
    page.wait_for_url("**/sign-in?next=%2Ffiles")

"""A real Chromium before the real web application, gateway and auth service, all on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "services"))

from dev_stack import Together, together
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PATIENCE_MS = 60_000
"""How long a page may take on a machine that has much else to do; nothing waits longer than it must."""


@pytest.fixture(scope="module")
def site() -> Iterator[Together]:
    """All of it, started."""
    app = os.environ.get("ZENTORIA_FRONTEND")
    with together(Path(app) if app else None) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. Its sandbox wants user namespaces, which root in a container has not."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


Open = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser, site: Together) -> Iterator[Open]:
    """A new browser of somebody; what its pages complain of fails the test, unless it is expected."""
    complaints: list[str] = []
    with contextlib.ExitStack() as stack:

        def visitor(path: str = "/", *, signed_in: bool = True, complain: bool = True, **options: Any) -> Page:
            context: BrowserContext = chromium.new_context(base_url=site.url, **{"viewport": DESKTOP, **options})
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            if complain:
                page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
                page.on("console", lambda said: complaints.append(f"{page.url}: {said.text}") if _bad(said) else None)
            if signed_in:
                sign_in(page, site, path)
            else:
                page.goto(path)
            return page

        yield visitor
    assert complaints == []


def sign_in(page: Page, site: Together, path: str = "/") -> None:
    """Sign in as a person does, and go on to ``path``."""
    page.goto(path)
    page.get_by_label("E-mail address").fill(site.account.email)
    page.get_by_label("Password").fill(site.account.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def _bad(said: Any) -> bool:
    """What a page must not say: that a policy stopped something, that React is unhappy. Answers that are errors are
    told in the pages, and each test looks for itself."""
    return said.type == "error" and "Failed to load resource" not in said.text

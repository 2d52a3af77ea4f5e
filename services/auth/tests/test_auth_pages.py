"""The pages, as a browser meets them: first run, sign-in, second step, passkeys, forms of other sites."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from auth_browser import Browser, Device
from auth_servers import PASSWORD, Site
from hypothesis import given
from hypothesis import strategies as st
from zentoria_auth.pages.web import HOME, local
from zentoria_auth.peer import Peer
from zentoria_auth.providers.service import Arrived, Providers
from zentoria_auth.providers.settings import Provider

NEW = "a quite different phrase"


async def first_link(site: Site) -> str:
    return (await site.services.setup.first_run(Peer(), "service:test")).url.removeprefix("https://zentoria.test")


async def add_passkey(browser: Browser, device: Device, name: str = "Laptop") -> Any:
    await browser.get("/auth/security/passkey")
    question = await browser.ask("/auth/security/passkey/options")
    credential = json.dumps(device.make(question["options"]))
    return await browser.post("/auth/security/passkey", question=question["id"], credential=credential, name=name)


async def show_passkey(browser: Browser, device: Device, path: str = "/auth/sign-in") -> Any:
    question = await browser.ask("/auth/passkey/options")
    return await browser.post(path, question=question["id"], credential=json.dumps(device.show(question["options"])))


def recovery_codes(browser: Browser) -> list[str]:
    return re.findall(r"<li>((?:[a-z0-9]{4}-?){4})</li>", browser.text)


@pytest.mark.asyncio
async def test_the_link_makes_the_owner_signs_in_and_leaves_the_address(site: Site) -> None:
    link, browser = await first_link(site), Browser(site)
    await browser.get(link)
    assert browser.path == "/auth/setup"
    assert browser.title == "Welcome to your Zentoria"
    assert link.partition("token=")[2] not in browser.text
    fields = {"email": "anna@example.org", "name": "<b>Anna</b>", "password": PASSWORD}
    await browser.post("/auth/setup", **fields, again="another one")
    assert (browser.at.status_code, "not the same" in browser.text) == (422, True)
    assert PASSWORD not in browser.text
    await browser.post("/auth/setup", **fields, again=PASSWORD)
    assert (browser.path, browser.title) == ("/auth/welcome", "Hello, <b>Anna</b>")
    assert "&lt;b&gt;Anna" in browser.text
    other = Browser(site)
    await other.get(link)
    assert (other.at.status_code, other.title) == (410, "This link is over")
    assert "zentoria users setup-link" in other.text  # and what to do


@pytest.mark.asyncio
async def test_sign_in_goes_where_one_wanted_and_sign_out_ends_it(site: Site) -> None:
    await site.owner()
    browser = Browser(site)
    await browser.get("/auth/security")
    assert browser.path == "/auth/sign-in"
    await browser.sign_in("wrong")
    assert (browser.at.status_code, "E-mail address or password is not right." in browser.text) == (401, True)
    await browser.sign_in(PASSWORD, next="/auth/applications%3Fa=1%26b=2")
    assert browser.path == "/auth/applications?a=1&b=2"
    await browser.get("/auth/security")
    assert browser.title == "Signing in"
    cookie = browser.client.cookies["__Host-zentoria_auth"]
    await browser.get("/auth/sign-out")
    await browser.post("/auth/sign-out")
    assert browser.path == "/auth/sign-in"
    browser.client.cookies.set("__Host-zentoria_auth", cookie, domain="zentoria.test", path="/")
    await browser.get("/auth/security")
    assert browser.path == "/auth/sign-in"
    assert site.audited()[-1] == "auth.logout"


@pytest.mark.asyncio
async def test_to_the_authorization_endpoint_one_goes_over_a_page_because_it_may_lead_elsewhere(site: Site) -> None:
    await site.owner()
    browser = Browser(site)
    await browser.sign_in(PASSWORD, next="/oauth/authorize%3Fclient_id=a%26state=%2522")
    assert (browser.path, browser.title) == ("/auth/sign-in", "You are signed in")
    assert '<meta http-equiv="refresh" content="0;url=/oauth/authorize?client_id=a&amp;state=%22">' in browser.text
    await browser.get("/auth/security")
    assert browser.path == "/auth/security"


@pytest.mark.asyncio
async def test_cookies_are_for_our_pages_alone_and_forms_have_a_policy(site: Site) -> None:
    await site.owner()
    browser = Browser(site)
    answer = await browser.get("/auth/sign-in")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    done = await browser.sign_in(PASSWORD)
    set_cookies = [value for one in [*done.history, done] for value in one.headers.get_list("set-cookie")]
    names = {value.partition("=")[0] for value in set_cookies}
    assert {"__Host-zentoria_auth", "__Host-zentoria_form"} <= names
    for value in set_cookies:
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(value.split("; "))
        assert "omain=" not in value


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "how", ["no token", "another token", "no cookie", "another origin", "null origin", "cross-site", "json", "twice"]
)
async def test_a_form_of_another_site_does_nothing(site: Site, how: str) -> None:
    await site.owner()
    browser = Browser(site)
    await browser.get("/auth/sign-in")
    fields = {"email": "anna@example.org", "password": PASSWORD, "form_token": browser.token()}
    headers: dict[str, str] = {}
    content = ""
    if how == "no token":
        del fields["form_token"]
    elif how == "another token":
        fields["form_token"] = "A" * 43
    elif how == "no cookie":
        browser.client.cookies.clear()
    elif how == "another origin":
        headers["origin"] = "https://evil.test"
    elif how == "null origin":
        headers["origin"] = "null"
    elif how == "cross-site":
        headers["sec-fetch-site"] = "cross-site"
    elif how == "json":
        headers["content-type"] = "text/plain"
    elif how == "twice":
        content = f"email=a&email=b&form_token={fields['form_token']}"
        headers["content-type"] = "application/x-www-form-urlencoded"
    sent: dict[str, Any] = {"content": content} if content else {"data": fields}
    answer = await browser.client.post("/auth/sign-in", headers=headers, **sent)
    assert answer.status_code == (415 if how == "json" else 400 if how == "twice" else 403)
    assert "__Host-zentoria_auth" not in browser.client.cookies
    assert "auth.login" not in site.audited()
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.test", "//evil.test", "/\\evil.test", "\\\\evil.test", "/\t/evil.test", "/\n/evil.test",
        "javascript:alert(1)", "evil.test", "", " /x", "/x y", "/x\r\nSet-Cookie: a=b", "/" + "a" * 7000, "/\u2215evil",
    ],
)  # fmt: skip
def test_one_goes_nowhere_else(path: str) -> None:
    assert local(path) == HOME


@given(st.text(max_size=60))
def test_where_one_goes_is_a_path_here(path: str) -> None:
    found = local("/" + path)
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert found.isascii()
    assert found.isprintable()


@pytest.mark.asyncio
async def test_the_second_step_in_a_browser(site: Site) -> None:
    anna = await site.owner()
    app, codes = await site.totp(anna.id)
    browser = Browser(site)
    await browser.sign_in(PASSWORD, next="/auth/applications")
    assert browser.path == "/auth/sign-in/code?next=/auth/applications"
    await browser.post("/auth/sign-in/code", code="000000", next=browser.hidden("next"))
    assert (browser.at.status_code, "This code is not right." in browser.text) == (401, True)
    await browser.post("/auth/sign-in/code", code=site.code(app), next=browser.hidden("next"))
    assert browser.path == "/auth/applications"
    other = Browser(site)
    await other.sign_in(PASSWORD)
    await other.post("/auth/sign-in/code", code=codes[0])
    assert other.path == "/auth/security"
    await Browser(site).get("/auth/sign-in/code")
    late = Browser(site)
    await late.get("/auth/sign-in/code")
    assert late.path == "/auth/sign-in"


@pytest.mark.asyncio
async def test_an_authenticator_app_is_set_up_and_its_codes_are_shown_once(site: Site) -> None:
    import pyotp

    await site.owner()
    browser = Browser(site)
    await browser.sign_in(PASSWORD)
    await browser.post("/auth/security/totp")
    assert browser.title == "Authenticator app"
    assert "<svg" in browser.text
    assert " style=" not in browser.text
    found = re.search(r'href="(otpauth:[^"]+)"', browser.text)
    assert found
    app = pyotp.parse_uri(html.unescape(found[1]))
    assert isinstance(app, pyotp.TOTP)
    await browser.post("/auth/security/totp", code="000000")
    assert "not right" in browser.text
    await browser.post("/auth/security/totp", code=site.code(app))
    codes = recovery_codes(browser)
    assert len(codes) == 10
    await browser.get("/auth/security")
    assert "10 left" in browser.text
    assert codes[0] not in browser.text
    await browser.post("/auth/security/recovery-codes")
    assert set(recovery_codes(browser)).isdisjoint(codes)
    await browser.get("/auth/security")
    await browser.post("/auth/security/totp/remove")
    assert "Password alone opens" in browser.text or "password alone opens" in browser.text


@pytest.mark.asyncio
async def test_a_passkey_is_added_signs_in_and_is_removed(site: Site) -> None:
    await site.owner()
    browser, device = Browser(site), Device()
    await browser.sign_in(PASSWORD)
    await add_passkey(browser, device, "Blue <key>")
    assert len(recovery_codes(browser)) == 10
    await browser.get("/auth/security")
    assert "Blue &lt;key&gt;" in browser.text
    assert site.rows("select transports, discoverable, sign_count from passkeys") == [(["internal"], True, 0)]

    other = Browser(site)
    await other.get("/auth/sign-in?next=/auth/applications")
    await show_passkey(other, device)
    assert other.path == "/auth/security"
    ((amr,),) = site.rows("select amr from sessions order by created_at desc limit 1")
    assert amr == ["pop", "user", "mfa"]
    assert site.rows("select sign_count from passkeys") == [(1,)]

    second = Browser(site)
    await second.sign_in(PASSWORD)
    assert second.title == "One more step"
    await show_passkey(second, device, "/auth/sign-in/code")
    assert second.path == "/auth/security"

    await browser.get("/auth/security")
    found = re.search(r'action="(/auth/security/passkey/[^"]+/remove)"', browser.text)
    assert found
    await browser.post(found[1])
    assert site.rows("select count(*) from passkeys") == [(0,)]
    await other.get("/auth/sign-in?again=true")
    await show_passkey(other, device)
    assert other.at.status_code == 401
    assert {"auth.passkey_added", "auth.passkey_removed"} <= set(site.audited())


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["origin", "host", "not verified", "replayed", "another challenge", "copied counter",
                                 "another user", "signature", "disabled"])  # fmt: skip
async def test_a_passkey_that_is_not_right_opens_nothing(site: Site, how: str) -> None:
    await site.owner()
    browser, device = Browser(site), Device()
    await browser.sign_in(PASSWORD)
    await add_passkey(browser, device)
    other = Browser(site)
    await other.get("/auth/sign-in")
    question = await other.ask("/auth/passkey/options")
    options = question["options"]
    if how == "origin":
        device.origin = "https://evil.test"
    elif how == "host":
        device.host = "evil.test"
    elif how == "not verified":
        device.flags = 0x01
    elif how == "another challenge":
        options = (await other.ask("/auth/passkey/options"))["options"]
    elif how == "copied counter":
        site.rows("update passkeys set sign_count = 50 returning id")
    elif how == "another user":
        device.handle = b"somebody else"
    elif how == "disabled":
        site.rows("update users set disabled_at = now() returning id")
    credential = device.show(options)
    if how == "signature":
        credential["response"]["signature"] = credential["response"]["signature"][:-6] + "AAAAAA"
    if how == "replayed":
        await other.client.post("/auth/sign-in", data={"form_token": other.token(), "question": question["id"],
                                                       "credential": json.dumps(credential)})  # fmt: skip
        other = Browser(site)
        await other.get("/auth/sign-in")
    await other.post("/auth/sign-in", question=question["id"], credential=json.dumps(credential))
    assert other.at.status_code == 401
    assert "__Host-zentoria_auth" not in other.client.cookies


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "credential",
    ["x", "[]", "{}", '{"id": 1}', '{"id": "AA", "response": []}', '{"id": "AA", "response": {}}', "[" * 5000,
     '{"id": "AA", "response": {"clientDataJSON": 1, "userHandle": {}}}', '{"id": "\\u0000", "response": {}}'],
)  # fmt: skip
async def test_what_is_no_passkey_is_a_complaint_on_the_page(site: Site, credential: str) -> None:
    await site.owner()
    browser = Browser(site)
    await browser.get("/auth/sign-in")
    question = await browser.ask("/auth/passkey/options")
    await browser.post("/auth/sign-in", question=question["id"], credential=credential)
    assert browser.at.status_code in (401, 422)
    await browser.sign_in(PASSWORD)
    await browser.get("/auth/security/passkey")
    question = await browser.ask("/auth/security/passkey/options")
    await browser.post("/auth/security/passkey", question=question["id"], credential=credential)
    assert browser.at.status_code == 422


@pytest.mark.asyncio
async def test_after_a_while_one_shows_again_who_one_is(site: Site) -> None:
    await site.owner()
    browser = Browser(site)
    await browser.sign_in(PASSWORD)
    site.ahead += 16 * 60
    await browser.get("/auth/security/password")
    assert (browser.path, browser.title) == ("/auth/security/confirm?next=/auth/security/password", "Is it you?")
    await browser.post("/auth/security/confirm", password="wrong", next=browser.hidden("next"))
    assert browser.at.status_code == 401
    await browser.post("/auth/security/confirm", password=PASSWORD, next=browser.hidden("next"))
    assert browser.path == "/auth/security/password"
    await browser.post("/auth/security/password", password="short", again="short")
    assert "at least 12" in browser.text
    await browser.post("/auth/security/password", password=NEW, again=NEW)
    assert browser.path == "/auth/security?done=password"
    other = Browser(site)
    await other.sign_in(PASSWORD)
    assert other.at.status_code == 401
    await other.sign_in(NEW)
    assert other.path == "/auth/security"


@pytest.mark.asyncio
async def test_ones_sessions_are_ended_one_by_one(site: Site) -> None:
    await site.owner()
    first, second = Browser(site), Browser(site)
    await first.sign_in(PASSWORD)
    await second.sign_in(PASSWORD)
    await second.get("/auth/security")
    ends = re.findall(r'action="(/auth/security/sessions/[^"]+/end)"', second.text)
    assert len(ends) == 2
    assert second.text.count("this browser") == 1
    await second.post(ends[1])
    await first.get("/auth/security")
    assert first.path == "/auth/sign-in"
    await second.get("/auth/security")
    assert second.path == "/auth/security"


@pytest.mark.asyncio
async def test_who_comes_from_a_provider_takes_our_second_step_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = await site.owner()
    app, _ = await site.totp(anna.id)
    provider = Provider(name="corp", kind="oidc", label="<Corp>", issuer="https://id.test", client_id="x")
    monkeypatch.setattr(Providers, "shown", property(lambda _: [provider]))

    async def arrive(*_: object) -> Arrived:
        return Arrived(user_id=anna.id, amr=("fed",), next="/auth/identities", linked=False)

    monkeypatch.setattr(Providers, "arrive", arrive)
    browser = Browser(site)
    await browser.get("/auth/sign-in?next=/auth/identities")
    assert 'href="/auth/providers/corp/start?next=/auth/identities">Sign in with &lt;Corp&gt;<' in browser.text
    await browser.get("/auth/providers/corp/callback?code=x&state=y")
    assert browser.path == "/auth/sign-in/code?next=/auth/identities"
    await browser.post("/auth/sign-in/code", code=site.code(app), next=browser.hidden("next"))
    assert browser.path == "/auth/identities"
    ((amr,),) = site.rows("select amr from sessions order by created_at desc limit 1")
    assert amr == ["fed", "otp", "mfa"]


@pytest.mark.asyncio
async def test_errors_are_pages_and_bad_bodies_too(site: Site, redis_server: Any) -> None:
    browser = Browser(site)
    await browser.get("/auth/setup")
    assert (browser.at.status_code, browser.title) == (410, "This link is over")
    for content in (b"\xff\xfe", b"a=" + b"x" * 70_000, b"&".join(b"f%d=1" % n for n in range(1000))):
        answer = await browser.client.post(
            "/auth/sign-in", content=content, headers={"content-type": "application/x-www-form-urlencoded"}
        )
        assert answer.status_code in (400, 413)
    for accept, kind in (("text/html,*/*;q=0.8", "text/html"), ("application/json", "application/problem+json")):
        answer = await browser.client.get("/auth/nothing", headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (404, kind)
    await site.owner()
    await browser.get("/auth/sign-in")
    redis_server.stop()
    try:
        await browser.post("/auth/sign-in", email="anna@example.org", password=PASSWORD)
    finally:
        redis_server.start()
    assert (browser.at.status_code, browser.title) == (503, "This does not work at the moment")
    assert int(browser.at.headers["retry-after"]) >= 1


@pytest.mark.asyncio
async def test_style_and_script_come_from_here_and_nothing_else_does(site: Site) -> None:
    browser = Browser(site)
    for name, kind in (("auth.css", "text/css"), ("passkey.js", "text/javascript"), ("icon.svg", "image/svg")):
        answer = await browser.get(f"/auth/static/{name}")
        assert answer.headers["content-type"].startswith(kind)
    for name in ("..%2fweb.py", "web.py", "%2e%2e/web.py", ""):
        assert (await browser.get(f"/auth/static/{name}")).status_code == 404

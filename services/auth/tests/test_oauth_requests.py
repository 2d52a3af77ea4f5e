"""What the authorization server says about requests, redirect URIs and clients, without asking anybody."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from hypothesis import given
from hypothesis import strategies as st
from zentoria_auth.oauth import clients, documents, redirects, requests
from zentoria_auth.oauth.clients import COMMAND_LINE, Client, ClientMetadata
from zentoria_auth.oauth.errors import OAuthError
from zentoria_auth.oauth.metadata import server_metadata
from zentoria_auth.oauth.requests import Offer
from zentoria_auth.oauth.tickets import plain_user_code

OFFER = Offer(
    issuer="https://z.example",
    resources=("https://z.example/mcp", "https://z.example/api"),
    scopes=frozenset({"files:read", "files:write", "search:read"}),
    default_scopes=("files:read",),
)
CALLBACK = "https://app.example/callback"
DOCUMENT_URL = "https://app.example/client.json"


def client(**metadata: Any) -> Client:
    said = {"redirect_uris": (CALLBACK,), "token_endpoint_auth_method": "none"} | metadata
    return Client(id="c", kind="dynamic", metadata=ClientMetadata(**said))


@pytest.mark.parametrize(
    "uri",
    [
        CALLBACK,
        "https://app.example:8443/a?b=c",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:1234/callback",
        "http://[::1]:9/",
        "http://localhost:33418",
        "com.example.app:/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
    ],
)
def test_redirect_uri_that_may_be_registered(uri: str) -> None:
    redirects.check(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/callback",
        "callback",
        "//app.example/callback",
        "http://app.example/callback",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://localhost.evil.example/",
        "http://0.0.0.0/",
        "https://user@app.example/",
        "https://user:secret@app.example/",
        "https://app.example\\@evil.example/",
        "https://app.example/#fragment",
        "https://app.example/ space",
        "https://app.example/\r\nLocation: https://evil.example",
        "https://app.example/ü",
        "https://",
        "https:///callback",
        "HTTPS://app.example/",
        "javascript://app.example/%0aalert(1)",
        "javascript:/alert(1)",
        "data:/text/html,x",
        "file:///etc/passwd",
        "intent://x/",
        "mailto:/someone",
        "a:/b",
        "https://app.example/" + "a" * 2048,
    ],
)
def test_redirect_uri_that_may_not(uri: str) -> None:
    with pytest.raises(ValueError, match="redirect URI"):
        redirects.check(uri)


@pytest.mark.parametrize(
    ("registered", "requested", "same"),
    [
        (CALLBACK, CALLBACK, True),
        (CALLBACK, CALLBACK + "/", False),
        (CALLBACK, CALLBACK + "?a=b", False),
        (CALLBACK, "https://app.example/Callback", False),
        (CALLBACK, "https://app.example:443/callback", False),
        (CALLBACK, "https://app.example/x/../callback", False),
        (CALLBACK, "https://app.example.evil.example/callback", False),
        (CALLBACK, "http://app.example/callback", False),
        ("http://127.0.0.1/callback", "http://127.0.0.1:51234/callback", True),
        ("http://127.0.0.1:3000/callback", "http://127.0.0.1:51234/callback", True),
        ("http://127.0.0.1:3000/callback", "http://127.0.0.1/callback", True),
        ("http://[::1]:3000/callback", "http://[::1]:1/callback", True),
        ("http://localhost:3000/callback", "http://localhost:1/callback", True),
        ("http://127.0.0.1/callback", "http://localhost/callback", False),
        ("http://127.0.0.1/callback", "http://127.0.0.1:1/callback2", False),
        ("http://127.0.0.1/callback", "http://127.0.0.1:1/callback?x", False),
        ("http://127.0.0.1/callback", "http://127.0.0.1:1@evil.example/callback", False),
        ("http://127.0.0.1/callback", "http://127.0.0.1:123456/callback", False),
        ("http://127.0.0.1/callback", "https://127.0.0.1/callback", False),
        ("app.example:/callback", "app.example:/callback", True),
        ("app.example:/callback", "app.example:/callback2", False),
    ],
)
def test_redirect_uri_matches_as_text_but_for_a_loopback_port(registered: str, requested: str, same: bool) -> None:
    assert redirects.matches([registered], requested) is same


@given(st.text(max_size=200))
def test_what_matches_a_loopback_address_leads_to_it(requested: str) -> None:
    if redirects.matches(["http://127.0.0.1/callback"], requested):
        assert redirects.place(requested) == "127.0.0.1"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (CALLBACK, CALLBACK + "?code=a+b&iss=i"),
        (CALLBACK + "?x=1", CALLBACK + "?x=1&code=a+b&iss=i"),
        (CALLBACK + "?", CALLBACK + "?code=a+b&iss=i"),
        ("app.example:/callback", "app.example:/callback?code=a+b&iss=i"),
    ],
)
def test_an_answer_keeps_the_query_of_the_redirect_uri(uri: str, expected: str) -> None:
    assert redirects.answer(uri, {"code": "a b", "state": None, "iss": "i"}) == expected


CHALLENGE = requests.create_s256_code_challenge("v" * 43)
GOOD = {
    "response_type": "code",
    "client_id": "c",
    "redirect_uri": CALLBACK,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "s",
}


def test_authorization_request() -> None:
    asked = requests.authorization(client(), CALLBACK, {**GOOD, "scope": "search:read openid files:read"}, OFFER)
    assert asked.scopes == ("files:read", "search:read")
    assert asked.resource == "https://z.example/mcp"
    assert (asked.state, asked.code_challenge, asked.redirect_uri) == ("s", CHALLENGE, CALLBACK)
    assert requests.authorization(client(), CALLBACK, GOOD, OFFER).scopes == OFFER.default_scopes
    registered = client(scope="files:write admin:users")
    assert requests.authorization(registered, CALLBACK, GOOD, OFFER).scopes == ("files:write",)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "a" * 42 + "="}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"state": "a\nb"}, "invalid_request"),
        ({"scope": "admin:users"}, "invalid_scope"),
        ({"scope": "files:read  files:write"}, "invalid_scope"),
        ({"scope": 'files:read "'}, "invalid_scope"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"resource": "https://z.example/mcp/"}, "invalid_target"),
        ({"resource": "https://z.example/"}, "invalid_target"),
        ({"request": "x"}, "request_not_supported"),
        ({"request_uri": "https://evil.example/"}, "request_uri_not_supported"),
    ],
)
def test_authorization_request_that_is_refused(change: dict[str, str | None], code: str) -> None:
    parameters = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(OAuthError) as refused:
        requests.authorization(client(), CALLBACK, parameters, OFFER)
    assert refused.value.code == code


def test_a_client_without_the_grant_is_refused() -> None:
    with pytest.raises(OAuthError) as refused:
        requests.authorization(client(grant_types=("refresh_token",)), CALLBACK, GOOD, OFFER)
    assert refused.value.code == "unauthorized_client"


@pytest.mark.parametrize(
    ("uris", "requested", "found"),
    [
        ((CALLBACK,), None, CALLBACK),
        ((CALLBACK, CALLBACK + "2"), None, None),
        (("http://127.0.0.1/callback",), None, None),
        ((), None, None),
        ((CALLBACK,), "https://evil.example/callback", None),
    ],
)
def test_redirect_uri_of_a_request(uris: tuple[str, ...], requested: str | None, found: str | None) -> None:
    parameters = {} if requested is None else {"redirect_uri": requested}
    if found is None:
        with pytest.raises(OAuthError):
            requests.redirect_of(client(redirect_uris=uris), parameters)
    else:
        assert requests.redirect_of(client(redirect_uris=uris), parameters) == found


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([("a", "1"), ("a", "1")], "invalid_request"),
        ([("resource", "x"), ("resource", "y")], "invalid_target"),
        ([("a", "x" * 4097)], "invalid_request"),
    ],
)
def test_parameters_stand_there_once(pairs: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(OAuthError) as refused:
        requests.single(pairs)
    assert refused.value.code == code


def test_an_empty_parameter_is_none() -> None:
    assert requests.single([("a", ""), ("a", "1"), ("b", "")]) == {"a": "1"}


@pytest.mark.parametrize(
    ("verifier", "code"),
    [
        (None, "invalid_request"),
        ("v" * 42, "invalid_request"),
        ("v" * 129, "invalid_request"),
        ("ü" * 43, "invalid_request"),
        ("w" * 43, "invalid_grant"),
        (CHALLENGE, "invalid_grant"),
    ],
)
def test_a_verifier_that_does_not_fit(verifier: str | None, code: str) -> None:
    requests.check_verifier(CHALLENGE, "v" * 43)
    with pytest.raises(OAuthError) as refused:
        requests.check_verifier(CHALLENGE, verifier)
    assert refused.value.code == code


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("headers", "form", "expected"),
    [
        ([], {"client_id": "a"}, ("a", None)),
        ([], {"client_id": "a", "client_secret": "s"}, ("a", "s")),
        ([basic("a:s")], {}, ("a", "s")),
        ([basic("a:s")], {"client_id": "a"}, ("a", "s")),
        ([basic("https%3A%2F%2Fx.example%2Fc:s+t%3A")], {}, ("https://x.example/c", "s t:")),
        ([], {}, "invalid_client"),
        ([basic("a")], {}, "invalid_client"),
        (["Bearer x"], {"client_id": "a"}, "invalid_client"),
        (["Basic %%%"], {}, "invalid_client"),
        ([basic("a:s"), basic("a:s")], {}, "invalid_request"),
        ([basic("a:s")], {"client_secret": "s"}, "invalid_request"),
        ([basic("a:s")], {"client_id": "b"}, "invalid_request"),
    ],
)
def test_credentials_of_a_client(headers: list[str], form: dict[str, str], expected: tuple[str, str] | str) -> None:
    if isinstance(expected, tuple):
        assert requests.client_credentials(headers, form) == expected
        return
    with pytest.raises(OAuthError) as refused:
        requests.client_credentials(headers, form)
    assert refused.value.code == expected


@pytest.mark.parametrize(
    ("kept", "given", "right"),
    [(None, None, True), (None, "s", False), ("s", "s", True), ("s", "t", False), ("s", None, False), ("s", "", False)],
)
def test_secret_of_a_client(kept: str | None, given: str | None, right: bool) -> None:
    digest = None if kept is None else clients.hashlib.sha256(kept.encode()).hexdigest()
    who = client().model_copy(update={"secret_hash": digest})
    if right:
        who.check_secret(given)
    else:
        with pytest.raises(OAuthError):
            who.check_secret(given)


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        (DOCUMENT_URL, True),
        ("https://app.example:8443/a/b", True),
        ("https://app.example/", True),
        ("https://app.example", False),
        ("http://app.example/client.json", False),
        ("https://localhost/client.json", False),
        ("https://127.0.0.1/client.json", True),
        ("https://user@app.example/client.json", False),
        ("https://app.example/client.json#x", False),
        ("https://app.example/client.json?x", False),
        ("https://app.example/a/../client.json", False),
        ("https://app.example/./client.json", False),
        ("https://app.example/a/%2E%2e/client.json", False),
        ("https://app.example/..", False),
        ("https://app.example/...", True),
        ("https://app.example/" + "a" * 2048, False),
        ("550e8400-e29b-41d4-a716-446655440000", False),
        ("https://app.example/\n", False),
    ],
)
def test_client_id_that_is_the_url_of_a_document(url: str, is_one: bool) -> None:
    # An address of ours passes here: that it is private is what the outbound client sees, for names as well.
    assert clients.is_document_url(url) is is_one


DOCUMENT: dict[str, Any] = {"client_id": DOCUMENT_URL, "client_name": "An app", "redirect_uris": [CALLBACK]}


def test_metadata_document() -> None:
    found = clients.document(DOCUMENT_URL, {**DOCUMENT, "logo_uri": "https://app.example/l", "other": {"a": 1}})
    assert (found.id, found.name, found.kind) == (DOCUMENT_URL, "An app", "metadata")
    assert found.metadata.token_endpoint_auth_method == "none"
    hidden = clients.document(DOCUMENT_URL, {**DOCUMENT, "client_name": "Zen\u202etoria\u200b\n x"})
    assert hidden.name == "Zentoria x"
    assert clients.document(DOCUMENT_URL, {**DOCUMENT, "client_name": ""}).name == DOCUMENT_URL


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "https://evil.example/client.json"},
        {"client_id": DOCUMENT_URL + "/"},
        {"client_id": None},
        {"client_secret": "s"},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"redirect_uris": []},
        {"redirect_uris": None},
        {"redirect_uris": "https://app.example/callback"},
        {"redirect_uris": ["http://app.example/callback"]},
        {"redirect_uris": [7]},
        {"redirect_uris": [CALLBACK] * 21},
        {"client_name": "a" * 201},
        {"client_name": {"en": "x"}},
        {"client_uri": "javascript:alert(1)"},
        {"grant_types": ["authorization_code", "implicit"]},
        {"grant_types": ["authorization_code", "\x00 <b>"]},
        {"response_types": ["token"]},
        {"response_types": ["code", "token"]},
    ],
)
def test_metadata_document_that_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OAuthError) as refused:
        clients.document(DOCUMENT_URL, {**DOCUMENT, **change})
    assert refused.value.code == "invalid_client"
    assert refused.value.description.isascii()
    assert not set('"\\') & set(refused.value.description)


def test_the_command_line_may_register_nothing_else() -> None:
    assert COMMAND_LINE.may(clients.DEVICE_GRANT)
    assert COMMAND_LINE.secret_hash is None
    for uri in COMMAND_LINE.metadata.redirect_uris:
        assert redirects.is_loopback(uri)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 3600),
        ("max-age=7200", 7200),
        ("public, max-age=7200", 7200),
        ("max-age=1", 300),
        ("max-age=999999999", 86_400),
        ("no-store", 300),
        ("private, no-cache, max-age=7200", 300),
        ("s-maxage=50", 3600),
        ("max-age=-1", 3600),
        ("max-age=" + "9" * 400, 3600),
    ],
)
def test_how_long_a_document_is_kept(header: str, seconds: int) -> None:
    assert documents.keep_seconds(header) == seconds


def test_server_metadata_is_rfc_8414s() -> None:
    document = server_metadata(OFFER, registration=False)
    AuthorizationServerMetadata(document).validate()
    assert "registration_endpoint" not in document
    assert document["issuer"] == OFFER.issuer
    assert server_metadata(OFFER, registration=True)["registration_endpoint"] == "https://z.example/oauth/register"
    longer = dataclasses.replace(OFFER, issuer="https://z.example:8443")
    assert server_metadata(longer, registration=False)["token_endpoint"] == "https://z.example:8443/oauth/token"


@pytest.mark.parametrize("typed", ["WDJB-MJHT", "wdjb mjht", " w-d.j_b-m j h t\n"])
def test_a_device_code_as_a_person_types_it(typed: str) -> None:
    assert plain_user_code(typed) == "WDJBMJHT"

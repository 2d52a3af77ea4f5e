"""The state of sign-in fits its settings; who may call whom is what the flows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from zentoria_auth.providers.settings import read_providers
from zentoria_auth.settings import Settings as AuthSettings
from zentoria_backend.settings import Settings as BackendSettings
from zentoria_common.identity import Callers, Identity, IdentityError
from zentoria_common.settings import CommonSettings, unknown_variables

from tests.roles.roles_support import CANARY, FixedMaterials, files, inventory, state, text
from zentoria_infra.guest import secrets
from zentoria_infra.guest.state import GuestState, Release
from zentoria_infra.render import parsers
from zentoria_infra.roles.kit import clients

GOOGLE = "zentoria/oauth/google_client_secret"


def environment(guest: GuestState, name: str) -> dict[str, str]:
    lines = text(guest, f"/etc/zentoria/{name}/environment").splitlines()[1:]
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}


@pytest.mark.parametrize(("name", "kind"), [("auth", AuthSettings), ("backend", BackendSettings)])
def test_each_variable_is_understood(name: str, kind: type[CommonSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment(state(name), name)
    assert unknown_variables(kind, found) == ()
    for key, value in found.items():
        monkeypatch.setenv(key, value)
    read: Any = kind()
    assert read.container_name == name
    assert read.public_url == inventory().site.public_url
    assert read.callers_file == Path(f"/etc/zentoria/{name}/callers.json")
    assert read.identity_key_file == Path(f"/etc/zentoria/{name}/identity_key")
    assert (read.database_user, read.redis_user) == (name, name)


def test_the_backend_knows_whom_to_call_and_whose_pages_may_call_it() -> None:
    guest = state("backend", overrides={"cors_origins": ["https://app.example.com"]})
    parsers.environment(text(guest, "/etc/zentoria/backend/environment"))
    found = environment(guest, "backend")
    assert found["ZENTORIA_AUTH_URL"] == "http://10.10.40.9:9000"
    assert found["ZENTORIA_AI_URL"] == "http://10.10.40.5:5000"
    assert found["ZENTORIA_RAG_URL"] == "http://10.10.41.9:8100"
    assert found["ZENTORIA_OCR_URL"] == "http://10.10.41.2:8001"
    assert found["ZENTORIA_VOICE_URL"] == "http://10.10.41.3:9300"
    assert found["ZENTORIA_VOICE_STREAM_URL"] == "http://10.10.41.3:9301"
    shown = json.loads(text(guest, found["ZENTORIA_SYSTEM_FILE"]))
    assert {"vmid": 401, "name": "backend"}.items() <= shown["containers"][1].items()
    assert {
        name: value
        for name, value in next(
            one for one in shown["flows"] if (one["from"], one["to"], one["port"]) == ("backend", "embeddings", 8100)
        ).items()
        if name != "purpose"
    } == {"from": "backend", "to": "embeddings", "port": 8100}
    assert json.loads(found["ZENTORIA_CORS_ORIGINS"]) == ["https://app.example.com"]


def test_delays_and_audit_rows_go_by_the_client_that_the_gateway_and_the_proxy_serve() -> None:
    assert environment(state("auth"), "auth")["ZENTORIA_TRUSTED_PROXIES"] == "10.10.40.1,10.10.40.8"


def test_the_release_is_gated_and_nobody_but_the_service_reads_its_keys() -> None:
    guest = state("auth")
    release = next(one for one in guest.resources if isinstance(one, Release))
    assert (release.root, release.user) == ("/opt/zentoria/auth", "zentoria")
    assert release.health_url == "http://10.10.40.9:9000/health"
    for name in ("jwt_key", "seal_key", "identity_key", "database_password", "redis_password"):
        one = files(guest)[f"/etc/zentoria/auth/{name}"]
        assert (one.mode, one.owner, one.secret) == ("0600", "zentoria", True)
    assert "BEGIN PRIVATE KEY" in text(guest, "/etc/zentoria/auth/jwt_key")


def identity(name: str) -> Identity:
    return Identity(name, FixedMaterials().secrets.get_or_create(clients.identity_key(name), secrets.new_keypair))


def callers(name: str, tmp_path: Path, **overrides: Any) -> Callers:
    path = tmp_path / "callers.json"
    path.write_text(text(state(name, overrides=overrides or None), f"/etc/zentoria/{name}/callers.json"))
    return Callers.read(name, path)


def test_a_caller_is_let_in_where_a_flow_leads_and_nowhere_else(tmp_path: Path) -> None:
    token = identity("backend").headers("auth")["zentoria-caller"]
    assert callers("auth", tmp_path).caller(token) == "backend"
    back = identity("auth").headers("backend")["zentoria-caller"]
    with pytest.raises(IdentityError):  # no flow leads from 409 to 401
        callers("backend", tmp_path).caller(back)


def test_who_has_no_key_calls_nobody_and_who_has_one_does(tmp_path: Path) -> None:
    listed = json.loads(text(state("backend"), "/etc/zentoria/backend/callers.json"))
    assert [one["kid"] for one in listed["keys"]] == ["embeddings"]  # n8n has a flow, and no key yet
    n8n = inventory().by_name("n8n").service("main")
    services = {"main": {"secrets": [*n8n.secrets, "zentoria/identity/n8n"],
                         "vault_policy": [{"path": "zentoria/*", "capabilities": ["read"]}]}}  # fmt: skip
    found = callers("backend", tmp_path, containers={"n8n": {"services": services}})
    assert found.caller(identity("n8n").headers("backend")["zentoria-caller"]) == "n8n"
    assert CANARY not in text(state("auth"), "/etc/zentoria/auth/callers.json")


SIGN_IN = {
    "providers": {
        "google": {"kind": "google", "label": "Google", "client_id": "1234.apps"},
        "github": {"kind": "github", "label": "GitHub", "client_id": "abc"},
    },
    "ldap": {"url": "ldaps://ldap.home.arpa", "base_dn": "ou=people,dc=home", "bind_dn": "cn=reader,dc=home",
             "user_filter": "(uid={login})", "ca": "-----BEGIN CERTIFICATE-----\n"},
    "dynamic_registration": True,
    "outbound": ["ldap.home.arpa", "192.168.1.0/24"],
}  # fmt: skip


def test_a_provider_is_there_once_its_secret_is(tmp_path: Path) -> None:
    materials = FixedMaterials()
    materials.secrets.supplied[GOOGLE] = SecretStr("from Google")
    guest = state("auth", overrides={"sign_in": SIGN_IN}, materials=materials)
    assert json.loads(text(guest, "/etc/zentoria/auth/providers.json")) == [
        {"name": "google", "kind": "google", "label": "Google", "client_id": "1234.apps", "scopes": [],
         "trust_email": False, "client_secret_file": "/etc/zentoria/auth/google_client_secret"}
    ]  # fmt: skip
    assert text(guest, "/etc/zentoria/auth/google_client_secret") == "from Google\n"
    assert "/etc/zentoria/auth/github_client_secret" not in files(guest)
    assert unknown_variables(AuthSettings, environment(guest, "auth")) == ()


def test_a_provider_is_understood_by_the_service(tmp_path: Path) -> None:
    materials = FixedMaterials()
    materials.secrets.supplied[GOOGLE] = SecretStr("from Google")
    path = tmp_path / "providers.json"
    path.write_text(text(state("auth", overrides={"sign_in": SIGN_IN}, materials=materials),
                         "/etc/zentoria/auth/providers.json"))  # fmt: skip
    (one,) = read_providers(path)
    assert (one.name, one.issuer_url) == ("google", "https://accounts.google.com")


def test_a_directory_and_what_may_be_called_are_told() -> None:
    found = environment(state("auth", overrides={"sign_in": SIGN_IN}), "auth")
    assert unknown_variables(AuthSettings, found) == ()
    assert found["ZENTORIA_LDAP_URL"] == "ldaps://ldap.home.arpa"
    assert found["ZENTORIA_LDAP_START_TLS"] == "false"
    assert found["ZENTORIA_LDAP_USER_FILTER"] == "(uid={login})"
    assert found["ZENTORIA_LDAP_CA_FILE"] == "/etc/zentoria/auth/ldap-ca.pem"
    assert found["ZENTORIA_OAUTH_DYNAMIC_REGISTRATION"] == "true"
    assert found["ZENTORIA_OUTBOUND_ALLOW"] == "ldap.home.arpa,192.168.1.0/24"
    assert not any("LDAP" in name for name in environment(state("auth"), "auth"))

"""TLS: the right CA or the right pin, and nothing else, before a single byte of ours is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.proxmox.proxmox_pki import FAST, Pki, make_pki
from tests.proxmox.proxmox_scripted_server import ScriptedServer, data
from zentoria_infra.errors import UnreachableError
from zentoria_infra.proxmox.connection import ApiToken, Connection, Credentials, Endpoint, Password
from zentoria_infra.proxmox.secret import Secret

TOKEN = ApiToken("zentoria@pve", "up", Secret("canary-token-secret"))
PASSWORD = Password("root@pam", Secret("canary-password"))


def _ask(server: ScriptedServer, credentials: Credentials = TOKEN, **trust: Any) -> Any:
    host = trust.pop("host", "127.0.0.1")
    connection = Connection(Endpoint(host, "pve1", server.port, **trust), credentials, retry=FAST)
    try:
        return connection.call("GET", "/version")
    finally:
        connection.close()


@pytest.fixture
def server(scripted: Callable[..., ScriptedServer]) -> ScriptedServer:
    def answer(seen: Any) -> Any:
        if seen.path == "/access/ticket":
            return data({"ticket": "PVE:root@pam:x", "CSRFPreventionToken": "y"})
        return data("fine")

    return scripted(answer)


@pytest.fixture
def other(tmp_path: Path) -> Pki:
    return make_pki(tmp_path, "other")


@pytest.mark.parametrize("credentials", [TOKEN, PASSWORD])
def test_right_ca(server: ScriptedServer, pki: Pki, credentials: Credentials) -> None:
    assert _ask(server, credentials, ca_file=pki.ca_file) == "fine"


@pytest.mark.parametrize("credentials", [TOKEN, PASSWORD])
@pytest.mark.parametrize("spell", [str.upper, str.lower, lambda pin: pin.replace(":", "")])
def test_right_pin(server: ScriptedServer, pki: Pki, credentials: Credentials, spell: Callable[[str], str]) -> None:
    assert _ask(server, credentials, fingerprint=spell(pki.fingerprint)) == "fine"


def test_pin_and_ca_together(server: ScriptedServer, pki: Pki, other: Pki) -> None:
    assert _ask(server, ca_file=pki.ca_file, fingerprint=pki.fingerprint) == "fine"
    with pytest.raises(UnreachableError, match="TLS failed"):
        _ask(server, ca_file=other.ca_file, fingerprint=pki.fingerprint)
    with pytest.raises(UnreachableError, match="not the pinned one"):
        _ask(server, ca_file=pki.ca_file, fingerprint=other.fingerprint)


@pytest.mark.parametrize("credentials", [TOKEN, PASSWORD])
def test_wrong_pin_shows_both_and_sends_nothing(
    server: ScriptedServer, pki: Pki, other: Pki, credentials: Credentials
) -> None:
    with pytest.raises(UnreachableError) as caught:
        _ask(server, credentials, fingerprint=other.fingerprint)
    assert other.fingerprint in caught.value.got
    assert pki.fingerprint in caught.value.got
    assert "pvenode cert info" in caught.value.todo
    assert server.seen == []


@pytest.mark.parametrize("credentials", [TOKEN, PASSWORD])
def test_wrong_ca_sends_nothing(server: ScriptedServer, other: Pki, credentials: Credentials) -> None:
    with pytest.raises(UnreachableError, match=r"TLS failed: .*certificate verify failed") as caught:
        _ask(server, credentials, ca_file=other.ca_file)
    assert "pve-root-ca.pem" in caught.value.todo
    assert server.seen == []


def test_no_trust_given_means_public_cas_and_not_none(server: ScriptedServer) -> None:
    with pytest.raises(UnreachableError, match="TLS failed"):
        _ask(server)
    assert server.seen == []


def test_environment_cannot_switch_it_off(
    server: ScriptedServer, other: Pki, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pki.ca_file))
    monkeypatch.setenv("CURL_CA_BUNDLE", "")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(UnreachableError, match="TLS failed"):
        _ask(server, ca_file=other.ca_file)
    assert _ask(server, ca_file=pki.ca_file) == "fine"


def test_wrong_name(scripted: Callable[..., ScriptedServer], tmp_path: Path) -> None:
    elsewhere = make_pki(tmp_path, "elsewhere", host="127.0.0.9")
    server = scripted(lambda seen: data("fine"), elsewhere)
    with pytest.raises(UnreachableError, match="TLS failed"):
        _ask(server, ca_file=elsewhere.ca_file)
    # A pin names this one certificate, whatever is written in it.
    assert _ask(server, fingerprint=elsewhere.fingerprint) == "fine"


def test_expired(scripted: Callable[..., ScriptedServer], tmp_path: Path) -> None:
    old = make_pki(tmp_path, "old", days=-1)
    server = scripted(lambda seen: data("fine"), old)
    with pytest.raises(UnreachableError, match="expired"):
        _ask(server, ca_file=old.ca_file)
    assert server.seen == []

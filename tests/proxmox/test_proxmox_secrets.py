"""Secrets: not in repr, not in the log at any level, not in an error, whoever quotes them."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from tests.proxmox.proxmox_scripted_server import Reply, data, failure
from zentoria_infra.errors import ZentoriaError
from zentoria_infra.proxmox import Proxmox
from zentoria_infra.proxmox.connection import ApiToken, Connection, Endpoint, Password
from zentoria_infra.proxmox.secret import HIDDEN, Secret, scrub

CANARIES = ("canary-token-secret", "canary-password", "canary-root-password", "canary-ticket", "canary-csrf")


def _shown(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary in text]


def test_secret_shows_nothing() -> None:
    secret = Secret("canary-password")
    assert _shown(f"{secret} {secret!r} {[secret]} {Password('root@pam', secret)} {ApiToken('a', 'b', secret)}") == []
    assert secret.reveal() == "canary-password"
    assert secret == Secret("canary-password") != Secret("other")
    with pytest.raises(TypeError):
        vars(secret)


def test_scrub() -> None:
    assert scrub("a longer-secret and long", ["long", "longer-secret", "and"]) == f"a {HIDDEN} and {HIDDEN}"


def test_client_shows_nothing() -> None:
    endpoint = Endpoint("127.0.0.1", "pve1", port=1)
    for credentials in (ApiToken("a", "b", Secret("canary-token-secret")), Password("r", Secret("canary-password"))):
        with Proxmox(endpoint, credentials) as proxmox:
            assert _shown(f"{proxmox} {proxmox!r}") == []
        connection = Connection(endpoint, credentials)
        assert _shown(f"{connection} {connection!r}") == []


@pytest.mark.parametrize(
    "credentials",
    [ApiToken("zentoria@pve", "up", Secret("canary-token-secret")), Password("root@pam", Secret("canary-password"))],
)
@pytest.mark.parametrize("outcome", ["fine", "refused", "dropped", "unauthorised"])
def test_nothing_in_log_or_error(
    scripted_connection: Any, caplog: pytest.LogCaptureFixture, credentials: Any, outcome: str
) -> None:
    own = (credentials.secret if isinstance(credentials, ApiToken) else credentials.password).reveal()

    def answer(seen: Any) -> Reply:
        if seen.path == "/access/ticket":
            return data({"ticket": "canary-ticket", "CSRFPreventionToken": "canary-csrf"})
        if outcome == "fine":
            return data("UPID")
        if outcome == "dropped":
            return Reply(drop=True)
        if outcome == "unauthorised":
            return failure(401, f"no: {seen.form.get('password')} {own} was sent")
        return failure(400, f"bad: {seen.form.get('password')}", {"password": f"{seen.form.get('password')} is short"})

    for name in ("", "proxmoxer", "proxmoxer.core", "proxmoxer.backends.https", "urllib3", "requests", "paramiko"):
        caplog.set_level(logging.DEBUG, logger=name)
    connection, server = scripted_connection(answer, credentials=credentials)
    said = ""
    try:
        connection.call("POST", "/nodes/{node}/lxc", {"vmid": 404, "password": "canary-root-password"}, node="pve1")
    except ZentoriaError as error:
        said = f"{error} {error!r} {error.__dict__} {error.__cause__!r} {pickle.dumps(error.__dict__)!r}"
        assert error.__suppress_context__
    assert (outcome == "fine") == (said == "")
    assert any(seen.form.get("password") == "canary-root-password" for seen in server.seen)
    assert caplog.records, "the log was captured at all"
    assert _shown(caplog.text) == []
    assert _shown(said) == []

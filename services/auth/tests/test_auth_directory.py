"""Sign-in against a real directory, and against what only looks like one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import auth_servers
import directory_server
import pytest
from directory_server import BASE, READER, READER_PASSWORD, DirectoryServer
from oauth_world import PEER, make_world
from pydantic import SecretStr, ValidationError
from real_servers import RedisServer
from zentoria_auth.providers.claims import Claim
from zentoria_auth.providers.directory import WAITING, WORKERS, Directory, DirectorySettings
from zentoria_auth.providers.setup import make_directory
from zentoria_auth.signin.service import BadCredentials, Passed
from zentoria_common.problems import Unavailable
from zentoria_common.settings import SettingsError
from zentoria_schema.embedded import PostgresServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryServer]:
    with directory_server.running(tmp_path_factory.mktemp("ldap")) as running:
        yield running


def directory(server: DirectoryServer, url: str, **changes: Any) -> Directory:
    values = {"url": url, "ca_file": server.ca_file, "bind_dn": READER, "base_dn": BASE, "timeout": 20.0} | changes
    return Directory(DirectorySettings(**values), SecretStr(READER_PASSWORD))


def ask(where: Directory, login: str, password: str) -> Claim | None:
    try:
        return asyncio.run(where.sign_in(login, password))
    finally:
        where.close()


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
@pytest.mark.parametrize("login", ["ada", "ADA", "ada@zentoria.test"])
def test_sign_in_by_name_or_address(server: DirectoryServer, scheme: str, login: str) -> None:
    found = ask(directory(server, getattr(server, scheme)), login, "analytical engine")
    assert found is not None
    assert (found.email, found.email_verified, found.name, found.amr) == (
        "ada@zentoria.test",
        True,
        "Ada Lovelace",
        ("pwd",),
    )
    assert len(found.subject) == 36, "entryUUID"
    assert found.issuer == getattr(server, scheme)


def test_the_subject_is_the_same_each_time_and_the_address_is_plain(server: DirectoryServer) -> None:
    first, second = (ask(directory(server, server.ldaps), "grace", "nanoseconds") for _ in range(2))
    assert first is not None
    assert first == second
    assert first.email == "grace@zentoria.test"
    unsure = ask(directory(server, server.ldaps, trust_mail=False), "grace", "nanoseconds")
    assert unsure is not None
    assert not unsure.email_verified


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("ada", "wrong"),
        ("ada", ""),
        ("", "analytical engine"),
        ("nobody", "analytical engine"),
        ("*", "analytical engine"),
        ("a*", "analytical engine"),
        ("ada)(uid=*", "analytical engine"),
        ("*)(objectClass=*", "analytical engine"),
        ("ada\0", "analytical engine"),
        ("ada", "analytical engine\0"),
        ("ada", "x" * 5000),
        ("a" * 5000, "analytical engine"),
        ("twin@zentoria.test", "twins"),
        ("reader", READER_PASSWORD),
        (READER, READER_PASSWORD),
        ("\ud800", "analytical engine"),
    ],
)
def test_no_sign_in(server: DirectoryServer, login: str, password: str) -> None:
    assert ask(directory(server, server.ldaps), login, password) is None


def test_a_name_of_special_characters_is_found_by_all_of_them(server: DirectoryServer) -> None:
    found = ask(directory(server, server.ldaps), "star*(1)\\", "asterisk")
    assert found is not None
    assert found.email == "star@zentoria.test"


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_certificate_of_a_stranger_stops_it(server: DirectoryServer, scheme: str) -> None:
    with pytest.raises(Unavailable):
        ask(directory(server, getattr(server, scheme), ca_file=server.other_ca_file), "ada", "analytical engine")


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_certificate_for_another_name_stops_it(tmp_path: Path, scheme: str) -> None:
    with directory_server.running(tmp_path, names=("ldap.zentoria.test",)) as server, pytest.raises(Unavailable):
        ask(directory(server, getattr(server, scheme)), "ada", "analytical engine")


def test_a_wrong_account_that_searches_is_an_outage_and_no_answer(server: DirectoryServer) -> None:
    settings = DirectorySettings(url=server.ldaps, ca_file=server.ca_file, bind_dn=READER, base_dn=BASE)
    with pytest.raises(Unavailable):
        ask(Directory(settings, SecretStr("wrong")), "ada", "analytical engine")


@pytest.mark.asyncio
async def test_the_sign_in_form_takes_the_directorys_passwords(
    server: DirectoryServer,
    postgres_server: PostgresServer,
    core_database: str,
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    secret = tmp_path / "ldap_bind_password"
    secret.write_text(f"{READER_PASSWORD}\n")
    world = make_world(
        postgres_server,
        core_database,
        redis_server,
        ldap_url=server.ldap,
        ldap_start_tls=True,
        ldap_ca_file=server.ca_file,
        ldap_bind_dn=READER,
        ldap_bind_password_file=secret,
        ldap_base_dn=BASE,
    )
    ada, sign_in = await world.user("ada@zentoria.test"), world.services.sign_in
    for name in ("ada", "Ada@Zentoria.Test", "ada@zentoria.test"):
        passed = await sign_in.password(name, "analytical engine", PEER)
        assert isinstance(passed, Passed)
        assert (passed.account.id, passed.amr) == (ada.id, ("pwd",))
    for name, password in (("ada", "wrong"), ("grace", "nanoseconds"), ("nobody", "x")):
        with pytest.raises(BadCredentials):
            await sign_in.password(name, password, PEER)
    (identity,) = await world.services.providers.accounts.linked(ada.id)
    assert identity.provider == "ldap"
    said = world.actions()
    assert said.count("auth.identity_linked") == 1
    assert said.count("auth.login_failed") >= 3
    await world.close()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ldap_url": "ldap://ldap.zentoria.test"}, "ZENTORIA_LDAP_URL: passwords go to the directory"),
        ({"ldap_url": "http://ldap.zentoria.test"}, "ZENTORIA_LDAP_URL"),
        ({"ldap_base_dn": ""}, "ZENTORIA_LDAP_BASE_DN"),
        ({"ldap_user_filter": "(uid=ada)"}, "ZENTORIA_LDAP"),
        ({"ldap_ca_file": Path("/none/ca.crt")}, "ZENTORIA_LDAP_CA_FILE"),
        ({"ldap_bind_dn": READER}, "ZENTORIA_LDAP_BIND_PASSWORD_FILE"),
        ({"ldap_bind_dn": READER, "ldap_bind_password_file": Path("/none/x")}, "ZENTORIA_LDAP_BIND_PASSWORD_FILE"),
    ],
)
def test_settings_of_the_service_that_are_refused(change: dict[str, Any], text: str) -> None:
    given = {"ldap_url": "ldaps://ldap.zentoria.test", "ldap_base_dn": BASE, **change}
    with pytest.raises(SettingsError, match=text):
        make_directory(auth_servers.settings(**given))


def test_a_directory_that_is_not_there_is_an_outage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        settings = DirectorySettings(url=f"ldaps://127.0.0.1:{taken.getsockname()[1]}", base_dn=BASE)
        with pytest.raises(Unavailable):
            ask(Directory(settings, None), "ada", "x")


def test_a_server_that_takes_no_tls_never_sees_a_password() -> None:
    """It answers whatever comes with 'protocolError', as a server without StartTLS does."""
    seen = bytearray()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            while got := connection.recv(4096):
                seen.extend(got)
                # ExtendedResponse with the request's message id 1, resultCode protocolError (RFC 4511 section 4.12)
                connection.sendall(bytes.fromhex("300c02010178070a010204000400"))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    settings = DirectorySettings(url=f"ldap://127.0.0.1:{listener.getsockname()[1]}", bind_dn=READER, base_dn=BASE)
    with pytest.raises(Unavailable):
        ask(Directory(settings, SecretStr(READER_PASSWORD)), "ada", "analytical engine")
    thread.join(20)
    listener.close()
    assert b"1.3.6.1.4.1.1466.20037" in seen
    assert READER_PASSWORD.encode() not in seen


def test_a_silent_directory_holds_no_more_than_its_places() -> None:
    async def crowd() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
            settings = DirectorySettings(url=f"ldaps://127.0.0.1:{silent.getsockname()[1]}", base_dn=BASE, timeout=0.5)
            where = Directory(settings, None)
            first = [asyncio.ensure_future(where.sign_in("ada", "x")) for _ in range(WORKERS + WAITING)]
            await asyncio.sleep(0)
            # the places are taken: this one is answered at once, before any of the others
            with pytest.raises(Unavailable):
                await where.sign_in("ada", "x")
            assert not any(each.done() for each in first)
            answers = await asyncio.gather(*first, return_exceptions=True)
            assert all(isinstance(each, Unavailable) for each in answers)
            where.close()

    asyncio.run(crowd())


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://127.0.0.1"},
        {"url": "ldapi://%2ftmp"},
        {"url": "ldap://a/b"},
        {"user_filter": "(uid=ada)"},
        {"base_dn": ""},
        {"timeout": 0},
        {"starttls": False},
    ],
)
def test_settings_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DirectorySettings(**{"url": "ldaps://ldap.zentoria.test", "base_dn": BASE, **change})

"""The site's own CA, and supplied certificates."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from pydantic import SecretStr

from zentoria_infra.materials.private_file import PrivateFileError
from zentoria_infra.materials.secret_file import SecretFile
from zentoria_infra.materials.site_ca import SiteCa
from zentoria_infra.materials.supplied_certificate import CertificateError, read_supplied

NAMES = ("localhost", "127.0.0.1", "zentoria-proxy.zentoria.internal")
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


@pytest.fixture
def ca(tmp_path: Path) -> SiteCa:
    return SiteCa(tmp_path / "ca", "Lab")


def days(number: int) -> datetime.datetime:
    return NOW + datetime.timedelta(days=number)


def test_a_second_run_gives_the_same(ca: SiteCa, tmp_path: Path) -> None:
    first = ca.server_certificate("proxy", NAMES, now=NOW)
    assert ca.server_certificate("proxy", NAMES, now=NOW) == first
    assert SiteCa(tmp_path / "ca", "Lab").server_certificate("proxy", NAMES, now=days(300)) == first


def test_each_server_keeps_its_own_whoever_else_asks(ca: SiteCa) -> None:
    proxy = ca.server_certificate("proxy", NAMES, now=NOW)
    vault = ca.server_certificate("vault", ("vault",), now=NOW)
    assert vault.chain != proxy.chain and vault.key != proxy.key
    assert ca.server_certificate("proxy", NAMES, now=NOW) == proxy
    assert ca.server_certificate("vault", ("vault",), now=NOW) == vault
    with pytest.raises(ValueError, match="not a name"):
        ca.server_certificate("../ca", NAMES, now=NOW)


def test_renewed_before_it_ends_and_when_names_change(ca: SiteCa) -> None:
    first = ca.server_certificate("proxy", NAMES, now=NOW)
    root = ca.certificate_path.read_bytes()
    assert ca.server_certificate("proxy", NAMES, now=days(366)) == first
    second = ca.server_certificate("proxy", NAMES, now=days(368))
    assert second != first
    third = ca.server_certificate("proxy", (*NAMES, "new.example"), now=days(368))
    assert third.chain != second.chain
    assert ca.certificate_path.read_bytes() == root


def test_everything_is_private(ca: SiteCa) -> None:
    ca.server_certificate("proxy", NAMES)
    folder = ca.certificate_path.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {one.name for one in folder.iterdir()} == {
        ".lock",
        "ca.key",
        "ca.crt",
        "server-proxy.key",
        "server-proxy.crt",
    }
    for one in folder.iterdir():
        assert one.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(ca.server_certificate("proxy", NAMES))


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_client_that_trusts_the_ca_connects(ca: SiteCa, tmp_path: Path, name: str) -> None:
    made = ca.server_certificate("proxy", NAMES)
    (tmp_path / "chain.pem").write_text(made.chain)
    (tmp_path / "key.pem").write_text(made.key.get_secret_value())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    client = ssl.create_default_context(cafile=str(ca.certificate_path))
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)

    def serve() -> None:
        with server.wrap_socket(theirs, server_side=True) as stream:
            stream.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(ours, server_hostname=name) as stream:
        assert stream.recv(5) == b"hello"
    thread.join()


def test_limits_of_the_certificates(ca: SiteCa) -> None:
    leaf, root = x509.load_pem_x509_certificates(ca.server_certificate("proxy", NAMES, now=NOW).chain.encode())
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= datetime.timedelta(days=398)
    assert leaf.not_valid_before_utc < NOW
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    leaf.verify_directly_issued_by(root)


def test_an_old_ca_gets_a_new_certificate_for_its_key(ca: SiteCa) -> None:
    ca.server_certificate("proxy", NAMES, now=NOW)
    before = x509.load_pem_x509_certificate(ca.certificate_path.read_bytes())
    leaf, root = x509.load_pem_x509_certificates(ca.server_certificate("proxy", NAMES, now=days(3400)).chain.encode())
    assert root.public_key() == before.public_key()
    assert root.not_valid_after_utc > before.not_valid_after_utc
    leaf.verify_directly_issued_by(root)


def test_a_missing_server_key_makes_a_new_pair(ca: SiteCa) -> None:
    first = ca.server_certificate("proxy", NAMES)
    (ca.certificate_path.parent / "server-proxy.key").unlink()
    second = ca.server_certificate("proxy", NAMES)
    assert second != first
    assert ca.server_certificate("proxy", NAMES) == second


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ca.key", b"junk"),
        ("ca.crt", b"junk"),
        ("ca.key", None),
        ("server-proxy.key", b"junk"),
        ("server-proxy.crt", b"junk"),
    ],
)
def test_a_damaged_ca_is_an_error_and_not_replaced(ca: SiteCa, name: str, content: bytes | None) -> None:
    ca.server_certificate("proxy", NAMES)
    place = ca.certificate_path.parent / name
    if content is None:
        place.unlink()
    else:
        place.write_bytes(content)
    root = ca.certificate_path.read_bytes()
    with pytest.raises(PrivateFileError, match="left as it is"):
        ca.server_certificate("proxy", NAMES)
    assert ca.certificate_path.read_bytes() == root
    assert (place.read_bytes() if content is not None else None) == content


def test_a_key_that_others_may_read_is_refused(ca: SiteCa) -> None:
    ca.server_certificate("proxy", NAMES)
    (ca.certificate_path.parent / "ca.key").chmod(0o644)
    with pytest.raises(PrivateFileError, match="0644"):
        ca.server_certificate("proxy", NAMES)


@pytest.fixture
def supplied(ca: SiteCa, tmp_path: Path) -> tuple[Path, Path]:
    made = ca.server_certificate("proxy", NAMES, now=NOW)
    chain, key = tmp_path / "my.crt", tmp_path / "my.key"
    chain.write_text(made.chain)
    key.touch(0o600)
    key.write_text(made.key.get_secret_value())
    return chain, key


def test_supplied(supplied: tuple[Path, Path]) -> None:
    chain, key = supplied
    found = read_supplied(chain, key, now=NOW)
    assert found.chain == chain.read_text()
    assert found.key == SecretStr(key.read_text())


def test_supplied_that_cannot_be_used(supplied: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = supplied
    with pytest.raises(CertificateError, match="expired on 2027-12-25"):
        read_supplied(chain, key, now=days(400))
    with pytest.raises(CertificateError, match="No such file"):
        read_supplied(tmp_path / "none", key, now=NOW)
    with pytest.raises(CertificateError, match="No such file"):
        read_supplied(chain, tmp_path / "none", now=NOW)
    with pytest.raises(CertificateError, match="no certificate chain"):
        read_supplied(key, key, now=NOW)
    other = SiteCa(tmp_path / "other", "Other").server_certificate("proxy", NAMES)
    key.write_text(other.key.get_secret_value())
    with pytest.raises(CertificateError, match="does not belong"):
        read_supplied(chain, key, now=NOW)
    key.write_text("junk")
    with pytest.raises(CertificateError, match="no private key"):
        read_supplied(chain, key, now=NOW)
    key.chmod(0o640)
    with pytest.raises(CertificateError, match="0640"):
        read_supplied(chain, key, now=NOW)


def test_folders_made_on_the_way_are_private_whoever_comes_first(tmp_path: Path) -> None:
    site = tmp_path / "site"
    SiteCa(site / "ca", "Home").server_certificate("proxy", ["localhost"])
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    assert SecretFile(site / "secrets.json", outside=tmp_path / "project").get_or_create("zentoria/a", lambda: "x" * 32)

"""Certificates, SSH keys, the order of containers, and what a lab adds to its site."""

from __future__ import annotations

import datetime
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from zentoria_infra.errors import LabError
from zentoria_infra.lab import certificates, power, registry, site_overlay
from zentoria_infra.lab.certificates import Pki
from zentoria_infra.lab.registry import Lab, Ports
from zentoria_infra.lab.shell import ssh

NAMES = ("127.0.0.1", "localhost")


def greet(pki: Pki, name: str) -> str:
    """Connect to a server with this certificate as ``name``; gives back the TLS version."""
    client = ssl.create_default_context(cafile=str(pki.ca))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            try:
                certificates.server_context(pki).wrap_socket(connection, server_side=True).close()
            except (ssl.SSLError, OSError):
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname()) as plain,
                client.wrap_socket(plain, server_hostname=name) as secured,
            ):
                return str(secured.version())
        finally:
            thread.join()


def test_clients_that_trust_the_ca_accept_the_server_under_its_names_only(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "secrets")
    certificates.ensure_pki(pki, "Test CA", NAMES)
    assert greet(pki, "127.0.0.1").startswith("TLSv1")
    assert greet(pki, "localhost").startswith("TLSv1")
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(pki, "pve.example")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in pki.folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(pki.folder.stat().st_mode) == 0o700


def test_what_is_good_stays_and_what_is_not_is_made_anew_by_the_same_ca(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    certificates.ensure_pki(pki, "Test CA", NAMES)
    ca, first = pki.ca.read_bytes(), certificates.fingerprint(pki)
    certificates.ensure_pki(pki, "Test CA", NAMES)
    assert certificates.fingerprint(pki) == first
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=380)
    certificates.ensure_pki(pki, "Test CA", NAMES, now=later)
    second = certificates.fingerprint(pki)
    assert second != first
    certificates.ensure_pki(pki, "Test CA", (*NAMES, "pve.example"))
    third = certificates.fingerprint(pki)
    assert third != second
    pki.certificate.write_text("cut off")
    certificates.ensure_pki(pki, "Test CA", NAMES)
    assert certificates.fingerprint(pki) not in (first, second, third)
    assert pki.ca.read_bytes() == ca


def test_ssh_keys_are_made_once(tmp_path: Path) -> None:
    line = certificates.ensure_ssh_key(tmp_path / "key", "comment")
    assert line.startswith("ssh-ed25519 ")
    assert certificates.ensure_ssh_key(tmp_path / "key", "comment") == line
    assert (tmp_path / "key.pub").read_text() == f"{line} comment\n"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("startup", "order"),
    [("order=3", 3), ("order=10,up=5", 10), ("up=5,order=2", 2), ("7", 7), ("up=5", 1 << 30), ("", 1 << 30)],
)
def test_order_of_start(startup: str, order: int) -> None:
    assert power.start_order({"startup": startup} if startup else {}) == order


def test_containers_of_one_order_go_together() -> None:
    known = [(408, 9), (404, 1), (410, 1), (401, 5), (419, 1 << 30)]
    assert power.in_order(known) == [[404, 410], [401], [408], [419]]
    assert power.in_order(known, backwards=True) == [[419], [408], [401], [404, 410]]


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZENTORIA_LAB_ROOT", str(tmp_path))
    return tmp_path


def test_a_lab_is_found_as_it_was_saved(labs: Path) -> None:
    assert registry.find("one") is None
    assert list(registry.every()) == []
    lab = Lab("one", "none", Ports(1, 2, 3, 4), ("x.example",))
    lab.save()
    assert registry.find("one") == lab
    assert [found.name for found in registry.every()] == ["one"]
    assert lab.layout.api_port == 1
    assert lab.layout.root == labs / "one"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"guests": "qemu", "ports": {}}', '{"guests": "none", "ports": {"x": 1}}']
)
def test_a_broken_file_of_a_lab_is_told(labs: Path, text: str) -> None:
    (labs / "one").mkdir()
    (labs / "one/lab.json").write_text(text)
    with pytest.raises(LabError, match="lab 'one'"):
        registry.find("one")


@pytest.mark.parametrize("name", ["", "../x", "A", "x" * 9, ".cache", "a/b"])
def test_names_that_no_lab_can_have(labs: Path, name: str) -> None:
    with pytest.raises(LabError):
        registry.find(name)


def test_the_overlay_of_a_lab_fits_its_guests(labs: Path) -> None:
    assert site_overlay.for_site("home") == []
    assert site_overlay.for_site("lab") == []
    with pytest.raises(LabError, match="no such lab"):
        site_overlay.for_site("lab", "one")
    lab = Lab("one", "lxc", Ports(1, 2, 3, 4))
    ssh.write_files(lab.layout, ["lxc-attach"])
    path = site_overlay.write(lab)
    assert site_overlay.for_site("lab", "one") == [path] == [site_overlay.overlay_path("one")]
    values = site_overlay.values(lab)
    assert values["id"] == "lab-one"
    assert values["proxmox"]["ssh"]["host_key"].startswith("ssh-ed25519 ")
    assert values["proxmox"]["ssh"]["inside"] is True
    bare = Lab("default", "none", Ports())
    ssh.write_files(bare.layout, [])
    assert site_overlay.values(bare)["proxmox"]["ssh"]["inside"] is False
    assert "id" not in site_overlay.values(bare)


def test_sshd_lets_in_one_key_and_nothing_but_the_forced_command(labs: Path) -> None:
    layout = Lab("one", "lxc", Ports(1, 2222, 3, 4)).layout
    text = ssh.write_files(layout, ["lxc-attach"]).read_text()
    assert "ListenAddress 127.0.0.1:2222\n" in text
    for line in ("PasswordAuthentication no", "DisableForwarding yes", "PermitTTY no", "MaxSessions 10"):
        assert f"{line}\n" in text
    assert f"{layout.secrets / 'pct.settings'}\n" in text
    assert (layout.secrets / "authorized_keys").read_text().startswith("restrict ssh-ed25519 ")

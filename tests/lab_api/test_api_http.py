"""HTTP itself: bodies, formats, odd requests, the control socket, an independent client."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import stat
from pathlib import Path

import aiohttp
import proxmoxer
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def raw(lab, method, path, **options):
    return lab.root.session.request(method, lab.url.removesuffix("/api2/json") + path, timeout=30, **options)


def test_unknown_paths_and_methods(lab):
    assert lab.root.get("/nosuch").reason == "Method 'GET /nosuch' not implemented"
    for method in ("HEAD", "PATCH", "OPTIONS"):
        answer = raw(lab, method, "/api2/json/version")
        assert (answer.status_code, answer.text) == (501, "")
    assert raw(lab, "GET", "/api2/xml/version").status_code == 501
    assert lab.anyone.get("/nosuch").status == 401


def test_delete_with_a_body_is_refused(lab):
    answer = raw(lab, "DELETE", "/api2/json/pools/x", data={"a": "1"})
    assert (answer.status_code, answer.reason) == (501, "Unexpected content for method 'DELETE'")


def test_json_bodies(lab):
    answer = lab.root.call("POST", "/access/users", None, json={"userid": "bob@pve", "enable": False, "expire": 7})
    assert answer.status == 200
    user = lab.root.get("/access/users/bob@pve").data
    assert (user["enable"], user["expire"]) == (0, 7)
    bad = raw(lab, "POST", "/api2/json/access/users", data="{", headers={"Content-Type": "application/json"})
    assert (bad.status_code, bad.text) == (500, "")
    text = raw(lab, "POST", "/api2/json/access/users", data="x", headers={"Content-Type": "text/plain"})
    assert text.status_code == 506


def test_a_repeated_key_is_an_array(lab):
    answer = lab.root.call("PUT", "/nodes/pve1/lxc/401/config", [("memory", "1"), ("memory", "2")])
    assert answer.errors == {"memory": "type check ('integer') failed - got ARRAY"}


def test_a_parameter_that_contradicts_the_path(lab):
    answer = lab.root.put("/nodes/pve1/lxc/401/config", vmid=402, memory=512)
    assert answer.errors == {"vmid": "duplicate parameter (already defined in URI) with conflicting values!"}


def test_extjs_answers_200_with_success(lab):
    base = "/api2/extjs"
    assert raw(lab, "GET", f"{base}/version").json()["success"] == 1
    answer = raw(lab, "POST", f"{base}/pools", data={})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["status"], list(body["errors"])) == (0, 400, ["poolid"])


def test_localhost_is_this_node(lab):
    assert lab.root.get("/nodes/localhost/version").status == 200
    assert lab.root.get("/nodes/PVE1/version").status == 500


def test_401_waits(make_lab):
    lab = make_lab(auth_delay=0.3)
    loop = asyncio.new_event_loop()
    before = loop.time()
    assert lab.anyone.get("/version").status == 401
    assert lab.anyone.post("/access/ticket", username="root@pam", password="x").body["message"]
    assert loop.time() - before >= 0.6
    loop.close()


def test_each_request_from_outside_is_a_line_of_the_access_log_without_its_token(lab):
    lab.root.get("/version")
    lab.anyone.get("/nodes")
    lab.close()  # a line is written once the answer is
    lines = lab.layout.access_log.read_text().splitlines()
    asked = [line.split('"')[1] for line in lines]
    assert asked == ["GET /api2/json/version HTTP/1.1", "GET /api2/json/nodes HTTP/1.1"]
    assert lab.secret not in "".join(lines)


def test_control_socket_is_root_without_a_login(lab):
    path = lab.layout.control_socket
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lab.create(401)

    async def ask() -> tuple[int, int]:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            url = "http://lab/api2/json/nodes/pve1/lxc/401/config"
            async with session.put(url, data={"features": "nesting=1,keyctl=1"}) as put, session.get(url) as got:
                return put.status, (await got.json())["data"]["features"]

    assert asyncio.run(ask()) == (200, "nesting=1,keyctl=1")
    assert lab.root.put("/nodes/pve1/lxc/401/config", features="nesting=1,fuse=1").status == 403


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    san = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(san, critical=False).sign(key, hashes.SHA256())
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.parametrize("login", ["token", "password"])
def test_proxmoxer_over_https(make_lab, tmp_path, login, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    certificate, key = _certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    lab = make_lab(ssl_context=context)
    who = {"token_name": "test", "token_value": lab.secret} if login == "token" else {"password": "testpass"}
    api = proxmoxer.ProxmoxAPI(
        "127.0.0.1", port=lab.server.port, user="root@pam", verify_ssl=str(certificate), timeout=30, **who
    )
    upid = api.nodes("pve1").lxc.post(vmid=404, ostemplate="local:vztmpl/z.tar.gz", rootfs="local:1", hostname="db")
    while api.nodes("pve1").tasks(upid).status.get()["status"] != "stopped":
        pass
    assert [row["name"] for row in api.nodes("pve1").lxc.get()] == ["db"]
    api.nodes("pve1").lxc(404).firewall.ipset.post(name="ipfilter-net0")
    api.nodes("pve1").lxc(404).firewall.ipset("ipfilter-net0").post(cidr="10.10.40.0/20")
    api.nodes("pve1").lxc(404).firewall.ipset("ipfilter-net0")("10.10.40.0/20").delete()
    with pytest.raises(proxmoxer.ResourceException) as error:
        api.nodes("pve1").lxc(404).config.put(memory=1)
    assert error.value.status_code == 400
    assert error.value.errors == {"memory": "value must have a minimum value of 16"}


def test_a_stop_cuts_connections_that_clients_keep(make_lab, tmp_path):
    certificate, key = _certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    lab = make_lab(ssl_context=context)
    with requests.Session() as session:
        session.trust_env = False
        url = f"https://127.0.0.1:{lab.server.port}/api2/json/access/domains"
        assert session.get(url, verify=str(certificate), timeout=30).status_code == 200
        lab.close()
        with pytest.raises(requests.ConnectionError):
            session.get(url, verify=str(certificate), timeout=30)


def test_a_nested_pool_has_no_path(lab):
    """As on Proxmox, whose server splits the path after it was decoded: what is nested is asked for by parameter."""
    assert lab.root.post("/pools", poolid="home/zentoria").reason == (
        "create pool failed: parent 'home' of pool 'home/zentoria' does not exist"
    )
    for name in ("home", "home/zentoria"):
        assert lab.root.post("/pools", poolid=name).status == 200
    assert [row["poolid"] for row in lab.root.get("/pools", poolid="home/zentoria").data] == ["home/zentoria"]
    for path in ("/pools/home%2Fzentoria", "/pools/home/zentoria"):
        answer = lab.root.get(path)
        assert (answer.status, answer.reason) == (501, "Method 'GET /pools/home/zentoria' not implemented")
    assert "not empty (contains pool 'home/zentoria')" in lab.root.delete("/pools", poolid="home").reason

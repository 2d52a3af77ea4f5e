"""Object storage: its keys as text, and in a real server on loopback."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.roles.roles_support import CANARY, FixedMaterials, context, files, inventory, state, text, units
from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Command, GuestState, Release
from zentoria_infra.inventory.load import load
from zentoria_infra.roles import s3
from zentoria_infra.roles.checks import check_roles

IDENTITIES = "/etc/zentoria/s3/identities.json"
BUCKETS = "/etc/zentoria/s3/buckets.json"
PROGRAM = "/usr/local/lib/zentoria/s3-buckets.py"
UNIT = "/etc/systemd/system/s3.service"
WEED = Path(sys.executable).parent / "weed"


@pytest.fixture(scope="module")
def guest() -> GuestState:
    return state("files")


def identities(guest: GuestState) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(text(guest, IDENTITIES))["identities"]}


def test_a_key_is_of_one_consumer_and_its_buckets(guest: GuestState) -> None:
    found = identities(guest)
    assert set(found) == {"admin", "backend", "backup", "embeddings", "n8n", "ocr"}
    of = {name: set(identity["actions"]) for name, identity in found.items()}
    assert {one for one in of["backend"] if one.startswith("Write")} == {"Write:documents", "Write:uploads"}
    assert {one for one in of["ocr"] if one.startswith("Write")} == {"Write:documents", "Write:uploads"}
    assert {"List", "Read", "Write:backups"} <= of["backup"]
    assert not any(one == "Admin" or one == "Write" for name in found if name != "admin" for one in of[name])
    keys = [key["secretKey"] for one in found.values() for key in one["credentials"]]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(CANARY) for key in keys)


def test_keys_are_in_one_file_that_nobody_else_reads(guest: GuestState) -> None:
    found = files(guest)
    with_secrets = {path for path, one in found.items() if CANARY in (one.text or "")}
    assert with_secrets == {IDENTITIES}
    assert (found[IDENTITIES].mode, found[IDENTITIES].owner, found[IDENTITIES].secret) == ("0600", "s3", True)
    # a reload would leave a key that is gone
    assert f"file:{IDENTITIES}" in units(guest)["s3.service"].reads
    assert not units(guest)["s3.service"].reloads


def test_only_the_gateway_and_its_figures_are_at_the_containers_address(guest: GuestState) -> None:
    line = next(one for one in text(guest, UNIT).splitlines() if one.startswith("ExecStart="))
    arguments = dict(one.lstrip("-").partition("=")[::2] for one in line.split()[1:])
    assert line.startswith("ExecStart=/opt/zentoria/s3/current/s3 -logtostderr=true server ")
    assert (arguments["ip"], arguments["ip.bind"]) == ("127.0.0.1", "127.0.0.1")
    assert (arguments["s3.ip.bind"], arguments["metricsIp"]) == ("10.10.40.7", "10.10.40.7")
    assert (arguments["s3.port"], arguments["metricsPort"]) == ("9000", "9327")
    assert (arguments["dir"], arguments["volume.max"]) == ("/var/lib/s3", "200")
    assert (arguments["master.telemetry"], arguments["master.electionTimeout"]) == ("false", "1s")
    assert "ReadWritePaths=/var/lib/s3\n" in text(guest, UNIT)
    assert "TimeoutStopSec=30\n" in text(guest, UNIT)


def test_buckets_are_made_when_it_answers(guest: GuestState) -> None:
    ids = [one.id for one in guest.resources]
    wanted = ["s3:owner of the data", f"file:{IDENTITIES}", "release:s3", "unit:s3.service", "health:s3", "s3:buckets"]
    assert sorted(wanted, key=ids.index) == wanted
    assert set(json.loads(text(guest, BUCKETS))["buckets"]) == {"backups", "documents", "uploads"}
    release = next(one for one in guest.resources if isinstance(one, Release))
    assert release.health_url == "http://10.10.40.7:9000/healthz"
    made = next(one for one in guest.resources if isinstance(one, Command) and one.id == "s3:buckets")
    assert (made.check, made.apply) == ((PROGRAM, "check"), (PROGRAM, "make"))


def test_both_sites_say_where_it_comes_from() -> None:
    for site, kind in (("lab", "pypi"), (None, "url")):
        found = inventory(site)
        component = found.component(found.by_name("files").service("s3"))
        assert component is not None
        assert (component.kind, component.version) == (kind, "4.48")  # type: ignore[union-attr]  # both kinds have it


def test_the_gateway_is_told_its_own_key_and_buckets() -> None:
    guest = state("backend")
    lines = text(guest, "/etc/zentoria/backend/environment").splitlines()
    for line in ('ZENTORIA_S3_ENDPOINT="http://10.10.40.7:9000"', 'ZENTORIA_S3_REGION="us-east-1"',
                 'ZENTORIA_S3_BUCKET_UPLOADS="uploads"', 'ZENTORIA_S3_BUCKET_DOCUMENTS="documents"',
                 'ZENTORIA_S3_ACCESS_KEY="backend"',
                 'ZENTORIA_S3_SECRET_KEY_FILE="/etc/zentoria/backend/s3_secret_key"'):  # fmt: skip
        assert line in lines
    assert files(guest)["/etc/zentoria/backend/s3_secret_key"].mode == "0600"
    theirs = identities(state("files"))["backend"]["credentials"][0]["secretKey"]
    assert text(guest, "/etc/zentoria/backend/s3_secret_key") == f"{theirs}\n"


def _needs(**of: Any) -> dict[str, Any]:
    need = {"service": "files.s3", "start": False, "purpose": "Documents", **of}
    return {"containers": {"ocr": {"services": {"paperless": {"needs": [
        {"service": "db.postgresql", "database": {"name": "zentoria_core", "group": "ai"}, "purpose": "Metadata"},
        {"service": "redis.redis", "purpose": "Task queue"}, need]}}}}}  # fmt: skip


def test_a_need_without_buckets_is_told() -> None:
    found = load(context("ocr").inventory.root, "lab", _needs())
    assert ["it says no bucket" in one.message for one in check_roles(found)] == [True]


@pytest.mark.parametrize("name", ["ab", "Uploads", "up.loads", "-up", "../etc"])
def test_a_bucket_has_a_name_that_every_server_takes(name: str) -> None:
    with pytest.raises(InventoryError, match="a bucket's name"):
        load(context("ocr").inventory.root, "lab", _needs(buckets=[name]))


def free_port() -> int:
    """A port whose further one, ten thousand above, is SeaweedFS' for gRPC."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = int(one.getsockname()[1])
        if port < 55000:
            return port


class Server:
    """A running server with the rendered command and keys; its files are below ``folder``."""

    def __init__(self, guest: GuestState, folder: Path) -> None:
        self.folder, self.guest = folder, guest
        self.ports = {name: free_port() for name in ("s3", "metrics", "master", "volume", "filer")}
        self.write(guest)
        line = next(one for one in text(guest, UNIT).splitlines() if one.startswith("ExecStart="))
        for wanted, here in (("10.10.40.7", "127.0.0.1"), ("/var/lib/s3", f"{folder}/data"),
                             ("/etc/zentoria/s3", str(folder)), ("-s3.port=9000", f"-s3.port={self.ports['s3']}"),
                             ("-metricsPort=9327", f"-metricsPort={self.ports['metrics']}")):  # fmt: skip
            assert wanted in line
            line = line.replace(wanted, here)
        more = [f"-{name}.port={self.ports[name]}" for name in ("master", "volume", "filer")]
        self.command = [str(WEED), *line.split()[1:], *more]
        (folder / "data").mkdir()
        self.start()

    def write(self, guest: GuestState) -> None:
        (self.folder / "identities.json").write_text(text(guest, IDENTITIES))
        program = text(guest, PROGRAM).replace("/etc/zentoria/s3", str(self.folder))
        (self.folder / "buckets.py").write_text(program)
        wanted = text(guest, BUCKETS).replace("10.10.40.7", "127.0.0.1").replace("9000", str(self.ports["s3"]))
        (self.folder / "buckets.json").write_text(wanted)

    def start(self) -> None:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=self.folder, env={**os.environ, "HOME": str(self.folder)}
            )
        until = time.monotonic() + 60
        while self.status("s3", "/healthz") != 200:
            assert self.process.poll() is None and time.monotonic() < until, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def status(self, port: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def buckets(self, verb: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", str(self.folder / "buckets.py"), verb],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, (done.stdout + done.stderr).strip()

    def store(self, user: str, bucket: str, retries: int = 0) -> S3Store:
        of = identities(self.guest)[user]["credentials"][0]
        return S3Store(
            bucket, endpoint=f"http://127.0.0.1:{self.ports['s3']}", region="us-east-1", access_key_id=of["accessKey"],
            secret_access_key=of["secretKey"], client_options={"allow_http": True},
            retry_config={"max_retries": retries},
        )  # fmt: skip


@pytest.fixture(scope="module")
def server(guest: GuestState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(guest, tmp_path_factory.mktemp("s3"))
    try:
        yield found
    finally:
        found.stop()


def test_buckets_are_made_once_and_mended(server: Server) -> None:
    code, said = server.buckets("check")
    assert (code, said.splitlines()) == (1, ["backups is missing", "documents is missing", "uploads is missing"])
    assert server.buckets("make")[0] == 0
    assert server.buckets("check") == (0, "as said")
    wanted = json.loads((server.folder / "buckets.json").read_text())
    wanted["buckets"]["uploads"]["old_versions_days"] = 7
    (server.folder / "buckets.json").write_text(json.dumps(wanted))
    assert server.buckets("check") == (1, "uploads: lifecycle")
    assert server.buckets("make")[0] == 0
    assert server.buckets("check") == (0, "as said")


def test_a_key_opens_its_buckets_and_no_others(server: Server) -> None:
    server.buckets("make")
    mine = server.store("backend", "uploads")
    obstore.put(mine, "one", b"hello")
    assert obstore.get(mine, "one").bytes() == b"hello"
    assert [one["path"] for one in obstore.list(mine).collect()] == ["one"]
    for user, bucket in (("backend", "backups"), ("ocr", "backups"), ("n8n", "documents")):
        other = server.store(user, bucket)
        for refused in (lambda one=other: obstore.put(one, "two", b"x"), lambda one=other: obstore.list(one).collect(),
                        lambda one=other: obstore.get(one, "one").bytes()):  # fmt: skip
            with pytest.raises(BaseError, match=r"(?i)denied|403|permission"):
                refused()
    backup = server.store("backup", "uploads")
    assert obstore.get(backup, "one").bytes() == b"hello"
    with pytest.raises(BaseError):
        obstore.delete(backup, "one")
    obstore.delete(mine, "one")
    with pytest.raises(FileNotFoundError):
        obstore.get(mine, "one")


def test_without_a_key_or_with_a_wrong_one_nothing_is_told(server: Server) -> None:
    assert server.status("s3", "/") == 403
    assert server.status("s3", "/uploads?list-type=2") == 403
    assert server.status("s3", "/healthz") == 200
    assert server.status("metrics", "/metrics") == 200
    wrong = S3Store("uploads", endpoint=f"http://127.0.0.1:{server.ports['s3']}", region="us-east-1",
                    access_key_id="backend", secret_access_key="wrong", client_options={"allow_http": True},
                    retry_config={"max_retries": 0})  # fmt: skip
    with pytest.raises(BaseError, match="SignatureDoesNotMatch"):
        obstore.list(wrong).collect()


def test_a_key_that_is_gone_opens_nothing_after_the_restart(server: Server) -> None:
    server.buckets("make")
    old = server.store("n8n", "uploads")
    obstore.put(old, "kept", b"1")
    text_before = (server.folder / "identities.json").read_text()
    without = json.loads(text_before)
    without["identities"] = [one for one in without["identities"] if one["name"] != "n8n"]
    (server.folder / "identities.json").write_text(json.dumps(without))
    server.stop()
    server.start()
    try:
        with pytest.raises(BaseError, match="InvalidAccessKeyId"):
            obstore.get(old, "kept")
        # What was written is there, though the server was killed; it says that it is well a moment too early.
        assert obstore.get(server.store("backend", "uploads", retries=20), "kept").bytes() == b"1"
    finally:
        (server.folder / "identities.json").write_text(text_before)


def test_a_secret_changed_changes_the_file_that_the_unit_reads() -> None:
    class Other(FixedMaterials):
        pass

    one, other = FixedMaterials(), Other()
    before = text(state("files", materials=one), IDENTITIES)
    original = other.secrets.get_or_create

    def get_or_create(path: str, generator: Any) -> Any:
        found = original(path, generator)
        return type(found)(found.get_secret_value()[::-1]) if path == "zentoria/minio/n8n_secret_key" else found

    other.secrets.get_or_create = get_or_create  # type: ignore[method-assign]  # one key is another one
    assert text(state("files", materials=other), IDENTITIES) != before


def test_the_admins_key_is_nobodys(guest: GuestState) -> None:
    asked = set(s3.ROLE.secrets(inventory(), inventory().by_name("files"), inventory().by_name("files").service("s3")))
    for container in inventory().containers:
        for service in container.services:
            assert container.name == "files" or not asked & set(service.secrets)

"""Redis: its users as text, and in a real server on loopback."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from tests.roles.roles_support import CANARY, FixedMaterials, inventory, settings, state, text, units
from tests.support.needs import need_program
from zentoria_infra.guest.state import GuestState
from zentoria_infra.inventory.flows import expand_needs
from zentoria_infra.roles.redis import ADMIN, EXPORTER, users

ACL = "/etc/redis/users.acl"
LINE = re.compile(
    r"user [a-z0-9-]+ (on #[0-9a-f]{64}|off)( resetpass)?( resetkeys)?( resetchannels)?( [~&+-][^ ]+| resetchannels)*"
)


@pytest.fixture(scope="module")
def guest() -> GuestState:
    return state("redis")


def test_every_line_is_a_user_and_each_user_is_there_once(guest: GuestState) -> None:
    lines = text(guest, ACL).splitlines()
    for line in lines:
        assert LINE.fullmatch(line), line
    names = [line.split()[1] for line in lines]
    assert len(names) == len(set(names))
    assert lines[0].startswith("user default off")
    assert CANARY not in text(guest, ACL)


def test_the_users_are_those_who_need_it(guest: GuestState) -> None:
    needed = {need.source for need in expand_needs(inventory()) if need.destination == "redis" and need.first == 6379}
    assert set(users(inventory(), inventory().by_name("redis"))) == needed
    names = {line.split()[1] for line in text(guest, ACL).splitlines()}
    assert names == {"default", ADMIN, EXPORTER, *needed}
    assert needed == {"ai", "auth", "backend", "backup", "n8n", "ocr"}


def test_settings(guest: GuestState) -> None:
    found = settings(text(guest, "/etc/redis/redis.conf"))
    assert found["bind"] == "10.10.41.0 127.0.0.1"
    assert found["appendonly"] == "yes"
    assert found["protected-mode"] == "yes"
    assert found["aclfile"] == ACL
    memory = inventory().by_name("redis").resources.memory
    assert 0 < int(found["maxmemory"].removesuffix("mb")) < memory
    assert "requirepass" not in found
    unit = units(guest)["redis-server.service"]
    assert {f"file:{ACL}", "file:/etc/redis/redis.conf"} <= set(unit.reads)


class Server:
    """A running server with the rendered configuration."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder

    def client(self, user: str | None, path: str = "") -> redis.Redis:
        password = None
        if user:
            path = path or f"zentoria/redis/{user}_password"
            password = FixedMaterials().secrets.get_or_create(path, lambda: "x" * 32).get_secret_value()
        return redis.Redis(
            host="127.0.0.1",
            port=self.port,
            username=user,
            password=password,
            protocol=2,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )


@contextlib.contextmanager
def running(folder: Path, port: int) -> Iterator[Server]:
    """A server with what lies in ``folder``, for as long as the block runs."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([need_program("redis-server"), f"{folder}/redis.conf"], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield Server(port, folder)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def server(guest: GuestState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("redis")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    conf = text(guest, "/etc/redis/redis.conf")
    for wanted, here in (
        ("bind 10.10.41.0 127.0.0.1", "bind 127.0.0.1"), ("port 6379", f"port {port}"),
        ("/var/lib/redis", str(folder)), (ACL, f"{folder}/users.acl"),
    ):  # fmt: skip
        assert wanted in conf
        conf = conf.replace(wanted, here)
    (folder / "redis.conf").write_text(conf)
    (folder / "users.acl").write_text(text(guest, ACL))
    with running(folder, port) as started:
        yield started


def test_nobody_without_a_name(server: Server) -> None:
    with server.client(None) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with server.client("backend", "zentoria/redis/ai_password") as client, pytest.raises(redis.AuthenticationError):
        client.ping()


@pytest.mark.parametrize("user", ["ai", "auth", "backend", "n8n", "ocr"])
def test_a_service_has_its_own_keys_and_no_others(server: Server, user: str) -> None:
    with server.client(user) as client:
        assert client.ping()
        assert client.set(f"{user}:key", "1", ex=60)
        assert client.get(f"{user}:key") == b"1"
        assert client.eval("return redis.call('get', KEYS[1])", 1, f"{user}:key") == b"1"
        assert "redis_version" in client.info("server")
        for refused in (("GET", "other:key"), ("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "maxmemory"),
                        ("ACL", "LIST"), ("SHUTDOWN",), ("SUBSCRIBE", "other:news"),
                        ("MONITOR",), ("REPLICAOF", "127.0.0.1", "1")):  # fmt: skip
            with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
                client.execute_command(*refused)


def test_bull_may_use_its_prefix(server: Server) -> None:
    with server.client("n8n") as client:
        assert client.lpush("bull:jobs:wait", "1")
    with server.client("backend") as client, pytest.raises(NoPermissionError):
        client.lpush("bull:jobs:wait", "1")


def test_a_backup_reads_the_snapshot_and_nothing_else(server: Server) -> None:
    with server.client("backup") as client:
        for refused in (("GET", "backend:key"), ("SET", "backup:x", "1"), ("KEYS", "*")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*refused)
    program = need_program("redis-cli")
    password = FixedMaterials().secrets.get_or_create("zentoria/redis/backup_password", lambda: "x" * 32)
    out = server.folder / "backup.rdb"
    subprocess.run(
        [program, "-p", str(server.port), "--user", "backup", "--rdb", str(out)],
        env={"REDISCLI_AUTH": password.get_secret_value()}, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    assert out.read_bytes().startswith(b"REDIS")


def test_a_transaction_and_a_script_outlive_a_restart(server: Server, tmp_path: Path) -> None:
    conf = (server.folder / "redis.conf").read_text().replace(str(server.folder), str(tmp_path))
    shutil.copy(server.folder / "users.acl", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    (tmp_path / "redis.conf").write_text(conf.replace(f"port {server.port}", f"port {port}"))
    with running(tmp_path, port) as before, before.client("backend") as client:
        with client.pipeline(transaction=True) as both:
            both.set("backend:one", "1").set("backend:two", "2").execute()
        client.eval("redis.call('SET', KEYS[1], 3) redis.call('EXPIRE', KEYS[1], 600)", 1, "backend:three")
    with running(tmp_path, port) as after, after.client("backend") as client:
        assert client.mget("backend:one", "backend:two", "backend:three") == [b"1", b"2", b"3"]


def test_the_exporter_sees_figures_and_no_keys(server: Server) -> None:
    with server.client(EXPORTER) as client:
        assert client.config_get("maxmemory")
        assert client.slowlog_len() >= 0
        with pytest.raises(NoPermissionError):
            client.get("backend:key")


def test_the_administrator_may_do_everything_but_not_change_the_users_file(server: Server) -> None:
    with server.client(ADMIN, "zentoria/redis/password") as client:
        assert len(client.acl_list()) == 9
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert (server.folder / "appendonlydir").is_dir()

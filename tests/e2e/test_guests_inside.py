"""What is inside the containers, asked with testinfra from inside them."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable

import pytest
import testinfra.backend.base
import testinfra.host

from tests.support.stack import ROOT, Stack
from zentoria_infra.inventory.load import load
from zentoria_infra.lab.layout import LabLayout
from zentoria_infra.lab.lxc.runtime import LxcRuntime

pytestmark = [pytest.mark.root, pytest.mark.lxc, pytest.mark.timeout(600)]

CONTAINERS = load(ROOT, site="lab").containers


class Attach(testinfra.backend.base.BaseBackend):
    """testinfra over lxc-attach: a road into the guest that is not the one under test."""

    NAME = "zentoria-attach"

    def __init__(self, prefix: list[str]) -> None:
        super().__init__("guest")
        self._prefix = prefix

    def run(self, command: str, *arguments: str, **_: object) -> testinfra.backend.base.CommandResult:
        line = self.get_command(command, *arguments)
        done = subprocess.run([*self._prefix, "sh", "-c", line], capture_output=True, check=False, timeout=120)
        return self.result(done.returncode, self.encode(line), done.stdout, done.stderr)


Inside = Callable[[str], testinfra.host.Host]


@pytest.fixture
def inside(stack: Stack) -> Inside:
    """A testinfra host by a container's name."""
    folder = stack.folder
    runtime = LxcRuntime(LabLayout(stack.name, folder))
    vmids = {container.name: container.vmid for container in CONTAINERS}

    @functools.cache
    def host(name: str) -> testinfra.host.Host:
        return testinfra.host.Host(Attach(runtime.attach_argv(vmids[name])))

    return host


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: c.name)
def test_every_container_has_its_base(inside: Inside, container) -> None:
    host = inside(container.name)
    assert host.check_output("hostname") == container.hostname
    assert f"{container.address}/20" in host.check_output("ip -4 -o addr show eth0")
    assert host.check_output("date +%Z") == "UTC"
    assert host.check_output("systemctl is-system-running --wait || true") == "running"
    assert host.addr("zentoria-db").ipv4_addresses == ["10.10.40.4"]
    assert host.service("prometheus-node-exporter").is_running
    assert host.socket(f"tcp://{container.address}:9100").is_listening
    assert not host.socket("tcp://0.0.0.0:9100").is_listening
    assert host.check_output("ss -Hltn 'sport = :22'") == ""
    assert "SystemMaxUse" in host.check_output("cat /etc/systemd/journald.conf.d/*.conf")


def test_postgresql_has_databases_roles_and_its_own_volume(inside: Inside) -> None:
    host = inside("db")
    assert host.mount_point("/var/lib/postgresql").exists
    query = "runuser -u postgres -- psql -XAtc %s"
    databases = host.check_output(query, "select datname || ':' || pg_encoding_to_char(encoding) from pg_database")
    for name in ("zentoria_core", "zentoria_vectors", "n8n"):
        assert f"{name}:UTF8" in databases.splitlines()
    assert host.check_output(query, "show timezone") in ("UTC", "Etc/UTC")
    extensions = host.check_output(
        "runuser -u postgres -- psql -XAtd zentoria_vectors -c %s", "select extname from pg_extension"
    )
    assert "vector" in extensions.splitlines()
    verifiers = host.check_output(query, "select rolpassword from pg_authid where rolcanlogin and rolpassword != ''")
    assert verifiers
    assert all(line.startswith("SCRAM-SHA-256$") for line in verifiers.splitlines())
    assert len(set(verifiers.splitlines())) == len(verifiers.splitlines())


def test_pgbouncer_pools_by_transaction(inside: Inside) -> None:
    host = inside("db")
    assert host.service("pgbouncer").is_running
    assert host.socket("tcp://10.10.40.4:6432").is_listening
    text = host.check_output("cat /etc/pgbouncer/pgbouncer.ini")
    for line in ("pool_mode = transaction", "max_client_conn = 1000", "default_pool_size = 25"):
        assert line in text


def test_redis_knows_users_and_refuses_everybody_else(inside: Inside) -> None:
    host = inside("redis")
    assert host.run("redis-cli -h 10.10.41.0 ping").stdout.startswith("NOAUTH")
    assert "appendonly yes" in host.check_output("cat /etc/redis/*.conf")
    assert host.file("/var/lib/redis/appendonlydir").is_directory
    users = host.check_output("cat /etc/redis/*.acl")
    assert "user default off" in users
    assert "user backend on" in users
    assert " >" not in users


def test_nginx_redirects_and_hardens(stack: Stack, inside: Inside) -> None:
    assert inside("proxy").run("nginx -t").rc == 0
    plain = stack.get("/", https=False)
    assert plain.status_code in (301, 308)
    assert plain.headers["Location"].startswith("https://")
    secure = stack.get("/api/v1/health")
    assert "max-age=" in secure.headers["Strict-Transport-Security"]
    assert "nginx/" not in secure.headers.get("Server", "")


def test_nginx_takes_uploads_up_to_the_one_limit(stack: Stack, inside: Inside) -> None:
    text = inside("proxy").check_output("nginx -T 2>/dev/null")
    assert "client_max_body_size 100m" in text.lower()


def test_the_backend_runs_hardened_from_a_release_of_its_own(inside: Inside) -> None:
    host = inside("backend")
    assert host.service("zentoria-backend").is_running
    assert host.file("/opt/zentoria/backend/current").is_symlink
    assert host.process.filter(user="zentoria")
    shown = host.check_output("systemctl show zentoria-backend -p NoNewPrivileges,ProtectSystem,User")
    assert "NoNewPrivileges=yes" in shown
    assert "ProtectSystem=strict" in shown
    assert "User=zentoria" in shown


def test_no_secret_is_readable_by_others_or_seen_in_arguments(stack: Stack, inside: Inside) -> None:
    folder = stack.folder
    store = folder / "secrets/stack/secrets.json"
    assert store.stat().st_mode & 0o077 == 0
    secrets = [value for value in _strings(json.loads(store.read_text())) if len(value) >= 32]
    assert len(secrets) >= 3
    for name in ("db", "redis", "backend", "proxy"):
        host = inside(name)
        arguments = host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        journal = host.check_output("journalctl --no-pager -o cat | tr -cd '\\12\\40-\\176'")
        readable = host.check_output(
            "find /etc /opt /run /var/lib /tmp -xdev -type f -perm /004 -size -256k "
            "-exec cat {} + 2>/dev/null | tr -cd '\\12\\40-\\176' || true"
        )
        for secret in secrets:
            assert secret not in arguments
            assert secret not in journal
            assert secret not in readable


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return [value] if isinstance(value, str) else []

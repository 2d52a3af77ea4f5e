"""PostgreSQL and PgBouncer: who may reach what, and the SQL in a real server."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.roles.roles_support import FixedMaterials, context, files, inventory, settings, state, text, units
from zentoria_infra.errors import InventoryError
from zentoria_infra.guest import secrets
from zentoria_infra.guest.state import Command, GuestState, Packages
from zentoria_infra.inventory.flows import expand_needs
from zentoria_infra.roles import databases, postgres_sql
from zentoria_infra.roles.kit.clients import database_password
from zentoria_infra.roles.kit.rendering import Templates

HBA = "/etc/postgresql/17/main/pg_hba.conf"
CONF = "/etc/postgresql/17/main/conf.d/zentoria.conf"


@pytest.fixture(scope="module")
def guest() -> GuestState:
    return state("db")


def hba(guest: GuestState, path: str = HBA) -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in text(guest, path).splitlines() if line and not line.startswith("#")]


def test_each_need_has_exactly_one_line(guest: GuestState) -> None:
    lines = hba(guest)
    assert len(lines) == len(set(lines))
    assert {line for line in lines if line[0] == "local"} == {
        ("local", "all", "postgres", "peer"), ("local", "postgres", "prometheus", "peer"),
    }  # fmt: skip
    expected = set()
    for need in expand_needs(inventory()):
        if need.destination != "db" or need.first not in (5432, 6432):
            continue
        names = ("n8n", "paperless", "zentoria_core", "zentoria_vectors") if need.source == "backup" else (
            {"n8n": "n8n", "ocr": "paperless", "embeddings": "zentoria_vectors"}.get(need.source, "zentoria_core"),
        )  # fmt: skip
        address = "127.0.0.1" if need.first == 6432 else str(inventory().by_name(need.source).address)
        expected |= {("host", name, need.source, f"{address}/32", "scram-sha-256") for name in names}
    assert {line for line in lines if line[0] == "host"} == expected
    assert len(expected) > 8


def test_nobody_gets_in_by_trust_or_from_a_network(guest: GuestState) -> None:
    for line in hba(guest):
        assert line[-1] in ("peer", "scram-sha-256")
        if line[0] == "host":
            assert line[3].endswith("/32")
            assert line[1] not in ("all", "replication")
            assert line[2] not in ("all", "postgres")


def test_databases_and_owners() -> None:
    ways = databases.accesses(inventory(), inventory().by_name("db"))
    found = {one.name: one for one in databases.databases(ways)}
    assert {name: one.owner for name, one in found.items()} == {
        "n8n": "n8n", "paperless": "ocr", "zentoria_core": "zentoria_owner", "zentoria_vectors": "zentoria_owner",
    }  # fmt: skip
    assert found["zentoria_vectors"].extensions == ("vector",)
    assert found["zentoria_core"].members == ("ai", "auth", "backend")
    assert databases.groups(ways, "backend") == ("svc_backend",)
    assert databases.groups(ways, "n8n") == ()
    assert found["n8n"].users == ("backup", "n8n")


def test_every_role_has_its_own_password_that_its_service_declares() -> None:
    ways = databases.accesses(inventory(), inventory().by_name("db"))
    for role in databases.roles(ways):
        declared = {path for service in inventory().by_name(role).services for path in service.secrets}
        assert database_password(role) in declared


def test_the_pool_has_the_verifiers_of_the_server(guest: GuestState) -> None:
    users = dict(re.findall(r'"([^"]+)" "([^"]+)"', text(guest, "/etc/pgbouncer/userlist.txt")))
    assert set(users) == {"auth", "backend"}
    steps = {one.id: one for one in guest.resources if isinstance(one, Command)}
    for role, verifier in users.items():
        step = steps[f"postgresql:login:{role}"]
        assert step.secret
        assert verifier in (step.apply_stdin or "")
        assert verifier in (step.check_stdin or "")
    assert files(guest)["/etc/pgbouncer/userlist.txt"].mode == "0600"


def test_settings_of_the_pool(guest: GuestState) -> None:
    found = settings(text(guest, "/etc/pgbouncer/pgbouncer.ini"))
    wanted = {
        "pool_mode": "transaction", "max_client_conn": "1000", "default_pool_size": "25", "listen_port": "6432",
        "auth_type": "scram-sha-256", "listen_addr": "10.10.40.4,127.0.0.1",
        "zentoria_core": "host=127.0.0.1 port=5432 dbname=zentoria_core",
    }  # fmt: skip
    assert wanted.items() <= found.items()
    assert int(found["max_prepared_statements"]) > 0
    limit = re.search(r"LimitNOFILE=(\d+)", text(guest, "/etc/systemd/system/pgbouncer.service.d/zentoria.conf"))
    assert limit
    assert int(limit[1]) > 2000


@pytest.mark.parametrize("memory", [512, 1024, 8192, 32768])
def test_sizes_follow_the_memory(memory: int) -> None:
    overrides = {"every_container": {"resources": {"swap": 0}}, "containers": {"db": {"resources": {"memory": memory}}}}
    found = settings(text(state("db", overrides=overrides), CONF))
    size = {name: int(value.removesuffix("MB")) for name, value in found.items() if value.endswith("MB")}
    assert size["shared_buffers"] == memory // 4
    assert size["shared_buffers"] < size["effective_cache_size"] < memory
    assert 32 <= size["maintenance_work_mem"] <= 1024
    assert size["work_mem"] >= 4


def test_there_are_connections_for_every_pool(guest: GuestState) -> None:
    found = settings(text(guest, CONF))
    ways = databases.accesses(inventory(), inventory().by_name("db"))
    assert int(found["max_connections"]) >= 25 * sum(way.pooled for way in ways) + len({way.role for way in ways})
    assert found["timezone"] == "UTC"
    assert found["listen_addresses"] == "10.10.40.4,127.0.0.1"


def test_the_default_version_comes_from_its_own_repository_with_a_pinned_key() -> None:
    materials = FixedMaterials()
    guest = state("db", site=None, materials=materials)
    packages = next(one for one in guest.resources if isinstance(one, Packages))
    assert {"postgresql-16", "postgresql-16-pgvector"} <= set(packages.names)
    key = files(guest)["/etc/apt/keyrings/postgresql.asc"]
    [(url, sha256)] = materials.files
    assert key.blob == sha256
    assert url.startswith("https://")
    assert "Signed-By: /etc/apt/keyrings/postgresql.asc" in text(guest, "/etc/apt/sources.list.d/postgresql.sources")
    ids = [one.id for one in guest.resources]
    assert ids.index(key.id) < ids.index("packages")
    assert "postgresql@16-main.service" in units(guest)
    assert "/etc/postgresql/16/main/pg_hba.conf" in files(guest)
    assert "postgresql.sources" not in " ".join(files(state("db")))


def test_the_cluster_is_not_made_by_the_package(guest: GuestState) -> None:
    ids = [one.id for one in guest.resources]
    assert ids.index("file:/etc/postgresql-common/createcluster.conf") < ids.index("packages")
    created = settings(text(guest, "/etc/postgresql-common/createcluster.conf"))
    # without add_include_dir, nothing would read our settings
    assert created == {"create_main_cluster": "false", "add_include_dir": "conf.d"}
    wanted = ["packages", "volume:/var/lib/postgresql", "postgresql:cluster", f"file:{CONF}",
              "unit:postgresql@17-main.service", "health:postgresql answers", "postgresql:login:backend",
              "postgresql:database:zentoria_core", "postgresql:inside:zentoria_core",
              "unit:pgbouncer.service"]  # fmt: skip
    assert sorted(wanted, key=ids.index) == wanted


def test_a_version_that_is_no_major_version_is_refused() -> None:
    component = {"kind": "apt", "version": "17.2", "packages": ["postgresql-17"], "repository": None}
    with pytest.raises(InventoryError, match=r"says version '17\.2'"):
        state("db", overrides={"components": {"postgresql": component}})


def test_sql_is_quoted() -> None:
    render = Templates(inventory().root)
    bad = "a\"b'c"
    step = postgres_sql.database_command(render, databases.Database(bad, "o", ("t",)))
    assert "'a\"b''c'" in (step.check_stdin or "")
    assert '"a""b\'c"' in (step.apply_stdin or "")


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class Server:
    """A PostgreSQL with a socket only."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.programs, self.folder, self.user = programs, folder, user

    def run(self, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        env = {
            "PGHOST": str(self.folder),
            "PGUSER": "postgres",
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "LC_ALL": "C",
        }
        return subprocess.run(
            command, input=stdin, user=self.user, env=env, capture_output=True, text=True, timeout=60, check=False,
            cwd=self.folder,
        )  # fmt: skip

    def passes(self, step: Command) -> bool:
        done = self.run(*step.check, stdin=step.check_stdin)
        return done.returncode == 0 and done.stdout.strip() == step.expect

    def apply(self, step: Command) -> None:
        done = self.run(*step.apply, stdin=step.apply_stdin)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr

    def sql(self, text: str, database: str = "postgres", role: str = "postgres") -> subprocess.CompletedProcess[str]:
        return self.run("psql", "-X", "-A", "-t", "-q", "-U", role, "-d", database, "-c", text)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    programs = _programs()
    if programs is None or shutil.which("psql") is None:
        pytest.skip("PostgreSQL is not installed")
    user = None
    folder = tmp_path_factory.mktemp("pg")
    if os.geteuid() == 0:
        names = {one.pw_name for one in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        for parent in (folder, *folder.parents):
            if parent.stat().st_mode & 0o001 == 0:
                folder = Path("/tmp") / f"zentoria-test-{os.getpid()}"
                folder.mkdir(mode=0o700)
                break
        shutil.chown(folder, user)
    made = Server(programs, folder, user)
    try:
        done = made.run("initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8",
                        "--locale=C")  # fmt: skip
        assert done.returncode == 0, done.stderr
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c shared_buffers=16MB"
        done = made.run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", options, "start")
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        made.run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")
        if folder.parent == Path("/tmp"):
            shutil.rmtree(folder)


def _steps() -> list[Command]:
    """The steps of the role, but for the extension: it is a package of its own."""
    made = context("db")
    found = databases.databases(databases.accesses(made.inventory, made.container))
    steps = [one for one in state("db").resources if isinstance(one, Command) and "psql" in one.check]
    bare = {
        f"postgresql:inside:{one.name}": postgres_sql.inside_command(
            made.render, databases.Database(one.name, one.owner, one.members, one.readers)
        )
        for one in found
    }
    return [bare.get(step.id, step) for step in steps]


def test_steps_in_a_real_server(server: Server) -> None:
    steps = _steps()
    assert len(steps) > 12
    for step in steps:
        if not server.passes(step):
            server.apply(step)
        assert server.passes(step), step.id
    assert [step.id for step in steps if not server.passes(step)] == []

    assert server.sql("SELECT 1", "zentoria_core", "auth").returncode == 0
    refused = server.sql("SELECT 1", "zentoria_vectors", "auth")
    assert "permission denied for database" in refused.stderr
    assert "permission denied for database" in server.sql("SELECT 1", "postgres", "backend").stderr
    # who has rights by a group makes nothing, not even for a while
    for making in ("CREATE TABLE public.x (a int)", "CREATE SCHEMA x", "CREATE TEMPORARY TABLE x (a int)"):
        assert "permission denied" in server.sql(making, "zentoria_core", "auth").stderr, making
    assert server.sql("CREATE TABLE public.x (a int)", "n8n", "n8n").returncode == 0
    # a dump has every row, whoever may see it
    made = (
        "SET ROLE zentoria_owner; CREATE TABLE mine (a int); ALTER TABLE mine ENABLE ROW LEVEL SECURITY, FORCE ROW "
        "LEVEL SECURITY; RESET ROLE; INSERT INTO mine VALUES (7); GRANT SELECT ON mine TO svc_auth"
    )
    assert server.sql(made, "zentoria_core").stderr == ""
    assert server.sql("SELECT a FROM mine", "zentoria_core", "auth").stdout == ""
    assert server.sql("SELECT a FROM mine", "zentoria_core", "backup").stdout.strip() == "7"
    assert "permission denied" in server.sql("INSERT INTO mine VALUES (1)", "zentoria_core", "backup").stderr
    assert "permission denied" in server.sql("SELECT a FROM mine", "zentoria_core", "ai").stderr


def test_a_stack_whose_databases_belonged_to_containers_is_taken_on(server: Server) -> None:
    """As an earlier release left it: ``backend`` owned zentoria_core, others had a schema in it."""
    steps = _steps()
    for step in steps:
        if not server.passes(step):
            server.apply(step)
    for words in (
        "DROP DATABASE IF EXISTS zentoria_core", "DROP DATABASE IF EXISTS zentoria_vectors",
        "CREATE DATABASE zentoria_core OWNER backend", "CREATE DATABASE zentoria_vectors OWNER embeddings",
        "REVOKE svc_auth FROM auth", "GRANT pg_read_all_data TO auth",
        "GRANT CONNECT, TEMPORARY ON DATABASE zentoria_core TO ai, auth, backend, ocr",
    ):  # fmt: skip
        assert server.sql(words).stderr.replace("NOTICE", "").strip().count("ERROR") == 0, words
    for role in ("auth", "ai"):
        assert server.sql(f"CREATE SCHEMA {role} AUTHORIZATION {role}", "zentoria_core").returncode == 0
    assert server.sql("CREATE TABLE mine (a int)", "zentoria_core", "ai").returncode == 0
    for step in steps:
        if not server.passes(step):
            server.apply(step)
    assert [step.id for step in steps if not server.passes(step)] == []
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE 'zentoria%'"
    assert server.sql(owner).stdout.split() == ["zentoria_owner"] * 2
    # empty schemas go, what has something in it stays
    left = server.sql("SELECT nspname FROM pg_namespace WHERE nspname IN ('ai', 'auth')", "zentoria_core")
    assert left.stdout.split() == ["ai"]
    assert "permission denied" in server.sql("CREATE TABLE x (a int)", "zentoria_core", "backend").stderr
    assert "permission denied" in server.sql("SELECT 1", "zentoria_core", "ocr").stderr
    member = "SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = 'auth'::regrole"
    assert server.sql(member).stdout.split() == ["svc_auth"]


def test_what_somebody_changed_is_put_right(server: Server) -> None:
    steps = {step.id: step for step in _steps()}
    for step in steps.values():
        if not server.passes(step):
            server.apply(step)
    for change, name in (
        ("ALTER ROLE auth SUPERUSER", "postgresql:login:auth"),
        ("ALTER ROLE auth PASSWORD 'other'", "postgresql:login:auth"),
        ("GRANT pg_read_all_data TO ocr", "postgresql:login:ocr"),
        ("GRANT svc_backend TO auth", "postgresql:login:auth"),
        ("GRANT zentoria_owner TO backend", "postgresql:login:backend"),
        ("REVOKE svc_backend FROM backend", "postgresql:login:backend"),
        ("ALTER ROLE backup NOBYPASSRLS", "postgresql:login:backup"),
        ("ALTER ROLE auth BYPASSRLS", "postgresql:login:auth"),
        ("ALTER ROLE zentoria_owner LOGIN", "postgresql:groups:owner and groups"),
        ("ALTER DATABASE zentoria_core OWNER TO backend", "postgresql:database:zentoria_core"),
        ("GRANT TEMPORARY ON DATABASE zentoria_core TO auth", "postgresql:database:zentoria_core"),
        ("GRANT CONNECT ON DATABASE n8n TO PUBLIC", "postgresql:database:n8n"),
        ("GRANT CONNECT ON DATABASE n8n TO auth", "postgresql:database:n8n"),
        ("ALTER DATABASE n8n OWNER TO postgres", "postgresql:database:n8n"),
        ("GRANT CONNECT ON DATABASE postgres TO PUBLIC", "postgresql:closed:postgres and template1"),
        ("ALTER ROLE prometheus PASSWORD 'x'", "postgresql:monitor:prometheus"),
    ):
        assert server.sql(change).returncode == 0
        assert not server.passes(steps[name]), change
        server.apply(steps[name])
        assert server.passes(steps[name]), change


def test_the_server_takes_our_verifier_as_it_is(server: Server) -> None:
    password = FixedMaterials().secrets.get_or_create("zentoria/db/backend_password", lambda: "x" * 32)
    for step in _steps():
        if step.id == "postgresql:login:backend" and not server.passes(step):
            server.apply(step)
    kept = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'backend'").stdout.strip()
    assert kept == secrets.role_verifier(password, "backend")

"""The backend's state fits the backend's settings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from zentoria_backend.settings import Settings
from zentoria_common.settings import unknown_variables

from tests.roles.roles_support import files, inventory, settings, state, text, units
from tests.support.needs import need_program
from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import GuestState, Release, Unit, User

UNIT = "/etc/systemd/system/zentoria-backend.service"


@pytest.fixture(scope="module")
def guest() -> GuestState:
    return state("backend")


def environment(guest: GuestState) -> dict[str, str]:
    found = settings(text(guest, "/etc/zentoria/backend/environment").replace("=", " = ", 1000))
    return {name: value.strip('"') for name, value in found.items()}


def test_the_service_understands_every_variable(guest: GuestState, monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment(guest)
    assert unknown_variables(Settings, found) == ()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    read = Settings()  # type: ignore[call-arg] # from the environment
    assert (read.database_host, read.database_port, read.database_name) == ("10.10.40.4", 6432, "zentoria_core")
    assert (read.redis_host, read.redis_port, read.redis_user) == ("10.10.41.0", 6379, "backend")
    assert (read.bind_host, read.http_port, read.websocket_port) == ("10.10.40.1", 4000, 4001)
    assert read.trusted_proxies == "10.10.40.8,10.10.40.0"
    assert read.max_body_bytes == inventory().site.upload_max_bytes
    assert read.database_password_file == Path("/etc/zentoria/backend/database_password")
    assert (read.database_direct_port, read.workers) == (5432, 2)


def test_settings_of_the_inventory_reach_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"workers": 3, "limit_user": 100, "scan_command": ["/usr/bin/scan", "-"], "metrics": False}
    service = {"containers": {"backend": {"services": {"api": {"settings": wanted}}}}}
    for name, value in environment(state("backend", overrides=service)).items():
        monkeypatch.setenv(name, value.strip("'"))
    read = Settings()  # type: ignore[call-arg] # from the environment
    assert (read.workers, read.limit_user, read.metrics) == (3, 100, False)
    assert read.scan_command == ("/usr/bin/scan", "-")


def test_what_follows_from_other_values_is_no_setting() -> None:
    service = {"containers": {"backend": {"services": {"api": {"settings": {"database_host": "10.0.0.1"}}}}}}
    with pytest.raises(InventoryError, match="'database_host' follows from other values"):
        state("backend", overrides=service)


def test_the_service_and_its_check_may_read_the_passwords_and_nobody_else(guest: GuestState) -> None:
    for name in ("database_password", "redis_password", "s3_secret_key"):
        one = files(guest)[f"/etc/zentoria/backend/{name}"]
        assert (one.mode, one.owner, one.group, one.secret) == ("0600", "zentoria", "zentoria", True)
    folder = next(one for one in guest.resources if one.id == "directory:/etc/zentoria/backend")
    assert folder.kind == "directory"
    assert (folder.mode, folder.group) == ("0750", "zentoria")


def test_order_user_settings_sockets_release_unit_health(guest: GuestState) -> None:
    ids = [one.id for one in guest.resources]
    wanted = ["user:zentoria", "directory:/etc/zentoria/backend", "file:/etc/zentoria/backend/environment",
              "unit:zentoria-backend.socket", "unit:zentoria-backend-ws.socket", "release:api",
              "unit:zentoria-backend.service", "health:api"]  # fmt: skip
    assert sorted(wanted, key=ids.index) == wanted
    assert [one.name for one in guest.resources if isinstance(one, User)] == ["zentoria"]


def test_the_release_is_gated(guest: GuestState) -> None:
    release = next(one for one in guest.resources if isinstance(one, Release))
    assert release.units == ("zentoria-backend.service",)
    assert release.preflight[:2] == ("zentoria-backend", "check")
    assert release.health_url == "http://10.10.40.1:4000/api/v1/health"
    assert release.user == "zentoria"
    assert release.environment_file in files(guest)


def test_sockets_are_held_by_systemd(guest: GuestState) -> None:
    for name, port, descriptor in (("zentoria-backend", 4000, "http"), ("zentoria-backend-ws", 4001, "ws")):
        lines = text(guest, f"/etc/systemd/system/{name}.socket").splitlines()
        assert f"ListenStream=10.10.40.1:{port}" in lines
        assert f"FileDescriptorName={descriptor}" in lines
        assert "Service=zentoria-backend.service" in lines
    unit = units(guest)["zentoria-backend.service"]
    assert not any("socket" in one for one in unit.reads)  # a restart of the service leaves them open
    assert isinstance(unit, Unit)


def test_systemd_takes_the_units(guest: GuestState, tmp_path: Path) -> None:
    program = need_program("systemd-analyze")
    for path, one in files(guest).items():
        if path.startswith("/etc/systemd/system/zentoria-backend"):
            content = (one.text or "").replace("/opt/zentoria/backend/current/bin/zentoria-backend", "/bin/true")
            (tmp_path / Path(path).name).write_text(content)
    done = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", f"{tmp_path}/zentoria-backend.service"],
        capture_output=True, text=True, check=False, env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    own = [line for line in done.stderr.splitlines() if "zentoria" in line]
    assert own == []


def test_without_a_database_the_place_is_named() -> None:
    source = {"kind": "apt", "packages": ["something"]}
    with pytest.raises(InventoryError, match="services folder") as caught:
        state("auth", overrides={"components": {"auth": source}})
    assert "409-auth.yaml:" in str(caught.value)

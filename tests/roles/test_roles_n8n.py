"""n8n: main and workers run one release with the same settings, and nobody reads their passwords."""

from __future__ import annotations

import json

import pytest

from tests.roles.roles_support import CANARY, FixedMaterials, context, files, state, text, units
from zentoria_infra.guest.state import Command, GuestState, Release
from zentoria_infra.inventory.component_model import NpmComponent
from zentoria_infra.roles import n8n

INSTALLED = {"containers": {"n8n": {"services": {"main": {"installed": True}, "worker": {"installed": True}}}}}
MAIN, WORKER = "/etc/systemd/system/n8n.service", "/etc/systemd/system/n8n-worker.service"


@pytest.fixture(scope="module")
def guest() -> GuestState:
    return state("n8n", overrides=INSTALLED)


def variables(guest: GuestState) -> dict[str, str]:
    lines = (line.partition("=") for line in text(guest, "/etc/zentoria/n8n/environment").splitlines())
    return {name: value[1:-1] for name, split, value in lines if split}


def test_one_release_restarts_both_and_comes_after_what_they_read(guest: GuestState) -> None:
    (release,) = [one for one in guest.resources if isinstance(one, Release)]
    assert release.units == ("n8n.service", "n8n-worker.service")
    assert release.health_url == "http://10.10.40.2:5678/healthz/readiness"  # its tables are migrated too
    order = [one.id for one in guest.resources]
    at = order.index(release.id)
    before = [MAIN, WORKER, "/etc/zentoria/n8n/environment", "/etc/zentoria/n8n/encryption_key"]
    assert all(order.index(f"file:{path}") < at for path in before)
    assert order.index("health:main") < order.index("n8n:credentials") < order.index("unit:n8n-worker.service")
    assert {f"file:{WORKER}", "file:/etc/zentoria/n8n/redis_password"} <= set(units(guest)["n8n-worker.service"].reads)


def test_it_is_built_from_the_lock_without_what_no_server_needs() -> None:
    materials = FixedMaterials()
    state("n8n", overrides=INSTALLED, materials=materials)
    ((component, _, _),) = materials.archives
    assert isinstance(component, NpmComponent) and component.lock == "n8n" and component.node is not None
    assert "*.map" in component.without and not component.scripts


def test_passwords_are_in_files_of_roots_alone_and_reach_it_as_credentials(guest: GuestState) -> None:
    with_secrets = {path: one for path, one in files(guest).items() if CANARY in (one.text or "")}
    names = ("credentials.json", "database_password", "encryption_key", "redis_password")
    assert sorted(with_secrets) == [f"/etc/zentoria/n8n/{name}" for name in names]
    assert {(one.mode, one.owner, one.secret) for one in with_secrets.values()} == {("0600", "root", True)}
    for path in (MAIN, WORKER):
        unit = text(guest, path)
        assert "LoadCredential=encryption_key:/etc/zentoria/n8n/encryption_key\n" in unit
        assert "Environment=N8N_ENCRYPTION_KEY_FILE=%d/encryption_key\n" in unit


def test_what_it_may_reach_is_its_own(guest: GuestState) -> None:
    found = variables(guest)
    assert (found["DB_POSTGRESDB_HOST"], found["DB_POSTGRESDB_PORT"]) == ("10.10.40.4", "5432")
    assert (found["DB_POSTGRESDB_DATABASE"], found["DB_POSTGRESDB_USER"]) == ("n8n", "n8n")
    # keys and channels that Redis lets its user have: those that begin with its name
    assert found["QUEUE_BULL_PREFIX"].startswith("n8n:") and found["N8N_REDIS_KEY_PREFIX"] == "n8n"
    assert found["N8N_LISTEN_ADDRESS"] == "10.10.40.2" and found["N8N_RUNNERS_BROKER_LISTEN_ADDRESS"] == "127.0.0.1"


def test_code_commands_and_strangers_packages_are_closed(guest: GuestState) -> None:
    found = variables(guest)
    assert {"n8n-nodes-base.code", "n8n-nodes-base.executeCommand"} <= set(json.loads(found["NODES_EXCLUDE"]))
    assert {"community-packages", "mcp-registry"} <= set(found["N8N_DISABLED_MODULES"].split(","))
    assert found["N8N_BLOCK_ENV_ACCESS_IN_NODE"] == "true"
    assert found["N8N_COMMUNITY_PACKAGES_ENABLED"] == found["N8N_DIAGNOSTICS_ENABLED"] == "false"


def test_processes_of_one_container_share_no_port(guest: GuestState) -> None:
    lines = [line for path in (MAIN, WORKER) for line in text(guest, path).splitlines() if "_PORT=" in line]
    ports = [line.rpartition("=")[2] for line in lines]
    assert len(ports) == len(set(ports)) == 3


def test_credentials_of_ours_are_imported_when_they_change(guest: GuestState) -> None:
    (step,) = [one for one in guest.resources if isinstance(one, Command) and one.id == "n8n:credentials"]
    assert step.apply == ("systemctl", "start", "n8n-credentials.service")
    (made,) = json.loads(text(guest, "/etc/zentoria/n8n/credentials.json"))
    assert (made["type"], made["data"]["endpoint"]) == ("s3", "http://10.10.40.7:9000")
    unit = text(guest, "/etc/systemd/system/n8n-credentials.service")
    assert "Type=oneshot\n" in unit and "Restart=always" not in unit and "[Install]" not in unit


def test_the_lab_leaves_it_out_unless_somebody_wants_it() -> None:
    assert not any(isinstance(one, Release) or one.id == "unit:n8n.service" for one in state("n8n").resources)
    assert any(isinstance(one, Release) for one in state("n8n", site=None).resources)


def test_a_second_worker_has_a_unit_of_its_own() -> None:
    made = context("n8n", site=None)
    main, worker = made.container.service("main"), made.container.service("worker")
    assert n8n.is_main(made.container, main) and not n8n.is_main(made.container, worker)
    second = worker.model_copy(update={"name": "second", "unit": "n8n-second.service"})
    container = made.container.model_copy(update={"services": (*made.container.services, second)})
    assert n8n.unit_of(container, second) == "n8n-second.service"


@pytest.mark.parametrize("installed", [False, True])
def test_a_volume_is_roots_until_what_brings_its_user_is_installed(installed: bool) -> None:
    services = {one: {"installed": installed} for one in ("main", "worker")}
    found = state("n8n", overrides={"containers": {"n8n": {"services": services}}})
    (volume,) = [one for one in found.resources if one.kind == "volume"]
    assert volume.owner == volume.group == ("n8n" if installed else "root")

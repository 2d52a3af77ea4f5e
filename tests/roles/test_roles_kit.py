"""What roles share, by made-up components: a service of ours, a program from an archive, pages."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tests.roles.roles_support import FixedMaterials, context, files, fixed_release, inventory, state, text, units
from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import File, Health, Release
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles import catalog
from zentoria_infra.roles.catalog import unbuilt
from zentoria_infra.roles.kit.archive_service import archive_service
from zentoria_infra.roles.kit.fragment import Context, Fragment, file
from zentoria_infra.roles.kit.python_service import python_service
from zentoria_infra.roles.kit.role import Role
from zentoria_infra.roles.kit.static_site import static_site

# A second service of ours, as a role's module would have it.
VOICE = python_service(
    "voice",
    title="speech to text",
    sockets={"http": "http", "stream": "stream"},
    variables=lambda context, service: {"ZENTORIA_MODEL": "small"},
    secrets={"model_key": "zentoria/api_keys/voice"},
)

GOOGLE = "zentoria/oauth/google_client_secret"

ARCHIVE = {"kind": "url", "url": "https://example.org/qdrant-1.tar.gz", "sha256": "c" * 64}
QDRANT = archive_service(
    "qdrant",
    title="Qdrant",
    command=lambda context, service: ("qdrant", "--config-path", "/etc/qdrant/config.yaml"),
    files=lambda context, service: (file("/etc/qdrant/config.yaml", "a: 1\n"),),
    volumes=("/var/lib/qdrant",),
    strip=1,
)


def _pages(context: Context, service: Service) -> Fragment:
    return static_site(context, service, "/srv/docs", file("/srv/docs/index.html", "<p>Here\n"))


DOCS = Role("docs", _pages, unit="nginx.service", ports=("http",))


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("voice", "qdrant", "docs"):
        monkeypatch.setitem(catalog.PLACES, name, f"{__name__}:{name.upper()}")


def source(container: str, service: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return {"containers": {container: {"services": {service: {"source": wanted, "installed": True}}}}}


def test_a_second_service_of_ours_is_a_dozen_lines() -> None:
    guest = state("voice", overrides=source("voice", "api", {"kind": "workspace", "directory": "voice"}))
    release = next(one for one in guest.resources if isinstance(one, Release))
    assert (release.root, release.content) == ("/opt/zentoria/voice", fixed_release("voice").content)
    assert release.preflight == ("zentoria-voice", "check", "--wait", "20")
    assert release.health_url == "http://10.10.41.3:9300/health"
    assert set(units(guest)) >= {"zentoria-voice.service", "zentoria-voice.socket", "zentoria-voice-stream.socket"}
    environment = text(guest, "/etc/zentoria/voice/environment")
    for line in ('ZENTORIA_STREAM_PORT="9301"', 'ZENTORIA_MODEL="small"',
                 'ZENTORIA_MODEL_KEY_FILE="/etc/zentoria/voice/model_key"', 'ZENTORIA_TRUSTED_PROXIES=""'):  # fmt: skip
        assert line in environment.splitlines()
    assert "DATABASE" not in environment
    unit = text(guest, "/etc/systemd/system/zentoria-voice.service")
    assert "ExecStart=/opt/zentoria/voice/current/bin/zentoria-voice serve" in unit
    assert "Description=Zentoria's speech to text" in unit
    assert "backend" not in unit + text(guest, "/etc/systemd/system/zentoria-voice.socket")


def test_a_supplied_secret_is_never_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    role = python_service(
        "voice",
        title="sign-in",
        secrets={"signing_key": "zentoria/jwt/secret_key"},
        kinds={"signing_key": "keypair"},
        supplied={"google_client_secret": GOOGLE},
    )
    made = context("voice", overrides=source("voice", "api", {"kind": "workspace", "directory": "voice"}))
    service = made.container.service("api")
    assert set(role.secrets(made.inventory, made.container, service)) == {"zentoria/jwt/secret_key", GOOGLE}

    def built() -> dict[str, str]:
        files = (one for one in role.build(made, service).main if isinstance(one, File))
        return {one.path.removeprefix("/etc/zentoria/voice/"): one.text or "" for one in files}

    without = built()
    assert "google_client_secret" not in without
    assert "GOOGLE" not in without["environment"]
    assert "ZENTORIA_SIGNING_KEY_FILE" in without["environment"]
    materials = made.materials
    assert isinstance(materials, FixedMaterials)
    materials.secrets.supplied[GOOGLE] = SecretStr("from Google")
    assert built()["google_client_secret"] == "from Google\n"
    assert 'ZENTORIA_GOOGLE_CLIENT_SECRET_FILE="/etc/zentoria/voice/google_client_secret"' in built()["environment"]


def test_what_it_uses_it_must_need() -> None:
    user = python_service("voice", title="speech to text", uses=("redis",))
    made = context("voice")
    with pytest.raises(InventoryError, match="component 'redis', and none of its needs leads to one") as caught:
        user.build(made, made.container.service("api"))
    assert "413-voice.yaml:" in str(caught.value)


def test_an_archive_is_a_release_behind_the_gate_of_its_service() -> None:
    materials = FixedMaterials()
    overrides = source("embeddings", "qdrant", ARCHIVE)
    guest = state("embeddings", overrides=overrides, materials=materials)
    asked = [(one.model_dump()["url"], program, strip) for one, program, strip in materials.archives]
    assert asked == [(ARCHIVE["url"], "qdrant", 1)]
    ids = [one.id for one in guest.resources]
    wanted = ["user:qdrant", "file:/etc/qdrant/config.yaml", "file:/etc/systemd/system/qdrant.service",
              "release:qdrant", "unit:qdrant.service", "health:qdrant"]  # fmt: skip
    assert sorted(wanted, key=ids.index) == wanted
    release = next(one for one in guest.resources if isinstance(one, Release))
    assert (release.root, release.version, release.units) == ("/opt/zentoria/qdrant", "1-abc", ("qdrant.service",))
    health = next(one for one in guest.resources if isinstance(one, Health) and one.id == "health:qdrant")
    assert (release.health_url, release.health_tcp) == (health.url, health.tcp) != (None, None)
    assert guest.blobs() == {"a" * 64, "b" * 64}  # retrieval's release is beside it
    assert "file:/etc/qdrant/config.yaml" in units(guest)["qdrant.service"].reads
    content = text(guest, "/etc/systemd/system/qdrant.service")
    assert "ExecStart=/opt/zentoria/qdrant/current/qdrant --config-path /etc/qdrant/config.yaml\n" in content
    assert "ReadWritePaths=/var/lib/qdrant\n" in content
    assert "EnvironmentFile" not in content


def test_variables_are_those_of_the_unit_and_of_the_preflight(monkeypatch: pytest.MonkeyPatch) -> None:
    role = archive_service("qdrant", title="Qdrant", command=lambda context, service: ("qdrant",),
                           environment=lambda context, service: {"QDRANT_HOST": context.address},
                           preflight=("qdrant", "--check"))  # fmt: skip
    monkeypatch.setattr(f"{__name__}.QDRANT", role)
    wheel = {"kind": "pypi", "package": "qdrant-bin", "version": "1", "sha256": "d" * 64, "path": "bin/qdrant"}
    guest = state("embeddings", overrides=source("embeddings", "qdrant", wheel))
    release = next(one for one in guest.resources if isinstance(one, Release))
    path = "/etc/zentoria/qdrant/environment"
    assert (release.preflight, release.user, release.environment_file) == (("qdrant", "--check"), "qdrant", path)
    assert 'QDRANT_HOST="10.10.' in text(guest, path)
    assert f"EnvironmentFile={path}\n" in text(guest, "/etc/systemd/system/qdrant.service")
    assert f"file:{path}" in units(guest)["qdrant.service"].reads


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"kind": "apt", "packages": ["qdrant"]}, "comes from 'apt', and its role takes an archive"),
        ({"kind": "pypi", "package": "qdrant-bin", "version": "1"}, "comes from 'pypi' without a sha256"),
        ({"kind": "npm", "package": "qdrant", "version": "1"}, "comes from 'npm' without lock and node"),
    ],
)
def test_another_source_is_refused_with_its_place(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(InventoryError) as caught:
        state("embeddings", overrides=source("embeddings", "qdrant", wanted))
    assert said in str(caught.value)


def test_pages_are_served_at_the_address_of_the_container_alone() -> None:
    guest = state("docs", overrides=source("docs", "site", {"kind": "apt", "packages": ["nginx"]}))
    content = text(guest, "/etc/nginx/zentoria/site.conf")
    assert "    listen 10.10.41.8:8080;\n" in content
    assert "    root /srv/docs;\n" in content
    assert "/srv/docs/index.html" in files(guest)
    ids = [one.id for one in guest.resources]
    assert ids.index("nginx:configuration is valid") < ids.index("unit:nginx.service")
    assert "file:/etc/nginx/zentoria/site.conf" in units(guest)["nginx.service"].reloads


def test_a_role_can_ask_whether_another_service_is_built() -> None:
    made = context("redis")
    by_name = made.inventory.by_name
    assert made.builds(by_name("db").service("postgresql"))
    assert not made.builds(by_name("logs").service("loki"))


def test_what_the_inventory_leaves_out_is_not_installed() -> None:
    left_out = {"containers": {"redis": {"services": {"exporter": {"installed": False}}}}}
    exporter = "unit:prometheus-redis-exporter.service"
    assert exporter in {one.id for one in state("redis").resources}
    guest = state("redis", overrides=left_out)
    assert exporter not in {one.id for one in guest.resources}
    assert "unit:redis-server.service" in {one.id for one in guest.resources}
    container = inventory(overrides=left_out).by_name("redis")
    assert set(unbuilt(container)) - set(unbuilt(inventory().by_name("redis"))) == {"exporter"}
    assert not context("db", overrides=left_out).builds(container.service("exporter"))

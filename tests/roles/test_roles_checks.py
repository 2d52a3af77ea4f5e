"""What ``zentoria validate`` finds between the inventory and roles, with its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.inventory.inventory_project import copy_project, problems, replace
from tests.roles.roles_support import ROOT, FixedMaterials, inventory, state
from zentoria_infra.guest.state import Unit
from zentoria_infra.roles import catalog
from zentoria_infra.roles.checks import check_roles
from zentoria_infra.roles.kit.clients import callers as callers_of
from zentoria_infra.roles.kit.clients import identity_key
from zentoria_infra.roles.kit.fragment import Fragment
from zentoria_infra.roles.kit.role import Role

FOLDER = "inventory/containers"

CASES: dict[str, tuple[str, str, str, list[str]]] = {
    "a source of another kind": (
        "410-redis.yaml", "source: {kind: apt, packages: [redis-server]}",
        "source: {kind: pypi, package: redis-server, version: '6'}",
        ["410-redis.yaml:16:20: component 'redis' comes from 'pypi', and its role takes 'apt'"],
    ),
    "no source": (
        "410-redis.yaml", "    source: {kind: apt, packages: [redis-server]}\n", "",
        ["410-redis.yaml:15:16: nobody says where component 'redis' comes from: give it a source of kind 'apt'"],
    ),
    "a unit that is not the role's": (
        "410-redis.yaml", "unit: redis-server.service", "unit: redis.service",
        ["410-redis.yaml:17:11: the unit of component 'redis' is redis-server.service, not redis.service"],
    ),
    "no unit": (
        "410-redis.yaml", "    unit: redis-server.service\n", "",
        ["410-redis.yaml:14:3: the unit of 'redis' is missing: unit: redis-server.service"],
    ),
    "a port of another name": (
        "408-proxy.yaml", "http: {port: 80, kind: ui}", "plain: {port: 80, kind: ui}",
        ["408-proxy.yaml:17:5: component 'nginx' wants a port called 'http'; there are: plain, https"],
    ),
    "a port of another name at the one that is called": (
        "404-db.yaml", "pool: {port: 6432, kind: api}", "pooled: {port: 6432, kind: api}",
        ["404-db.yaml:26:5: 'pgbouncer' has no port called 'pool', at which auth.api calls it",
         "404-db.yaml:26:5: 'pgbouncer' has no port called 'pool', at which backend.api calls it",
         "404-db.yaml:26:5: component 'pgbouncer' wants a port called 'pool'; there are: pooled"],
    ),
    "a secret that is never asked for": (
        "410-redis.yaml", "      - zentoria/redis/password\n",
        "      - zentoria/redis/password\n      - zentoria/redis/pasword\n",
        ["410-redis.yaml:22:9: component 'redis' never asks for zentoria/redis/pasword; "
         "did you mean 'zentoria/redis/password'?"],
    ),
    "a secret that is not declared": (
        "401-backend.yaml", "      - zentoria/redis/backend_password\n", "",
        ["401-backend.yaml:38:9: redis.redis lets 'backend' in by the secret zentoria/redis/backend_password, "
         "which none of its services declares",
         "401-backend.yaml:55:5: component 'backend' asks for zentoria/redis/backend_password, which 'api' does not "
         "declare; did you mean 'zentoria/db/backend_password'?"],
    ),
    "another path of metrics": (
        "401-backend.yaml", "        also: [metrics]\n", "        also: [metrics]\n        metrics: /metric\n",
        ["401-backend.yaml:16:7: component 'backend' has its metrics at /metrics, not /metric"],
    ),
    "a volume that is somewhere else": (
        "410-redis.yaml", "path: /var/lib/redis", "path: /srv/redis",
        ["410-redis.yaml:15:16: component 'redis' keeps its data in /var/lib/redis, and no volume is there: it would "
         "be lost with the container"],
    ),
    "a need that says no database": (
        "402-n8n.yaml", "service: db.postgresql, database: {name: n8n}, purpose: Workflow storage}\n      # Bull",
        "service: db.postgresql, purpose: Workflow storage}\n      # Bull",
        ["402-n8n.yaml:27:9: it says no database: 'database: {name: ...}', or 'access: read' to read all of them"],
    ),
    "two owners of a database": (
        "405-ai.yaml", "name: zentoria_core, group: ai", "name: n8n",
        ["405-ai.yaml:22:34: database 'n8n' has an owner already, in inventory/containers/"
         "402-n8n.yaml:27:34: two containers cannot own it"],
    ),
    "a database of ours that somebody would own": (
        "405-ai.yaml", "name: zentoria_core, group: ai", "name: zentoria_core",
        ["405-ai.yaml:22:34: database 'zentoria_core' is needed with a group and without one, also in "
         "inventory/containers/401-backend.yaml:34:33: who owns it?"],
    ),
    "migrations before the server": (
        "404-db.yaml", "\n  postgresql:\n", "\n  early:\n    component: schema\n    needs: [db.postgresql]\n"
        "    source: {kind: workspace, directory: schema}\n\n  postgresql:\n",
        ["404-db.yaml:15:3: 'early' migrates what the server has: put it behind component 'postgresql'",
         "404-db.yaml:48:16: component 'schema' is in this container twice, and would be at odds with itself; also in "
         "inventory/containers/404-db.yaml:16:16"],
    ),
    "PostgreSQL's own database": (
        "419-embeddings.yaml", "name: zentoria_vectors", "name: postgres",
        ["419-embeddings.yaml:34:26: 'postgres' is PostgreSQL's own database"],
    ),
    "a wish that the other does not know": (
        "402-n8n.yaml", 'keys: ["bull:*"]', "database: {name: queue}",
        ["402-n8n.yaml:29:32: 'redis.redis' knows no 'database'"],
    ),
    "keys of another": (
        "402-n8n.yaml", 'keys: ["bull:*"]', 'keys: ["auth:*"]',
        ["402-n8n.yaml:29:39: keys 'auth:*' of 'n8n' would be those of 'auth' too"],
    ),
    "a path that leads to two": (
        "418-docs.yaml", "path: /docs/", "path: /oauth/",
        ["409-auth.yaml:22:20: path /oauth/ leads to two ports; also in inventory/containers/418-docs.yaml:14:52"],
    ),
    "a path that nobody serves": (
        "419-embeddings.yaml", "http: {port: 8100, kind: api, also: [metrics]}",
        "http: {port: 8100, kind: api, also: [metrics], routes: [{path: /rag/, limit: api}]}",
        ["419-embeddings.yaml:29:63: no proxy needs embeddings.rag: /rag/ would lead nowhere"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_mistake(tmp_path: Path, case: tuple[str, str, str, list[str]]) -> None:
    file, old, new, wanted = case
    root = copy_project(tmp_path)
    replace(root, f"{FOLDER}/{file}", old, new)
    assert problems(root, more=check_roles) == [f"{FOLDER}/{one}" for one in wanted]


def test_two_services_of_one_component_and_two_of_n8n(tmp_path: Path) -> None:
    root = copy_project(tmp_path)
    with (root / FOLDER / "410-redis.yaml").open("a") as file:
        file.write("\n  second:\n    component: redis-exporter\n    source: {kind: apt, packages: [xx]}\n"
                   "    unit: prometheus-redis-exporter.service\n    needs: [redis.redis]\n"
                   "    secrets: [zentoria/redis/exporter_password]\n"
                   "    exposes:\n      metrics: {port: 9122, kind: metrics}\n")  # fmt: skip
    found = problems(root, more=check_roles)
    assert len(found) == 1
    assert "410-redis.yaml:37:16: component 'redis-exporter' is in this container twice" in found[0]
    assert [one.component for one in inventory().by_name("n8n").services].count("n8n") == 2


N8N = Role("n8n", lambda context, service: Fragment(), sources=frozenset({"npm"}), unit="n8n.service", repeats=True,
           secrets=lambda inventory, container, service: service.secrets, metrics_path="/metrics")  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("n8n-worker.service", ""),
        (
            "n8n-other.service",
            "the unit of component 'n8n' is n8n.service or n8n-worker.service, not n8n-other.service",
        ),
        ("n8n.service", "unit n8n.service is used twice in this container; also by 'main'"),
    ],
)
def test_what_may_be_there_twice_has_a_unit_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, wanted: str
) -> None:
    monkeypatch.setitem(catalog.PLACES, "n8n", f"{__name__}:N8N")
    root = copy_project(tmp_path)
    replace(root, f"{FOLDER}/402-n8n.yaml", "    component: n8n\n    unit: n8n-worker.service",
            f"    component: n8n\n    source: {{kind: npm, package: n8n, version: '2'}}\n    unit: {unit}")  # fmt: skip
    found = problems(root, more=check_roles)
    assert [one.partition(": ")[2] for one in found] == ([wanted] if wanted else [])


@pytest.mark.parametrize("site", [None, "lab"])
def test_the_shipped_inventory_has_no_problem(site: str | None) -> None:
    assert list(check_roles(inventory(site))) == []


@pytest.mark.parametrize("name", [one.name for one in inventory().containers])
def test_roles_ask_for_what_they_say_and_for_nothing_else(name: str) -> None:
    """Secrets that are asked for are those of the roles; their units are in the state."""
    container = inventory().by_name(name)
    materials = FixedMaterials()
    guest = state(name, materials=materials)
    said: set[str] = set()
    running = {one.name for one in guest.resources if isinstance(one, Unit)}
    for service in container.services:
        if catalog.installs(service):
            role = catalog.role(service.component)
            assert role.component == service.component
            said |= set(role.secrets(inventory(), container, service))
            said |= {path for _, path in role.grants(inventory(), container, service)}
            assert role.unit is None or role.unit in running
    ours = [one for one in container.services if f"zentoria/identity/{name}" in one.secrets]
    callers = {identity_key(caller) for one in ours for caller in callers_of(inventory(), container, one)}
    assert materials.secrets.asked == said | callers  # of those, the public halves alone are in the state


def test_the_catalog_imports_no_role_before_it_is_asked() -> None:
    code = (
        "import sys; from zentoria_infra.roles import catalog; assert catalog.is_built('redis'); "
        "print(*sorted(name for name in sys.modules if name.startswith('zentoria_infra.roles.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["zentoria_infra.roles.catalog"]

"""The proxy's routes and configuration as values."""

from __future__ import annotations

import re

import pytest

from tests.roles.roles_support import FixedMaterials, context, files, inventory, state, text, units
from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Command, Packages
from zentoria_infra.roles.nginx import server_names
from zentoria_infra.roles.routes import locations, upstreams

SITE = "/etc/nginx/zentoria/site.conf"
TLS = "/etc/zentoria/tls"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


FOUND = locations(inventory(), inventory().by_name("proxy").service("nginx"))


def location(content: str, match: str) -> str:
    start = content.rindex(f"    location {match} {{")
    return content[start : content.index("\n    }", start)]


def test_each_route_goes_where_the_inventory_says() -> None:
    content = text(state("proxy"), SITE)
    found = dict(re.findall(r"upstream (\w+) \{\n    server (\S+);", content))
    assert found["backend_api_http"] == "10.10.40.1:4000"
    assert found["backend_api_websocket"] == "10.10.40.1:4001"
    assert found["frontend_web_http"] == "10.10.40.0:3000"
    assert found["n8n_main_http"] == "10.10.40.2:5678"
    assert found["logs_grafana_http"] == "10.10.40.6:3001"
    assert found["logs_prometheus_http"] == "10.10.40.6:9090"
    for one in FOUND:
        wanted = f"proxy_pass http://{one.upstream}{'/' if one.route.strip else ''};"
        if one.route.redirect:
            wanted = f"return 302 {one.route.redirect}$is_args$args;"
        assert wanted in location(content, one.match)


def test_the_locations_are_those_of_the_architecture() -> None:
    assert {one.match: one.upstream for one in FOUND} == {
        "^~ /api/v1/auth/": "backend_api_http",
        "~ ^/api/(?:.+/)?(?:stream|events)(?:/|$)": "backend_api_http",
        "/api/": "backend_api_http",
        "= /api/v1/uploads": "backend_api_http",
        "^~ /api/v1/uploads/": "backend_api_http",
        "= /api/v1/mcp/upload": "backend_api_http",
        "^~ /api/v1/mcp/upload/": "backend_api_http",
        "= /api/v1/audio/transcriptions": "backend_api_http",
        "^~ /api/v1/audio/transcriptions/": "backend_api_http",
        "= /mcp": "backend_api_http",
        "^~ /mcp/": "backend_api_http",
        "= /ws": "backend_api_websocket",
        "^~ /ws/": "backend_api_websocket",
        "^~ /n8n/": "n8n_main_http",
        "^~ /monitoring/prometheus/": "logs_prometheus_http",
        "^~ /monitoring/": "logs_grafana_http",
        "^~ /docs/": "docs_site_http",
        "^~ /auth/": "auth_api_http",
        "^~ /oauth/": "auth_api_http",
        "= /setup": "auth_api_http",
        "= /.well-known/jwks.json": "auth_api_http",
        "^~ /.well-known/jwks.json/": "auth_api_http",
        "= /.well-known/oauth-authorization-server": "auth_api_http",
        "^~ /.well-known/oauth-authorization-server/": "auth_api_http",
        "= /.well-known/oauth-protected-resource": "backend_api_http",
        "^~ /.well-known/oauth-protected-resource/": "backend_api_http",
        "~ ^/bff/(?:.+/)?(?:stream|events)(?:/|$)": "frontend_web_http",
        "= /bff/api/v1/uploads": "frontend_web_http",
        "^~ /bff/api/v1/uploads/": "frontend_web_http",
        "= /bff/sign-in": "frontend_web_http",
        "^~ /bff/sign-in/": "frontend_web_http",
        "/bff/": "frontend_web_http",
        "/": "frontend_web_http",
    }
    content = text(state("proxy"), SITE)
    for block in re.findall(r"location ([^{]+) \{([^}]*)\}", content):
        assert ("proxy_request_buffering off;" in block[1]) == bool(re.search("upload|transcriptions", block[0])), (
            block[0]
        )
    redirected = set(re.findall(r"location = (\S+) \{\n        return 308", content))
    assert redirected == {"/n8n", "/monitoring", "/monitoring/prometheus", "/docs"}
    hidden = set(re.findall(r"location \^~ (\S+) \{\n        return 404", content))
    assert hidden == {"/n8n/webhook", "/n8n/form"}


def test_every_upstream_is_allowed_by_the_flows() -> None:
    from zentoria_infra.inventory.flows import expand_flows

    allowed = {
        (str(inventory().by_name(flow.destination).address), port)
        for flow in expand_flows(inventory())
        if flow.source == "proxy"
        for port in range(flow.first, flow.last + 1)
    }
    for server in upstreams(FOUND).values():
        address, _, port = server.partition(":")
        assert (address, int(port)) in allowed


def test_a_route_without_a_need_is_left_out() -> None:
    proxy = inventory().by_name("proxy").service("nginx")
    alone = proxy.model_copy(update={"needs": tuple(one for one in proxy.needs if one.service == "frontend.web")})
    assert {one.upstream for one in locations(inventory(), alone)} == {"frontend_web_http"}
    needs = [{"service": "frontend.web", "start": False, "purpose": "Web UI"}]
    broken = {"containers": {"proxy": {"services": {"nginx": {"needs": needs}}}}}
    with pytest.raises(InventoryError):  # the flows that nobody needs any more
        state("proxy", overrides=broken)


def test_the_upload_limit_is_the_one_of_the_site() -> None:
    guest = state("proxy", overrides={"upload_max": "250M"})
    assert set(
        re.findall(r"client_max_body_size (\S+);", text(guest, SITE) + text(guest, "/etc/nginx/nginx.conf"))
    ) == {"250M"}
    backend = text(state("backend", overrides={"upload_max": "250M"}), "/etc/zentoria/backend/environment")
    assert f'ZENTORIA_MAX_BODY_BYTES="{250 * 1024 * 1024}"' in backend


def test_streams_are_not_buffered_and_only_websockets_upgrade() -> None:
    content = text(state("proxy"), SITE)
    for one in FOUND:
        block = location(content, one.match)
        assert ("proxy_buffering off;" in block) == one.stream
        assert ("websocket.conf" in block) == one.route.upgrade
        assert ("deny all;" in block) == one.route.private
    private = {one.upstream for one in FOUND if one.route.private}
    assert private == {"n8n_main_http", "logs_grafana_http", "logs_prometheus_http"}


def test_the_redirect_goes_to_the_port_that_users_type() -> None:
    assert "return 308 https://$host$request_uri;" in text(state("proxy"), SITE)
    content = text(state("proxy", overrides={"public_port": 8443}), SITE)
    assert "return 308 https://$host:8443$request_uri;" in content


def test_the_certificate_has_every_name_that_the_proxy_answers_to() -> None:
    materials = FixedMaterials()
    guest = state("proxy", materials=materials)
    assert materials.names[0] == "localhost"
    assert {"127.0.0.1", "10.10.40.8", "zentoria-proxy.zentoria.internal"} <= set(materials.names)
    assert len(set(materials.names)) == len(materials.names)
    assert f"server_name {' '.join(materials.names)};" in text(guest, SITE)
    public = {"containers": {"proxy": {"public": {"address": "192.0.2.7/24", "gateway": "192.0.2.1"}}}}
    assert "192.0.2.7" in server_names(context("proxy", overrides=public))
    assert files(guest)[f"{TLS}/privkey.pem"].mode == "0600"
    assert files(guest)[f"{TLS}/privkey.pem"].secret


def test_a_reload_is_guarded_and_certificates_are_read() -> None:
    guest = state("proxy")
    ids = [one.id for one in guest.resources]
    unit = units(guest)["nginx.service"]
    assert {f"file:{TLS}/fullchain.pem", f"file:{TLS}/privkey.pem", f"file:{SITE}"} <= set(unit.reloads)
    assert set(unit.reads) - set(unit.reloads) == {"file:/etc/systemd/system/nginx.service.d/zentoria.conf"}
    assert ids.index("nginx:configuration is valid") < ids.index(unit.id)
    assert ids.index(f"file:{SITE}") < ids.index("nginx:configuration is valid")


ACME = {
    "public_name": "ai.example.org",
    "certificate": {"mode": "acme", "email": "me@example.org", "names": ["localhost", "127.0.0.1", "www.example.org"]},
}


def test_acme_asks_for_public_names_only_and_starts_without_them() -> None:
    guest = state("proxy", overrides=ACME)
    steps = {one.id: one for one in guest.resources if isinstance(one, Command)}
    request = steps["nginx:certificate by ACME"].apply
    domains = [request[at + 1] for at, part in enumerate(request) if part == "--domain"]
    assert domains == ["ai.example.org", "www.example.org"]
    assert request[request.index("--webroot-path") + 1] == "/var/lib/zentoria/acme"
    content = text(guest, SITE)
    assert f"ssl_certificate {TLS}/active/fullchain.pem;" in content
    assert "root /var/lib/zentoria/acme;" in content
    assert f"{TLS}/interim/privkey.pem" in files(guest)
    assert files(guest)[f"{TLS}/certificate-came"].mode == "0755"
    ids = [one.id for one in guest.resources]
    assert ids.index("unit:nginx.service") < ids.index("nginx:certificate by ACME") < ids.index("unit:certbot.timer")
    packages = next(one for one in guest.resources if isinstance(one, Packages))
    assert "certbot" in packages.names
    with pytest.raises(InventoryError, match="no ACME server certifies"):
        state("proxy", overrides=ACME | {"public_name": "zentoria.home.arpa",
                                         "certificate": {**ACME["certificate"], "names": []}})  # type: ignore[dict-item] # fmt: skip

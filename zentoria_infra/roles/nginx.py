"""Container 408: the one exposed machine. TLS, limits, and a route to every service that users reach."""

from __future__ import annotations

import ipaddress

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Resource, Step, Unit
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.base import exporter, names_of
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, drop_in, file, ids, secret_file
from zentoria_infra.roles.routes import CLOSED, SLASHES, routes, upstreams

UNIT = "nginx.service"
TLS = "/etc/zentoria/tls"
WEBROOT = "/var/lib/zentoria/acme"
LINEAGE = "zentoria"
"""Certbot's name for the certificate, so that its folder does not depend on host names."""
STATUS_PORT = 8081
"""``stub_status`` on loopback, for the exporter."""
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")
"""RFC 1918, and the machine itself."""


def nginx(context: Context, service: Service) -> Fragment:
    """The proxy. A configuration that NGINX does not take stops here, and the running one stays."""
    acme = context.inventory.site.certificate.mode == "acme"
    sites = [file("/etc/nginx/nginx.conf", _main(context, service)), file(*_site(context, service))]
    sites += [
        file(f"/etc/nginx/zentoria/{name}.conf", context.render(f"nginx/{name}.conf"))
        for name in ("forwarded", "headers", "unavailable", "websocket")
    ]
    certificates = _certificate(context)
    late = drop_in(context, UNIT)
    reads = (*ids(sites), *ids(one for one in certificates if one.id.startswith(f"file:{TLS}")))
    return Fragment(
        packages=(*context.apt(service).packages, *(("certbot",) if acme else ())),
        main=(
            directory("/etc/zentoria"),
            directory(TLS, mode="0700"),
            directory(WEBROOT),
            *certificates,
            *sites,
            late,
            # without this, a reload would be asked for that NGINX refuses
            Step(id="nginx:configuration is valid", check=("nginx", "-t", "-q"), apply=("nginx", "-t")),
            Unit(id=f"unit:{UNIT}", name=UNIT, reads=reads, on_change="reload"),
            *context.health(service),
            *(_acme(context) if acme else ()),
        ),
    )


def nginx_exporter(context: Context, service: Service) -> Fragment:
    """Metrics of the proxy."""
    scrape = f"--nginx.scrape-uri=http://127.0.0.1:{STATUS_PORT}/stub_status"
    return exporter(context, service, "prometheus-nginx-exporter.service", {}, scrape)


def server_names(context: Context) -> tuple[str, ...]:
    """Names and addresses under which the proxy answers, the public one first. The certificate has them all."""
    site, container = context.inventory.site, context.container
    names = [site.public_name, *site.certificate.names, *names_of(context.inventory, container)[:2], context.address]
    if container.public and container.public.address != "dhcp":
        names.append(container.public.address.partition("/")[0])
    return tuple(dict.fromkeys(name.lower() for name in names))


def _main(context: Context, service: Service) -> str:
    status = any(other.component == "nginx-exporter" for other in context.container.services)
    return context.render(
        "nginx/nginx.conf",
        workers=context.container.resources.cores,
        status_port=STATUS_PORT if status else 0,
        upload_max=context.inventory.site.upload_max,
    )


def _site(context: Context, service: Service) -> tuple[str, str]:
    inventory = context.inventory
    chosen = routes({need.service for need in service.needs})
    try:
        servers = upstreams(inventory, chosen)
    except KeyError as missing:
        raise InventoryError(
            "make the routes of the proxy",
            on=inventory.where(context.container, f"services.{service.name}.needs"),
            got=f"it needs a service or port that the inventory does not have: {missing}",
            todo="take the need away, or give the container the service",
        ) from None
    paths = {route.match.split()[-1] for route in chosen}
    text = context.render(
        "nginx/site.conf",
        names=server_names(context),
        upstreams=servers,
        routes=chosen,
        slashes=[path for path in SLASHES if f"{path}/" in paths],
        closed=[path for path in CLOSED if "/n8n/" in paths],
        private=PRIVATE,
        http=service.port("http").first,
        https=service.port("https").first,
        public_port=inventory.site.public_port,
        upload_max=inventory.site.upload_max,
        webroot=WEBROOT,
        tls=f"{TLS}/active" if inventory.site.certificate.mode == "acme" else TLS,
    )
    return "/etc/nginx/zentoria/site.conf", text


def _certificate(context: Context) -> tuple[Resource, ...]:
    """The supplied certificate or that of the site's own CA; with ACME, the latter until the first one comes."""
    names = server_names(context)
    certificate = context.materials.certificate(names)
    acme = context.inventory.site.certificate.mode == "acme"
    folder = f"{TLS}/interim" if acme else TLS
    files: tuple[Resource, ...] = (
        file(f"{folder}/fullchain.pem", certificate.chain),
        secret_file(f"{folder}/privkey.pem", certificate.key.get_secret_value()),
    )
    if not acme:
        return files
    hook = context.render("nginx/certificate-came", tls=TLS)
    return (
        directory(folder, mode="0700"),
        *files,
        file(f"{TLS}/certificate-came", hook, mode="0755"),
        # a link of its own, which certbot's hook turns: a run of ours leaves it where it points
        Step(
            id="nginx:some certificate",
            check=("test", "-s", f"{TLS}/active/fullchain.pem"),
            apply=("ln", "-sfn", folder, f"{TLS}/active"),
        ),
    )


def _acme(context: Context) -> tuple[Resource, ...]:
    """A certificate by ACME (RFC 8555, HTTP challenge), renewed by Debian's certbot.timer."""
    certificate = context.inventory.site.certificate
    names = [name for name in (context.inventory.site.public_name, *certificate.names) if _is_public(name)]
    if not names:
        raise InventoryError(
            "make the state of the proxy",
            on=context.inventory.where(context.inventory.site, "public_name"),
            got=f"no ACME server certifies '{context.inventory.site.public_name}'",
            todo="set public_name to a name in the public DNS, or certificate.mode to site-ca",
        )
    server = ("--server", certificate.directory) if certificate.directory else ()
    domains = [part for name in names for part in ("--domain", name)]
    request = (
        "certbot", "certonly", "--non-interactive", "--agree-tos", "--email", certificate.email or "",
        "--webroot", "--webroot-path", WEBROOT, "--cert-name", LINEAGE, "--key-type", "ecdsa",
        "--deploy-hook", f"{TLS}/certificate-came", *server, "--expand", *domains,
    )  # fmt: skip
    return (
        Step(
            id="nginx:certificate by ACME",
            check=("openssl", "x509", "-noout", "-in", f"/etc/letsencrypt/live/{LINEAGE}/fullchain.pem",
                   *(part for name in names[:1] for part in ("-checkhost", name))),
            expect=f"Hostname {names[0]} does match certificate",
            apply=request,
            timeout=300,
        ),
        Unit(id="unit:certbot.timer", name="certbot.timer"),
    )  # fmt: skip


def _is_public(name: str) -> bool:
    """Whether a certificate authority on the internet could check the name: it has a dot and is no address."""
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return "." in name and not name.endswith((".internal", ".local", ".arpa", ".lan", ".test"))
    return False

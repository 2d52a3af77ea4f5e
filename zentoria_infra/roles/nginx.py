"""Container 408: the one exposed machine. TLS, limits, and a route to every service that users reach."""

from __future__ import annotations

import ipaddress

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Command, Resource, Unit
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.base import names_of
from zentoria_infra.roles.kit.debian_server import exporter
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, secret_file
from zentoria_infra.roles.kit.nginx_server import STATUS_PORT, UNIT, nginx_server
from zentoria_infra.roles.kit.role import Role
from zentoria_infra.roles.routes import check, closed, locations, slashes, upstreams

TLS = "/etc/zentoria/tls"
WEBROOT = "/var/lib/zentoria/acme"
LINEAGE = "zentoria"
"""Certbot's name for the certificate, so that its folder does not depend on host names."""
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")
"""RFC 1918, and the machine itself."""


def nginx(context: Context, service: Service) -> Fragment:
    """The proxy."""
    acme = context.inventory.site.certificate.mode == "acme"
    certificates = _certificate(context)
    return nginx_server(
        context,
        service,
        _site(context, service),
        parts=("forwarded", "headers", "unavailable", "websocket"),
        first=(directory("/etc/zentoria"), directory(TLS, mode="0700"), directory(WEBROOT), *certificates),
        reads=[one.id for one in certificates if one.id.startswith(f"file:{TLS}")],
        packages=("certbot",) if acme else (),
        last=_acme(context) if acme else (),
    )


def server_names(context: Context) -> tuple[str, ...]:
    """Names and addresses under which the proxy answers, the public one first. The certificate has them all."""
    site, container = context.inventory.site, context.container
    names = [site.public_name, *site.certificate.names, *names_of(context.inventory, container)[:2], context.address]
    if container.public and container.public.address != "dhcp":
        names.append(container.public.address.partition("/")[0])
    return tuple(dict.fromkeys(name.lower() for name in names))


def _site(context: Context, service: Service) -> str:
    inventory = context.inventory
    found = locations(inventory, service)
    return context.render(
        "nginx/site.conf",
        names=server_names(context),
        upstreams=upstreams(found),
        locations=found,
        slashes=slashes(found),
        closed=closed(found),
        private=PRIVATE,
        http=service.port("http").first,
        https=service.port("https").first,
        public_port=inventory.site.public_port,
        upload_max=inventory.site.upload_max,
        webroot=WEBROOT,
        tls=f"{TLS}/active" if inventory.site.certificate.mode == "acme" else TLS,
    )


def _certificate(context: Context) -> tuple[Resource, ...]:
    """The supplied certificate or that of the site's own CA; with ACME, the latter until the first one comes."""
    names = server_names(context)
    certificate = context.materials.certificate(context.container.name, names, public=True)
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
        Command(
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
        Command(
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


ROLE = Role("nginx", nginx, unit=UNIT, ports=("http", "https"), checks=check)
EXPORTER_ROLE = exporter(
    "nginx-exporter", arguments=(f"--nginx.scrape-uri=http://127.0.0.1:{STATUS_PORT}/stub_status",)
)

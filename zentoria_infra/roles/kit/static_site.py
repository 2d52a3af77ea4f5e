"""Pages that NGINX serves as they are."""

from __future__ import annotations

from zentoria_infra.guest.state import Resource
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit.fragment import Context, Fragment
from zentoria_infra.roles.kit.nginx_server import nginx_server


def static_site(context: Context, service: Service, root: str, *pages: Resource, port: str = "http") -> Fragment:
    """An NGINX at the container's address and nothing but files below ``root``.

    Args:
        context: the container's.
        service: what is built; its source is NGINX's Debian package.
        root: folder of the pages.
        pages: what brings them there, in order.
        port: name of the port.
    """
    site = context.render("nginx/static.conf", address=context.address, port=service.port(port).first, root=root)
    return nginx_server(context, service, site, first=pages)

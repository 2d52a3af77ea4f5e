"""NGINX with a site of ours: the proxy, and whatever serves pages."""

from __future__ import annotations

from collections.abc import Sequence

from zentoria_infra.guest.state import Command, Resource, Unit
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit.fragment import Context, Fragment, drop_in, file, ids

UNIT = "nginx.service"
SITE = "/etc/nginx/zentoria/site.conf"
STATUS_PORT = 8081
"""``stub_status`` on loopback, for the exporter."""


def nginx_server(
    context: Context,
    service: Service,
    site: str,
    *,
    parts: Sequence[str] = (),
    first: Sequence[Resource] = (),
    reads: Sequence[str] = (),
    packages: Sequence[str] = (),
    last: Sequence[Resource] = (),
) -> Fragment:
    """The server. A configuration that NGINX does not take stops here, and the running one stays.

    Args:
        context: the container's.
        service: what is built.
        site: text of the site's configuration.
        parts: names of templates in ``nginx/`` that it includes, without ``.conf``.
        first: what must be there before: folders, certificates, pages.
        reads: ids of those that a reload is for.
        packages: Debian packages besides those of the service's source.
        last: what comes after the health check.
    """
    status = any(other.component == "nginx-exporter" for other in context.container.services)
    main = context.render(
        "nginx/nginx.conf",
        workers=context.container.resources.cores,
        status_port=STATUS_PORT if status else 0,
        upload_max=context.inventory.site.upload_max,
    )
    files = (
        file("/etc/nginx/nginx.conf", main),
        file(SITE, site),
        *(file(f"/etc/nginx/zentoria/{name}.conf", context.render(f"nginx/{name}.conf")) for name in parts),
    )
    late = drop_in(context, UNIT)
    return Fragment(
        packages=(*context.apt(service).packages, *packages),
        main=(
            *first,
            *files,
            late,
            # without this, a reload would be asked for that NGINX refuses
            Command(id="nginx:configuration is valid", check=("nginx", "-t", "-q"), apply=("nginx", "-t")),
            Unit(id=f"unit:{UNIT}", name=UNIT, reads=(late.id, *ids(files), *reads), reloads=(*ids(files), *reads)),
            *context.health(service),
            *last,
        ),
    )

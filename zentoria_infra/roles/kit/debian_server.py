"""A server of Debian's, and the exporters for Prometheus that Debian has packages of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from zentoria_infra.guest.state import Resource, Unit
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.roles.kit.fragment import Context, Fragment, drop_in, file, ids
from zentoria_infra.roles.kit.role import Call, Role, no_secrets


def debian_server(
    context: Context,
    service: Service,
    unit: str,
    files: Sequence[Resource],
    *,
    before: Sequence[Resource] = (),
    first: Sequence[Resource] = (),
    late: Resource | None = None,
    reloads: Sequence[Resource] = (),
) -> Fragment:
    """Packages of the service's source, files, and the packages' own unit, which restarts when a file changed.

    Args:
        context: the container's.
        service: what is built.
        unit: the unit that Debian's package brings.
        files: what the unit reads.
        before: what must be there before the packages are.
        first: what is done before the files are written.
        late: a drop-in of the unit; None: the one that waits for the container's address.
        reloads: what the unit reads again at a reload, which is enough when one of these changed.
    """
    reads = (*files, *reloads, late if late is not None else drop_in(context, unit))
    return Fragment(
        before=tuple(before),
        packages=context.apt(service).packages,
        main=(
            *first,
            *reads,
            Unit(id=f"unit:{unit}", name=unit, reads=ids(reads), reloads=ids(reloads)),
            *context.health(service),
        ),
    )


def exporter(
    component: str,
    *,
    port: str = "metrics",
    variables: Callable[[Context, Service], Mapping[str, str]] | None = None,
    arguments: Sequence[str] = (),
    secrets: Callable[[Inventory, Container, Service], Iterable[str]] = no_secrets,
    calls: tuple[Call, ...] = (),
) -> Role:
    """One of Debian's ``prometheus-*-exporter`` packages; they read ``/etc/default/<name>`` and ``ARGS`` in it.

    Args:
        component: without ``prometheus-``, as ``redis-exporter``.
        port: name of the port at which it listens.
        variables: makes its environment.
        arguments: options besides the address to listen at.
        secrets: what ``variables`` asks for; then nobody but root reads the file.
        calls: whom it asks.
    """
    name = f"prometheus-{component}"
    unit = f"{name}.service"

    def build(context: Context, service: Service) -> Fragment:
        listen = f"--web.listen-address={context.address}:{service.port(port).first}"
        values = {**(variables(context, service) if variables else {}), "ARGS": " ".join((listen, *arguments))}
        secret = secrets is not no_secrets
        text = context.render("base/environment", variables=values)
        # systemd reads it as root before it becomes another user
        settings = file(f"/etc/default/{name}", text, mode="0600" if secret else "0644")
        return debian_server(context, service, unit, (settings.model_copy(update={"secret": secret}),))

    return Role(component, build, unit=unit, ports=(port,), calls=calls, secrets=secrets, metrics_path="/metrics")

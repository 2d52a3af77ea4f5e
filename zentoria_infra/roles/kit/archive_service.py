"""A program that its makers release as an archive or a single file: a release behind a gate, and a unit of ours.

It is fetched on the workstation, pinned by its hash, and made an archive of ours; the guest unpacks each beside the one
before, turns ``current`` to it, and goes back when it is not healthy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Release, Resource, Unit, User
from zentoria_infra.inventory.component_model import NpmComponent, PypiComponent, UrlComponent, WorkspaceComponent
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.inventory.problems import Problem
from zentoria_infra.roles.kit.clients import Consumer
from zentoria_infra.roles.kit.data_owner import data_owner
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, ids
from zentoria_infra.roles.kit.role import Role, Wish, no_grants, no_problems, no_secrets

KINDS: frozenset[Literal["url", "pypi", "npm"]] = frozenset({"url", "pypi", "npm"})
"""Where an archive may come from."""


def archived(
    context: Context,
    service: Service,
    *,
    units: tuple[str, ...],
    strip: int = 0,
    preflight: tuple[str, ...] = (),
    user: str = "root",
    environment_file: str | None = None,
) -> Release:
    """The release of a service's archive in ``/opt/zentoria/<component>``; programs start through ``current`` there.

    Args:
        context: the container's.
        service: its source is a URL with a SHA-256, or a wheel with one; its health check is the gate.
        units: what restarts for it. Their files come before it.
        strip: leading folders of its files that are left out, where the source says no path.
        preflight: what must succeed in the new one before it runs, its first part below the archive's folder.
        user: who runs the preflight.
        environment_file: its variables.

    Raises:
        InventoryError: its source is another one.
    """
    component = context.inventory.component(service)
    lacks = {"pypi": " without a sha256", "npm": " without lock and node", "workspace": " without node"}
    pinned = (
        isinstance(component, UrlComponent)
        or (isinstance(component, PypiComponent) and component.sha256)
        or (isinstance(component, NpmComponent) and component.lock and component.node)
        or (isinstance(component, WorkspaceComponent) and component.node)
    )
    if component is None or not pinned:
        kind = component.kind if component else "nothing"
        raise InventoryError(
            f"make the state of {context.container.name}",
            on=context.inventory.where(context.container, f"services.{service.name}.source"),
            got=f"component '{service.component}' comes from '{kind}'"
            f"{lacks.get(kind, '')}, and its role takes an archive",
            todo="set its source to {kind: url, url: ..., sha256: ...}, or to a wheel: {kind: pypi, ..., sha256: ...}, "
            "or to an application: {kind: npm, ..., lock: ..., node: {version: ..., sha256: ...}}",
        )
    made = context.materials.archive(component, service.component, strip)
    checks = context.health(service)
    check = checks[0] if checks else None
    return Release(
        id=f"release:{service.name}",
        root=f"/opt/zentoria/{service.component}",
        version=made.version,
        content=made.content,
        units=units,
        preflight=preflight,
        user=user,
        environment_file=environment_file,
        health_url=check.url if check else None,
        health_tcp=check.tcp if check else None,
        health_timeout=check.timeout if check else 30,
        nonce=context.nonce,
    )


def archive_service(
    component: str,
    *,
    title: str,
    command: Callable[[Context, Service], Sequence[str]],
    files: Callable[[Context, Service], Sequence[Resource]] = lambda context, service: (),
    last: Callable[[Context, Service], Sequence[Resource]] = lambda context, service: (),
    environment: Callable[[Context, Service], Mapping[str, object]] = lambda context, service: {},
    ports: tuple[str, ...] = ("http",),
    volumes: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
    preflight: tuple[str, ...] = (),
    metrics_path: str | None = "/metrics",
    strip: int = 0,
    secrets: Callable[[Inventory, Container, Service], Iterable[str]] = no_secrets,
    grants: Callable[[Inventory, Container, Service], Iterable[tuple[Consumer, str]]] = no_grants,
    takes: frozenset[Wish] = frozenset(),
    checks: Callable[[Inventory, Container, Service], Iterable[Problem]] = no_problems,
    stop_seconds: int = 20,
) -> Role:
    """The role of a program that is released as an archive, run by a unit ``<component>.service`` of ours.

    Args:
        component: its name; the system user is called so too, and a program that is a single file.
        title: what it is, for the unit's description.
        command: what the unit runs, its first part below the archive's folder.
        files: what it reads.
        last: what is done once it answers, as what is in it.
        environment: variables of the unit and the preflight.
        ports: names of its ports.
        volumes: folders that it writes to; they must be on a volume.
        packages: Debian packages that it wants.
        preflight: what must succeed before a new release runs, its first part below the archive's folder.
        metrics_path: where its metrics are.
        strip: leading folders in the archive that are left out.
        secrets: paths of those that ``files``, ``last`` and ``environment`` ask for.
        grants: paths that it shares with its consumers.
        takes: wishes of its consumers that it knows how to fulfil.
        checks: what else must hold between it and the inventory.
        stop_seconds: how long it has to stop by itself.
    """
    unit, settings = f"{component}.service", f"/etc/zentoria/{component}"

    def build(context: Context, service: Service) -> Fragment:
        program, *arguments = command(context, service)
        variables = environment(context, service)
        environment_file = f"{settings}/environment" if variables else None
        text = context.render(
            "archive_service/unit.service",
            title=title,
            command=" ".join((f"/opt/zentoria/{component}/current/{program}", *arguments)),
            user=component,
            writes=volumes,
            environment_file=environment_file,
            stop_seconds=stop_seconds,
        )
        own: tuple[Resource, ...] = (file(f"/etc/systemd/system/{unit}", text),)
        if environment_file:
            given = context.render("base/environment", variables=variables)
            own = (file(environment_file, given, mode="0640", group=component), *own)
        reads = (*files(context, service), *own)
        release = archived(
            context,
            service,
            units=(unit,),
            strip=strip,
            preflight=preflight,
            user=component,
            environment_file=environment_file,
        )
        return Fragment(
            packages=packages,
            users=(User(id=f"user:{component}", name=component),),
            main=(
                directory("/opt/zentoria"),
                *((directory("/etc/zentoria"), directory(settings, mode="0750", group=component)) if variables else ()),
                *(data_owner(component, path, component) for path in volumes),
                *reads,
                release,
                Unit(id=f"unit:{unit}", name=unit, reads=ids(reads)),
                *context.health(service),
                *last(context, service),
            ),
        )

    return Role(
        component,
        build,
        sources=KINDS,
        unit=unit,
        ports=ports,
        volumes=volumes,
        metrics_path=metrics_path,
        secrets=secrets,
        grants=grants,
        takes=takes,
        checks=checks,
    )

"""Container 401: the API gateway. systemd holds its sockets, so that a restart refuses no connection."""

from __future__ import annotations

from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Release, Resource, Unit, User
from zentoria_infra.inventory.component_model import WorkspaceComponent
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles import databases, redis
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, ids, secret_file

ROOT = "/opt/zentoria/backend"
SETTINGS = "/etc/zentoria/backend"
USER = "zentoria"
UNIT = "zentoria-backend.service"
SOCKETS = {"http": "zentoria-backend.socket", "websocket": "zentoria-backend-ws.socket"}
"""Socket units by the name of the inventory's port."""
DESCRIPTORS = {"http": "http", "websocket": "ws"}
"""Names that the service knows its sockets by."""
CALLERS = ("proxy", "frontend")
"""Containers that pass on the address of the client that they serve."""
CHECK_SECONDS = 20
GATE_SECONDS = 45


def backend(context: Context, service: Service) -> Fragment:
    """The service: its user, settings and secrets, sockets, the release with its gate, the unit."""
    files = (
        file(f"{SETTINGS}/environment", _environment(context, service), mode="0640", group=USER),
        _password(context, "database", databases.password_path(context.container.name)),
        _password(context, "redis", redis.password_path(context.container.name)),
        file(f"/etc/systemd/system/{UNIT}", context.render(
            "backend/zentoria-backend.service", root=ROOT, settings=SETTINGS, user=USER, sockets=SOCKETS.values())),
    )  # fmt: skip
    return Fragment(
        packages=("python3-venv",),
        users=(User(id=f"user:{USER}", name=USER),),
        main=(
            directory("/etc/zentoria"),
            directory(SETTINGS, mode="0750", group=USER),
            *files,
            *_sockets(context, service),
            _release(context, service),
            Unit(id=f"unit:{UNIT}", name=UNIT, reads=ids(files)),
            *context.health(service),
        ),
    )


def _environment(context: Context, service: Service) -> str:
    inventory = context.inventory
    pool = _port(context, "db", "pgbouncer", "pool")
    cache = _port(context, "redis", "redis", "redis")
    known = {container.name for container in inventory.containers}
    callers = [str(inventory.by_name(name).address) for name in CALLERS if name in known]
    variables = {
        "ZENTORIA_BIND_HOST": context.address,
        "ZENTORIA_HTTP_PORT": service.port("http").first,
        "ZENTORIA_WEBSOCKET_PORT": service.port("websocket").first,
        "ZENTORIA_TRUSTED_PROXIES": ",".join(callers),
        "ZENTORIA_DATABASE_HOST": pool[0],
        "ZENTORIA_DATABASE_PORT": pool[1],
        "ZENTORIA_DATABASE_NAME": databases.SHARED,
        "ZENTORIA_DATABASE_USER": context.container.name,
        "ZENTORIA_DATABASE_PASSWORD_FILE": f"{SETTINGS}/database_password",
        "ZENTORIA_REDIS_HOST": cache[0],
        "ZENTORIA_REDIS_PORT": cache[1],
        "ZENTORIA_REDIS_USER": context.container.name,
        "ZENTORIA_REDIS_PASSWORD_FILE": f"{SETTINGS}/redis_password",
        "ZENTORIA_MAX_BODY_BYTES": inventory.site.upload_max_bytes,
    }
    return context.render("base/environment", variables=variables)


def _port(context: Context, container: str, service: str, port: str) -> tuple[str, int]:
    """Address and port of a service of another container."""
    try:
        found = context.inventory.by_name(container)
        return str(found.address), found.service(service).port(port).first
    except KeyError as missing:
        raise InventoryError(
            "make the state of the backend",
            on=context.inventory.where(context.container, "services"),
            got=f"the inventory has no {container}.{service} with a port '{port}' ({missing} is missing)",
            todo="the backend needs it: put it into the container's file",
        ) from None


def _password(context: Context, name: str, path: str) -> Resource:
    """The service's user owns it, and not root: the gate's check runs as that user, before the unit does."""
    text = context.secret(path).get_secret_value()
    return secret_file(f"{SETTINGS}/{name}_password", f"{text}\n", owner=USER, group=USER)


def _sockets(context: Context, service: Service) -> tuple[Resource, ...]:
    found: list[Resource] = []
    for port, unit in SOCKETS.items():
        text = context.render(
            "backend/zentoria-backend.socket",
            descriptor=DESCRIPTORS[port],
            service=UNIT,
            address=context.address,
            port=service.port(port).first,
        )
        socket = file(f"/etc/systemd/system/{unit}", text)
        found += [socket, Unit(id=f"unit:{unit}", name=unit, reads=(socket.id,))]
    return tuple(found)


def _release(context: Context, service: Service) -> Release:
    component = context.inventory.component(service)
    if not isinstance(component, WorkspaceComponent):
        raise InventoryError(
            "make the state of the backend",
            on=context.inventory.where(context.container, f"services.{service.name}.source"),
            got=f"component '{service.component}' does not come from this project's services folder",
            todo="set its source to {kind: workspace, directory: backend}",
        )
    files = context.materials.release(component.directory)
    port = service.port("http").first
    path = service.health.path if service.health and service.health.path else "/api/v1/health"
    return Release(
        id=f"release:{service.name}",
        root=ROOT,
        version=files.version,
        wheels=files.wheels,
        distribution=files.distribution,
        requirements=files.requirements,
        units=(UNIT,),
        preflight=("zentoria-backend", "check", "--wait", str(CHECK_SECONDS)),
        user=USER,
        environment_file=f"{SETTINGS}/environment",
        health_url=f"http://{context.address}:{port}{path}",
        health_timeout=GATE_SECONDS,
        nonce=context.nonce,
    )

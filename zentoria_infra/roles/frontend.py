"""Container 400: the web application, Next.js on a Node that is in its release."""

from __future__ import annotations

from zentoria_infra.guest.state import Unit, User
from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit.archive_service import archived
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, ids
from zentoria_infra.roles.kit.role import Call, Role

COMPONENT = "frontend"
ROOT = f"/opt/zentoria/{COMPONENT}"
SETTINGS = f"/etc/zentoria/{COMPONENT}"
UNIT, SOCKET = f"zentoria-{COMPONENT}.service", f"zentoria-{COMPONENT}.socket"
USER = "zentoria"
TITLE = "web application"
KEEP_ALIVE_MS = 75_000
"""Longer than NGINX keeps a connection that is not in use (60 s): it is never closed just as a request comes."""
LAUNCHER = "serve.mjs"


def _build(context: Context, service: Service) -> Fragment:
    port = service.port("http").first
    gateway = context.target(service, "backend", "http")
    variables: dict[str, object] = {
        "NODE_ENV": "production",
        "NEXT_TELEMETRY_DISABLED": 1,
        "HOSTNAME": context.address,
        "PORT": port,
        "KEEP_ALIVE_TIMEOUT": KEEP_ALIVE_MS,
        "ZENTORIA_GATEWAY_URL": f"http://{gateway.host}:{gateway.port}",
        "ZENTORIA_PUBLIC_URL": context.inventory.site.public_url,
    }
    given = context.render("base/environment", variables=variables)
    unit = context.render(
        "frontend/unit.service",
        title=TITLE,
        root=ROOT,
        settings=SETTINGS,
        socket=SOCKET,
        user=USER,
        launcher=LAUNCHER,
        # MiB; the rest is for buffers, the code that it compiles, and the system's own services.
        heap=context.container.resources.memory // 2,
    )
    listening = context.render(
        "python_service/unit.socket", title=TITLE, descriptor="http", service=UNIT, address=context.address, port=port
    )
    socket = file(f"/etc/systemd/system/{SOCKET}", listening)
    reads = (
        file(f"{SETTINGS}/environment", given, mode="0640", group=USER),
        file(f"/etc/systemd/system/{UNIT}", unit),
    )
    return Fragment(
        users=(User(id=f"user:{USER}", name=USER),),
        main=(
            directory("/opt/zentoria"),
            directory("/etc/zentoria"),
            directory(SETTINGS, mode="0750", group=USER),
            *reads,
            socket,
            Unit(id=f"unit:{SOCKET}", name=SOCKET, reads=(socket.id,)),
            archived(context, service, units=(UNIT,), user=USER),
            Unit(id=f"unit:{UNIT}", name=UNIT, reads=ids(reads)),
            *context.health(service),
        ),
    )


ROLE = Role(
    COMPONENT,
    _build,
    sources=frozenset({"workspace"}),
    unit=UNIT,
    ports=("http",),
    calls=(Call("backend", "http"),),
)

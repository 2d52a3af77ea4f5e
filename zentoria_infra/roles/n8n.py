"""Container 402: n8n in queue mode. ``main`` has the editor, webhooks and timers; workers carry executions out.

Both run the same release with the same settings; a worker is any further service of the component. The queue is Bull's
in Redis, below the container's own prefix, so that keys and channels are its user's alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from zentoria_infra.guest.state import Command, Resource, Unit, User
from zentoria_infra.inventory.model import Container, Inventory, Service
from zentoria_infra.inventory.problems import Problem, problem
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.archive_service import archived
from zentoria_infra.roles.kit.data_owner import data_owner
from zentoria_infra.roles.kit.fragment import Context, Fragment, directory, file, ids, secret_file
from zentoria_infra.roles.kit.role import Call, Role

COMPONENT = "n8n"
HOME = "/var/lib/n8n"
SETTINGS = "/etc/zentoria/n8n"
ROOT = "/opt/zentoria/n8n"
UNIT = "n8n.service"
ENCRYPTION_KEY = "zentoria/n8n/encryption_key"

BROKER_PORT = 5690
"""Where main speaks to its task runners, on loopback; those of workers follow."""
IMPORT_UNIT = "n8n-credentials.service"
STOP_SECONDS = 30
"""How long a worker has to end what it carries out; the queue gives what is left to another."""
KEEP_HOURS = 14 * 24
MOST_EXECUTIONS = 10_000
CLOSED_NODES = (
    "n8n-nodes-base.code", "n8n-nodes-base.executeCommand", "n8n-nodes-base.localFileTrigger",
    "n8n-nodes-base.readWriteFile", "n8n-nodes-base.ssh", "n8n-nodes-base.n8n",
    "@n8n/n8n-nodes-langchain.code", "@n8n/n8n-nodes-langchain.toolCode",
)  # fmt: skip
"""Nodes that run code, commands or files of the container's own."""
CLOSED_MODULES = (
    "agents", "chat-hub", "community-packages", "instance-ai", "ldap", "log-streaming", "mcp", "mcp-registry", "otel",
    "quick-connect", "source-control", "sso-oidc", "sso-saml", "workflow-builder",
)  # fmt: skip
"""Parts of n8n that would call its makers, bring other people's code, or do what other services of the stack do."""


def is_main(container: Container, service: Service) -> bool:
    """Whether it is the one with the editor: the first of its component."""
    return next(one for one in container.services if one.component == COMPONENT).name == service.name


def _workers(container: Container) -> list[str]:
    return [one.name for one in container.services if one.component == COMPONENT and not is_main(container, one)]


def unit_of(container: Container, service: Service) -> str:
    """The unit of one of its services."""
    return UNIT if is_main(container, service) else f"n8n-{service.name}.service"


def _variables(context: Context, main: Service) -> Mapping[str, object]:
    """What main and workers share. https://docs.n8n.io/hosting/configuration/environment-variables/."""
    database = context.target(main, "postgresql", "postgres")
    redis = context.target(main, "redis", "redis")
    name = context.container.name
    public = context.inventory.site.public_url
    heap = max(256, context.container.resources.memory * 4 // 10)
    return {
        "NODE_ENV": "production",
        "NODE_OPTIONS": f"--max-old-space-size={heap}",
        "N8N_USER_FOLDER": HOME,
        "DB_TYPE": "postgresdb",
        "DB_POSTGRESDB_HOST": database.host,
        "DB_POSTGRESDB_PORT": database.port,
        "DB_POSTGRESDB_DATABASE": clients.database_of(context.inventory, main, "postgresql") or COMPONENT,
        "DB_POSTGRESDB_USER": name,
        "DB_POSTGRESDB_POOL_SIZE": 4,
        "EXECUTIONS_MODE": "queue",
        "OFFLOAD_MANUAL_EXECUTIONS_TO_WORKERS": "true",
        "QUEUE_BULL_REDIS_HOST": redis.host,
        "QUEUE_BULL_REDIS_PORT": redis.port,
        "QUEUE_BULL_REDIS_USERNAME": name,
        "QUEUE_BULL_PREFIX": f"{name}:bull",
        "N8N_REDIS_KEY_PREFIX": name,
        "N8N_CACHE_BACKEND": "memory",
        "N8N_GRACEFUL_SHUTDOWN_TIMEOUT": STOP_SECONDS,
        "EXECUTIONS_DATA_PRUNE": "true",
        "EXECUTIONS_DATA_MAX_AGE": KEEP_HOURS,
        "EXECUTIONS_DATA_PRUNE_MAX_COUNT": MOST_EXECUTIONS,
        "N8N_LISTEN_ADDRESS": context.address,
        "N8N_PORT": main.port("http").first,
        "N8N_PATH": "/n8n/",
        "N8N_EDITOR_BASE_URL": f"{public}/n8n/",
        "N8N_WEBHOOK_URL": f"http://{context.address}:{main.port('http').first}/",
        "N8N_PROXY_HOPS": 1,
        "N8N_SECURE_COOKIE": "true",
        "GENERIC_TIMEZONE": context.inventory.site.time_zone,
        "N8N_METRICS": "true",
        "N8N_METRICS_INCLUDE_QUEUE_METRICS": "true",
        "N8N_LOG_OUTPUT": "console",
        "N8N_LOG_FORMAT": "json",
        "N8N_RUNNERS_BROKER_LISTEN_ADDRESS": "127.0.0.1",
        "NODES_EXCLUDE": "[" + ",".join(f'"{one}"' for one in CLOSED_NODES) + "]",
        "N8N_DISABLED_MODULES": ",".join(CLOSED_MODULES),
        "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
        "N8N_UNVERIFIED_PACKAGES_ENABLED": "false",
        "N8N_PYTHON_ENABLED": "false",
        "N8N_DYNAMIC_BANNERS_ENABLED": "false",
        "N8N_LICENSE_AUTO_RENEW_ENABLED": "false",
        "N8N_BLOCK_ENV_ACCESS_IN_NODE": "true",
        "N8N_RESTRICT_FILE_ACCESS_TO": f"{HOME}/files",
        "N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS": "true",
        "N8N_DIAGNOSTICS_ENABLED": "false",
        "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
        "N8N_TEMPLATES_ENABLED": "false",
        "N8N_PERSONALIZATION_ENABLED": "false",
        "N8N_HIRING_BANNER_ENABLED": "false",
        "N8N_PUBLIC_API_SWAGGERUI_DISABLED": "true",
    }


def _build(context: Context, service: Service) -> Fragment:
    return _main(context, service) if is_main(context.container, service) else _worker(context, service)


def _main(context: Context, service: Service) -> Fragment:
    """The release, what both read, and the unit with the editor."""
    container = context.container
    shared = _shared(context, service)
    unit = _unit_file(context, service, "start", {"N8N_RUNNERS_BROKER_PORT": BROKER_PORT})
    workers = tuple(
        unit_of(container, one) for one in container.services if one.component == COMPONENT and one.name != service.name
    )
    release = archived(context, service, units=(UNIT, *workers))
    return Fragment(
        users=(User(id=f"user:{COMPONENT}", name=COMPONENT),),
        main=(
            directory("/opt/zentoria"),
            directory("/etc/zentoria"),
            directory(SETTINGS, mode="0750", group=COMPONENT),
            data_owner(COMPONENT, HOME, COMPONENT),
            *shared,
            unit,
            # Workers' units are there before the release: it restarts them too.
            *(_worker_unit_file(context, one) for one in container.services if one.name in _workers(container)),
            release,
            Unit(id=f"unit:{UNIT}", name=UNIT, reads=ids((*shared, unit))),
            *context.health(service),
            *_credentials(context, service),
        ),
    )


def _worker(context: Context, service: Service) -> Fragment:
    name = unit_of(context.container, service)
    read = (f"file:/etc/systemd/system/{name}", f"file:{SETTINGS}/environment", *_secret_ids())
    return Fragment(main=(Unit(id=f"unit:{name}", name=name, reads=read), *context.health(service)))


def _worker_unit_file(context: Context, service: Service) -> Resource:
    own = {
        "N8N_RUNNERS_BROKER_PORT": BROKER_PORT + 1 + _workers(context.container).index(service.name),
        "QUEUE_HEALTH_CHECK_ACTIVE": "true",
        "QUEUE_HEALTH_CHECK_PORT": service.port("metrics").first,
        "N8N_WORKER_SERVER_ADDRESS": context.address,
    }
    return _unit_file(context, service, "worker", own)


_SECRETS = ("database_password", "redis_password", "encryption_key")


def _secret_ids() -> tuple[str, ...]:
    return tuple(f"file:{SETTINGS}/{name}" for name in _SECRETS)


def _shared(context: Context, main: Service) -> tuple[Resource, ...]:
    name = context.container.name
    paths = (clients.database_password(name), clients.redis_password(name), ENCRYPTION_KEY)
    text = context.render("base/environment", variables=_variables(context, main))
    return (
        file(f"{SETTINGS}/environment", text, mode="0640", group=COMPONENT),
        *(
            secret_file(f"{SETTINGS}/{one}", context.secret(path).get_secret_value())
            for one, path in zip(_SECRETS, paths, strict=True)
        ),
    )


def _unit_file(context: Context, service: Service, verb: str, own: Mapping[str, object]) -> Resource:
    name = unit_of(context.container, service)
    text = _unit_text(context, verb, own, after="" if name == UNIT else UNIT)
    return file(f"/etc/systemd/system/{name}", text)


def _unit_text(
    context: Context,
    verb: str,
    own: Mapping[str, object],
    *,
    after: str = "",
    load: Mapping[str, str] | None = None,
    marks: tuple[str, str] | None = None,
) -> str:
    return context.render(
        "n8n/unit.service", verb=verb, root=ROOT, settings=SETTINGS, home=HOME, user=COMPONENT, own=own, after=after,
        load=load or {}, marks=marks, stop_seconds=STOP_SECONDS + 10,
    )  # fmt: skip


def _credentials(context: Context, main: Service) -> tuple[Resource, ...]:
    """What workflows of ours sign in with, kept by n8n under ids of ours; the user's own are left alone."""
    storage = context.target(main, "s3", "s3")
    name = context.container.name
    data = {
        "endpoint": f"http://{storage.host}:{storage.port}",
        "region": clients.S3_REGION,
        "accessKeyId": name,
        "secretAccessKey": context.secret(clients.s3_secret_key(name)).get_secret_value(),
        "forcePathStyle": True,
    }
    made = [{"id": "zentoriaS3", "name": "Zentoria: object storage", "type": "s3", "data": data}]
    wanted, done = f"{SETTINGS}/credentials.json", f"{SETTINGS}/credentials.imported"
    own = {"N8N_RUNNERS_BROKER_PORT": BROKER_PORT - 1}
    verb = "import:credentials --input=%d/credentials.json"
    text = _unit_text(context, verb, own, after=UNIT, load={"credentials.json": wanted}, marks=(wanted, done))
    return (
        secret_file(wanted, json.dumps(made, indent=2) + "\n"),
        file(f"/etc/systemd/system/{IMPORT_UNIT}", text),
        Command(
            id="n8n:credentials", check=("cmp", "--silent", wanted, done), apply=("systemctl", "start", IMPORT_UNIT)
        ),
    )


def _secrets(inventory: Inventory, container: Container, service: Service) -> tuple[str, ...]:
    shared = (ENCRYPTION_KEY, clients.database_password(container.name), clients.redis_password(container.name))
    return (*shared, clients.s3_secret_key(container.name)) if is_main(container, service) else shared


def _checks(inventory: Inventory, container: Container, service: Service) -> Iterator[Problem]:
    wanted = "http" if is_main(container, service) else "metrics"
    if wanted not in [port.name for port in service.exposes]:
        at = inventory.position(container, f"services.{service.name}.exposes")
        text = "the first of component 'n8n' has the editor" if wanted == "http" else "a worker tells of itself"
        yield problem(at, f"{text}: '{service.name}' wants a port called '{wanted}'")


ROLE = Role(
    COMPONENT,
    _build,
    sources=frozenset({"npm"}),
    unit=UNIT,
    calls=(Call("postgresql", "postgres"), Call("redis", "redis")),
    volumes=(HOME,),
    secrets=_secrets,
    metrics_path="/metrics",
    repeats=True,
    checks=_checks,
)
